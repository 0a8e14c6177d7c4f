package faulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hm/internal/api"
	"hm/internal/reconcile"
	"hm/internal/sim"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
	"hm/internal/tcpproxy"
)

// over ends a fault.
type over func() error

func nothing() error { return nil }

var errFrozen = errors.New("the Cloud Foundry is frozen")

// changesCF reports whether a fault asks the Cloud Foundry for something.
func (k Kind) changesCF() bool {
	switch k {
	case CCBulk, CCSlow, CCDeaf, CCLoses, StartsFail:
		return true
	}
	return strings.HasPrefix(string(k), "dea-") || strings.HasPrefix(string(k), "app-")
}

// inject begins a fault. It gives what ends it, and says what it did to whom. An error means that the fault was not
// possible: for example, nothing runs that could crash.
func (w *world) inject(f Fault) (end over, what string, err error) {
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	if w.cf.frozen && f.Kind.changesCF() {
		return nil, "", errFrozen
	}
	switch f.Kind {
	case NodeKill, NodeStop, NodeFreeze, NodeWipe, NodeDisk, NodeClock, NodeNoNATS, NodeDeaf, NodeCut, NodeHold, NodeNoCC:
		return w.hitNodes(f)
	case NATSKill, NATSFreeze, NATSFlap, DEAsNoNATS:
		return w.hitNATS(ctx, f)
	case CFFreeze, CCBulk, CCSlow, CCLost, CCDeaf, CCLoses, StartsFail:
		return w.hitCC(ctx, f)
	case DEAKill, DEAPause, DEARestart, DEAEvacuate, DEAShutdown, DEADoubled:
		return w.hitDEAs(ctx, f)
	case Pause:
		return w.pause(ctx)
	}
	return w.hitApp(ctx, f)
}

// hitNodes lets something happen to nodes.
func (w *world) hitNodes(f Fault) (over, string, error) {
	var ends []over
	what := ""
	for _, n := range w.targets(f.Target) {
		end, err := w.hitNode(n, f)
		if end != nil {
			ends, what = append(ends, end), what+" "+n.id
		}
		if err != nil {
			return func() error { return all(ends) }, what, err
		}
	}
	return func() error { return all(ends) }, what, nil
}

func all(ends []over) (err error) {
	for _, end := range ends {
		err = errors.Join(err, end())
	}
	return err
}

func (w *world) targets(t Target) []*node {
	if t == All {
		return w.nodes[:]
	}
	for _, n := range w.nodes {
		if string(t) == n.id {
			return []*node{n}
		}
	}
	leads := w.leader()
	if leads == nil {
		leads = w.nodes[0]
	}
	follows := w.nodes[(leads.number+1)%nodeCount]
	switch t {
	case Majority:
		return []*node{leads, follows}
	case Follower:
		return []*node{follows}
	}
	return []*node{leads}
}

func (w *world) hitNode(n *node, f Fault) (over, error) {
	hears := func() {} // ends the span in which it cannot hear
	switch f.Kind {
	case NodeKill, NodeStop, NodeWipe, NodeFreeze, NodeNoNATS, NodeDeaf:
		hears = w.obs.begin(&w.obs.node(n.id).Deaf)
	}
	strengthen := func() error { w.strengthen(n); return nil }
	switch f.Kind {
	case NodeKill, NodeStop:
		w.weaken(n)
		sig := syscall.SIGKILL
		if f.Kind == NodeStop {
			sig = syscall.SIGTERM
		}
		n.end(sig)
		return func() error { hears(); return errors.Join(n.start(), strengthen()) }, nil
	case NodeWipe:
		w.weaken(n)
		n.end(syscall.SIGKILL)
		return func() error { hears(); return errors.Join(empty(n.dir), n.start(), strengthen()) }, nil
	case NodeFreeze:
		w.weaken(n)
		n.freeze()
		return func() error { hears(); n.thaw(); return strengthen() }, nil
	case NodeDisk:
		if !n.mounted {
			return nil, errUnavailable
		}
		w.weaken(n)
		free, err := fill(n.dir)
		if err != nil {
			return nil, err
		}
		return func() error { return errors.Join(free(), strengthen()) }, nil
	case NodeClock:
		if !w.Clock {
			return nil, errUnavailable
		}
		set := func(seconds int) error { return replaceFile(n.clock, strconv.Itoa(seconds)) }
		end := func() error { return set(0) }
		if err := set(f.Count); err != nil {
			return end, err
		}
		return end, w.jumped(n, time.Duration(f.Count)*time.Second)
	case NodeNoNATS, NodeDeaf:
		mode := tcpproxy.Refuse
		if f.Kind == NodeDeaf {
			mode = []tcpproxy.Mode{tcpproxy.Hold, tcpproxy.HoldToClient}[f.Pick%2]
		}
		w.weaken(n)
		w.setLink(n, mode)
		return func() error {
			hears()
			if mode == tcpproxy.Hold {
				n.toNATS.Cut() // what was sent meanwhile is lost
			}
			w.setLink(n, tcpproxy.Pass)
			return strengthen()
		}, nil
	case NodeCut, NodeHold:
		w.weaken(n)
		w.cut(n, f)
		return func() error { w.rejoin(n); return strengthen() }, nil
	case NodeNoCC:
		n.toCC.Set(tcpproxy.Refuse)
		return func() error { n.toCC.Set(tcpproxy.Pass); return nil }, nil
	}
	return nil, fmt.Errorf("%s is no fault of a node", f.Kind)
}

