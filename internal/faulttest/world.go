package faulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/api"
	"hm/internal/tcpproxy"
)

// world is a NATS server, a simulated Cloud Foundry and three hm nodes, each a process, with a proxy between any two of
// them. Only one goroutine may use it.
type world struct {
	Settings
	obs *observer

	nats, cf, recorder *process
	nodes              [nodeCount]*node
	cfLink             *tcpproxy.Proxy // between the Cloud Foundry and NATS
	observed           *nats.Conn
	control            *control
	natsDown           bool
	late               []string // DEAs that come back later than the nodes, after an outage
	outageOver         func()   // ends the span of the present outage; nil: there is none

	ctx     context.Context // ends with the world
	cancel  context.CancelFunc
	helpers sync.WaitGroup // goroutines

	releasing sync.WaitGroup // goroutines that release a pause
	proxies   []*tcpproxy.Proxy
}

// node is one hm node and its connections.
type node struct {
	*process
	id      string
	number  int
	dir     string // of its data
	mounted bool   // dir is a small file system
	clock   string // file with the seconds by which its wall clock is off
	api     *control
	toNATS  *tcpproxy.Proxy
	toCC    *tcpproxy.Proxy
	toPeers [nodeCount]*tcpproxy.Proxy // nil for itself
	tap     *tap
	link    tcpproxy.Mode // of toNATS, while the NATS server runs
	faults  int           // how many faults make it weak
	weak    func()        // ends the span in which it is weak; nil: it is not
	cutOver func()        // ends the span in which it is cut off from its peers; nil: it is not
}

// startWorld starts everything and returns once a node's gate is open.
func startWorld(s Settings, seed uint64) (w *world, err error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	w = &world{Settings: s, obs: newObserver(seed, s.policy())}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if err := w.arrange(seed); err != nil {
		return w, err
	}
	if err := w.startNATS(false); err != nil {
		return w, err
	}
	w.helpers.Go(func() { w.obs.watch(w.ctx) })
	if err := w.cf.start(); err != nil {
		return w, err
	}
	if err := w.await("the simulated Cloud Foundry", func() bool { _, err := w.control.state(w.ctx); return err == nil }); err != nil {
		return w, err
	}
	w.helpers.Go(func() { w.obs.sample(w.ctx, w.control) })
	for _, n := range w.nodes {
		if err := n.start(); err != nil {
			return w, err
		}
	}
	if !w.Unrecorded {
		if err := w.recorder.start(); err != nil {
			return w, err
		}
	}
	err = w.await("an open gate", func() bool { return w.leader() != nil && w.gateOpen() })
	w.obs.whole = w.obs.now()
	return w, err
}