// jumped requires that a node shows another time than this machine, by about as much as it should.
func (w *world) jumped(n *node, by time.Duration) error {
	for range 50 {
		s, err := w.status(n)
		if err != nil {
			return nil // it does not answer: nobody knows
		}
		if off := time.Until(s.Basis.At.Time); (off - by).Abs() < time.Second {
			return nil
		}
		w.sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the wall clock of %s is not off by %v: hm was not built for that", n.id, by)
}

// cut lets nothing pass between a node and its peers, or nothing that one side sends.
func (w *world) cut(n *node, f Fault) {
	mode, out, in := tcpproxy.Refuse, true, true
	if f.Kind == NodeHold {
		mode = tcpproxy.Hold
		switch f.Pick % 4 {
		case 0:
			in = false
		case 1:
			out = false
		}
	}
	for _, peer := range w.nodes {
		if peer == n {
			continue
		}
		if out {
			n.toPeers[peer.number].Set(mode)
		}
		if in {
			peer.toPeers[n.number].Set(mode)
		}
	}
	if in && out {
		n.cutOver = w.obs.begin(&w.obs.node(n.id).CutOff)
	}
}

func (w *world) rejoin(n *node) {
	if n.cutOver != nil {
		n.cutOver()
		n.cutOver = nil
	}
	for _, peer := range w.nodes {
		if peer != n {
			n.toPeers[peer.number].Set(tcpproxy.Pass)
			peer.toPeers[n.number].Set(tcpproxy.Pass)
		}
	}
}

// empty removes everything in a directory, which may be a file system of its own.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// replaceFile changes a file at once, so that nobody reads half of it.
func replaceFile(name, text string) error {
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// hitNATS lets something happen to the NATS server, or to many connections to it.
func (w *world) hitNATS(ctx context.Context, f Fault) (over, string, error) {
	weaken := func() {
		for _, n := range w.nodes {
			w.weaken(n)
		}
	}
	strengthen := func() {
		for _, n := range w.nodes {
			w.strengthen(n)
		}
	}
	switch f.Kind {
	case NATSKill:
		weaken()
		w.outageOver = w.obs.begin(&w.obs.rec.Outages)
		w.nats.end(syscall.SIGKILL)
		w.natsDown = true
		w.late = w.late[:0]
		if f.After > 0 && f.Count > 0 && !w.cf.frozen {
			w.holdOut(ctx, f)
		}
		return func() error {
			err := w.startNATS(f.After > 0 && len(w.late) == 0)
			strengthen()
			return err
		}, fmt.Sprintf("%d DEAs come back later", len(w.late)), nil
	case NATSFreeze:
		weaken()
		w.nats.freeze()
		hear := w.obs.begin(&w.obs.rec.Deaf)
		return func() error { hear(); w.nats.thaw(); strengthen(); return nil }, "", nil
	case NATSFlap:
		weaken()
		flapping, stop := context.WithCancel(w.ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.flap(flapping, f.Pick)
		}()
		return func() error { stop(); <-done; strengthen(); return nil }, "", nil
	case DEAsNoNATS:
		w.cfLink.Set([]tcpproxy.Mode{tcpproxy.Refuse, tcpproxy.Hold}[f.Pick%2])
		return func() error { w.cfLink.Set(tcpproxy.Pass); return nil }, "", nil
	}
	return nil, "", fmt.Errorf("%s is no fault of NATS", f.Kind)
}

// holdOut cuts some DEAs off, for letIn to end it. Nobody notices while NATS is away.
func (w *world) holdOut(ctx context.Context, f Fault) {
	deas, err := w.control.deas(ctx)
	if err != nil {
		return
	}
	for _, d := range chosen(deas, f) {
		if w.control.post(ctx, "/deas/"+d.ID+"/pause", nil) == nil {
			w.late = append(w.late, d.ID)
		}
	}
}

// letIn lets those back in that were to come back later than the nodes.
func (w *world) letIn() error {
	w.letCFIn()
	if len(w.late) > 0 {
		w.cf.thaw()
	}
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	for _, id := range w.late {
		if err := w.control.post(ctx, "/deas/"+id+"/resume", nil); err != nil && !isConflict(err) && !isNotFound(err) {
			return err
		}
	}
	w.late = w.late[:0]
	return nil
}

// flap cuts the nodes' connections to NATS again and again.
func (w *world) flap(ctx context.Context, pick uint64) {
	tick := time.NewTicker(w.Period/2 + time.Duration(pick%4)*w.Period)
	defer tick.Stop()
	for {
		hear := w.obs.begin(&w.obs.rec.Deaf)
		for _, n := range w.nodes {
			n.toNATS.Cut()
		}
		hear()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hitCC lets something happen to the Cloud Controller.
func (w *world) hitCC(ctx context.Context, f Fault) (over, string, error) {
	fault := func(set func(*sim.Faults, bool)) (over, string, error) {
		return func() error {
			ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
			defer cancel()
			return w.control.change(ctx, func(s *sim.Faults) { set(s, false) })
		}, f.Bulk, w.control.change(ctx, func(s *sim.Faults) { set(s, true) })
	}
	switch f.Kind {
	case CCBulk:
		return fault(func(s *sim.Faults, on bool) {
			if s.Bulk = ""; on {
				s.Bulk = cc.BulkFault(f.Bulk)
			}
		})
	case CCSlow:
		return fault(func(s *sim.Faults, on bool) {
			if s.BulkDelay = 0; on {
				s.BulkDelay = sim.Duration(time.Duration(f.Count) * w.Period / 10)
			}
		})
	case CCDeaf:
		return fault(func(s *sim.Faults, on bool) { s.RespondentDeaf = on })
	case CCLoses:
		return fault(func(s *sim.Faults, on bool) {
			if s.LoseStarts = 0; on {
				s.LoseStarts = 0.5
			}
		})
	case StartsFail:
		return fault(func(s *sim.Faults, on bool) {
			if s.StartFailure = 0; on {
				s.StartFailure = 0.5
			}
		})
	case CCLost:
		for _, n := range w.nodes {
			n.toCC.Set([]tcpproxy.Mode{tcpproxy.Refuse, tcpproxy.Hold}[f.Pick%2])
		}
		return func() error {
			for _, n := range w.nodes {
				n.toCC.Set(tcpproxy.Pass)
			}
			return nil
		}, "", nil
	case CFFreeze:
		w.cf.freeze()
		return func() error { w.cf.thaw(); return nil }, "", nil
	}
	return nil, "", fmt.Errorf("%s is no fault of the Cloud Controller", f.Kind)
}

// pause is what hm pause does. Nothing may be sent from the answer on until the pause is released.
func (w *world) pause(ctx context.Context) (over, string, error) {
	n := w.leader()
	if n == nil {
		return nil, "", errors.New("no node leads")
	}
	hold := api.HoldRequest{Name: reconcile.HoldPaused, Reason: "the fault bench", By: "the fault bench"}
	if err := n.api.post(ctx, "/v1/holds", hold); err != nil {
		return w.release, "", err // it may be set, although the answer did not come
	}
	released := w.obs.begin(&w.obs.rec.Paused)
	return func() error { released(); return w.release() }, "", nil
}

// release ends a pause, in the background: while no node can answer, other faults must be able to end. It asks one node
// after another until one has done it.
func (w *world) release() error {
	w.releasing.Go(func() {
		for n := 0; ; n++ {
			ctx, cancel := context.WithTimeout(w.ctx, time.Second)
			err := w.nodes[n%nodeCount].api.do(ctx, "DELETE", "/v1/holds/"+reconcile.HoldPaused, nil, nil)
			cancel()
			if err == nil || isNotFound(err) || !w.sleep(w.Period/4) {
				return
			}
		}
	})
	return nil
}

// chosen gives count of the DEAs that serve, by the number that the fault has.
func chosen(deas []fleet.DEA, f Fault) []fleet.DEA {
	deas = slices.DeleteFunc(deas, func(d fleet.DEA) bool { return d.Status != "serving" || d.Paused })
	if len(deas) == 0 {
		return nil
	}
	from := int(f.Pick % uint64(len(deas)))
	deas = append(deas[from:], deas[:from]...)
	return deas[:min(f.Count, len(deas))]
}