// arrange makes the processes and the proxies, without starting a process.
func (w *world) arrange(seed uint64) error {
	local := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	natsAddress, ccAddress, controlAddress := local(w.Ports[0]), local(w.Ports[1]), local(w.Ports[2])
	raft, apis := w.Ports[3:6], w.Ports[6:9]
	w.nats = newProcess(w.Dir, "nats", w.Server, fmt.Sprint(w.Ports[0]))
	w.nats.env = []string{w.AsNATS}
	var err error
	if w.cfLink, err = w.proxy(tcpproxy.Options{Target: natsAddress}); err != nil {
		return err
	}
	w.cf = newProcess(w.Dir, "sim", w.HM, "sim", "--nats", "nats://"+w.cfLink.Addr(), "--heartbeat", w.Period.String(),
		"--cc-listen", ccAddress, "--control-listen", controlAddress, "--apps", fmt.Sprint(appCount), "--deas", fmt.Sprint(deaCount),
		"--seed", fmt.Sprint(seed), "--connections", fmt.Sprint(deaCount), "--router-listen", local(w.Ports[9]),
		"--requests", fmt.Sprint(requestRate), "-o", "json")
	w.control = newControl(controlAddress)
	for i := range w.nodes {
		n := &node{id: fmt.Sprintf("hm-%d", i), number: i, dir: filepath.Join(w.Dir, fmt.Sprintf("data-%d", i)),
			clock: filepath.Join(w.Dir, fmt.Sprintf("clock-%d", i)), api: newControl(local(apis[i]))}
		w.nodes[i] = n
		w.obs.node(n.id)
		n.tap = newTap(w.obs.now, func(p published) { w.obs.sent(n.id, p) })
		if n.toNATS, err = w.proxy(tcpproxy.Options{Target: natsAddress, Inspect: n.tap.inspect}); err != nil {
			return err
		}
		if n.toCC, err = w.proxy(tcpproxy.Options{Target: ccAddress}); err != nil {
			return err
		}
		var peers []string
		for j := range w.nodes {
			at := local(raft[j])
			if j != i {
				if n.toPeers[j], err = w.proxy(tcpproxy.Options{Target: at}); err != nil {
					return err
				}
				at = n.toPeers[j].Addr()
			}
			peers = append(peers, fmt.Sprintf("hm-%d=%s", j, at))
		}
		args := []string{"server"}
		for _, set := range append(append(w.policyKeys(), w.Keys...), "node.id="+n.id, "node.data_dir="+n.dir, "raft.listen="+local(raft[i]),
			"raft.peers="+strings.Join(peers, ","), "api.listen="+local(apis[i]), "nats.servers=nats://"+n.toNATS.Addr(),
			"desired.bulk.url=http://"+n.toCC.Addr()) {
			args = append(args, "--set", set)
		}
		n.process = newProcess(w.Dir, n.id, w.HM, args...)
		n.process.env = []string{clockVariable + "=" + n.clock, "GORACE=halt_on_error=1"}
		n.process.ended = func(how string) { w.obs.nodeEnded(n.id, how) }
		if err := w.makeDisk(n); err != nil {
			return err
		}
	}
	args := []string{"record", "-o", w.recording(), "--note", fmt.Sprintf("fault bench, seed %d", seed), "--follow", w.nodes[0].api.url}
	for _, set := range append(w.policyKeys(), "nats.servers=nats://"+natsAddress, "desired.bulk.url=http://"+ccAddress) {
		args = append(args, "--set", set)
	}
	w.recorder = newProcess(w.Dir, "recorder", w.HM, args...)
	w.observed, err = nats.Connect("nats://"+natsAddress, nats.Name("fault bench"), nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1),
		nats.PingInterval(w.Period), nats.MaxPingsOutstanding(4))
	if err != nil {
		return err
	}
	return w.obs.subscribe(w.observed)
}

// recording is the file of the recording.
func (w *world) recording() string { return filepath.Join(w.Dir, "recording.jsonl.zst") }

func (w *world) proxy(o tcpproxy.Options) (*tcpproxy.Proxy, error) {
	p, err := tcpproxy.Start(o)
	if err == nil {
		w.proxies = append(w.proxies, p)
	}
	return p, err
}

// makeDisk makes the directory of a node's data.
func (w *world) makeDisk(n *node) error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil || !w.SmallDisks {
		return err
	}
	if err := mountSmall(n.dir); err != nil {
		return fmt.Errorf("a small file system for %s: %w", n.id, err)
	}
	n.mounted = true
	return nil
}

// startNATS starts the NATS server and lets nobody but the observer connect until that has subscribed. If the Cloud
// Foundry is to wait, it gets its link only by letCFIn.
func (w *world) startNATS(cfWaits bool) error {
	for _, n := range w.nodes {
		n.toNATS.Set(tcpproxy.Refuse)
	}
	w.cfLink.Set(tcpproxy.Refuse)
	w.natsDown = true
	if err := w.nats.start(); err != nil {
		return err
	}
	if err := w.await("the observer's connection to NATS", func() bool {
		return w.observed.IsConnected() && w.observed.FlushTimeout(time.Second) == nil
	}); err != nil {
		return err
	}
	if w.outageOver != nil {
		w.outageOver()
		w.outageOver = nil
	}
	w.natsDown = false
	for _, n := range w.nodes {
		n.toNATS.Set(n.link)
	}
	if !cfWaits {
		w.letCFIn()
	}
	return nil
}

// setLink changes what passes between a node and NATS, now or when NATS is back.
func (w *world) setLink(n *node, m tcpproxy.Mode) {
	n.link = m
	if !w.natsDown {
		n.toNATS.Set(m)
	}
}

// letCFIn lets the Cloud Controller and the DEAs connect to NATS.
func (w *world) letCFIn() { w.cfLink.Set(tcpproxy.Pass) }

// await waits until something is so. It gives an error if that takes unreasonably long.
func (w *world) await(what string, is func() bool) error {
	for end := time.Now().Add(startPatience); !is(); {
		if time.Now().After(end) {
			return fmt.Errorf("the bench waited %v for %s", startPatience, what)
		}
		if !w.sleep(10 * time.Millisecond) {
			return w.ctx.Err()
		}
	}
	return nil
}

const startPatience = 60 * time.Second

func (w *world) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-w.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// status asks a node. A node that does not answer soon gives an error.
func (w *world) status(n *node) (api.Status, error) {
	ctx, cancel := context.WithTimeout(w.ctx, 500*time.Millisecond)
	defer cancel()
	var s api.Status
	return s, n.api.get(ctx, "/v1/status", &s)
}

// leader gives the node that leads, by what the nodes say; nil if none does.
func (w *world) leader() *node {
	var newest *node
	term := uint64(0)
	for _, n := range w.nodes {
		if !n.running() || n.frozen {
			continue
		}
		if s, err := w.status(n); err == nil && s.Cluster.Leader == n.id && s.Cluster.Term > term {
			newest, term = n, s.Cluster.Term
		}
	}
	return newest
}

func (w *world) gateOpen() bool {
	n := w.leader()
	if n == nil {
		return false
	}
	s, err := w.status(n)
	return err == nil && s.Gate.Open
}

// converged reports whether the DEAs run what the Cloud Controller wants.
func (w *world) converged() bool {
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	s, err := w.control.state(ctx)
	return err == nil && s.Converged
}

// weaken notes that a node may not hear the DEAs or not record what it hears. strengthen ends that, once the node is ready
// and has its link again and no other fault makes it weak.
func (w *world) weaken(n *node) {
	if n.faults++; n.weak == nil {
		n.weak = w.obs.begin(&w.obs.node(n.id).Weak)
	}
}

func (w *world) strengthen(n *node) {
	if n.faults--; n.faults > 0 || n.weak == nil {
		return
	}
	over := n.weak
	n.weak = nil
	w.helpers.Go(func() {
		w.sleep(2 * w.Period)
		for !w.ready(n) {
			if !w.sleep(w.Period / 4) {
				return
			}
		}
		over()
	})
}

// ready reports whether a node has a link, knows who leads, and has caught up.
func (w *world) ready(n *node) bool {
	s, err := w.status(n)
	return err == nil && s.NATS.Connected && s.Cluster.Leader != "" && n.api.get(w.ctx, "/readyz", nil) == nil
}

// close ends every process and waits for all that the world started.
func (w *world) close() {
	w.cancel()
	if w.recorder != nil {
		w.recorder.end(syscall.SIGTERM)
	}
	for _, n := range w.nodes {
		if n != nil && n.process != nil {
			n.end(syscall.SIGKILL)
			n.api.close()
		}
	}
	for _, p := range []*process{w.cf, w.nats} {
		if p != nil {
			p.end(syscall.SIGKILL)
		}
	}
	if w.observed != nil {
		w.observed.Close()
	}
	for _, p := range w.proxies {
		p.Close()
	}
	w.helpers.Wait()
	w.releasing.Wait()
	if w.control != nil {
		w.control.close()
	}
	for _, n := range w.nodes {
		if n != nil && n.mounted {
			_ = unmount(n.dir)
			n.mounted = false
		}
	}
}

var errUnavailable = errors.New("this machine cannot do that")
