package sandbox

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"hm/internal/liveview"
	"hm/internal/watch"
)

// View is the view model of a sandbox: it watches the nodes as hm top does, adds what only the sandbox knows, and
// injects the faults that the keys ask for, one after the other. Its methods are safe for concurrent use.
type View struct {
	*watch.Watcher
	sandbox  *Sandbox
	started  time.Time
	injector injector             // used by the goroutine of act alone
	actions  chan liveview.Action // that wait

	mu     sync.Mutex
	events []liveview.Event // the newest first
	faults []string

	cancel context.CancelFunc
	owned  sync.WaitGroup
}

const (
	pollEvery  = 250 * time.Millisecond // how often the nodes are asked
	maxWaiting = 16                     // actions
	maxEvents  = 200
)

// openView starts to watch the nodes. The caller must close the view.
func openView(s *Sandbox) *View {
	ctx, cancel := context.WithCancel(context.Background())
	v := &View{
		sandbox: s, started: time.Now(), injector: newInjector(s), cancel: cancel,
		actions: make(chan liveview.Action, maxWaiting),
	}
	nodes := make([]watch.Node, len(s.nodes))
	for i, n := range s.nodes {
		nodes[i] = watch.Node{Addr: n.url(), Name: n.id(), Client: n.client}
	}
	v.Watcher = watch.Open(watch.Options{Title: "hm dev", Nodes: nodes, Interval: pollEvery, By: "hm dev"})
	if s.notice != "" {
		v.add(outcome{s.notice, nil})
	}
	v.owned.Go(func() { v.act(ctx) })
	return v
}

// close ends the view's goroutines and waits for them.
func (v *View) close() {
	v.cancel()
	v.owned.Wait()
	v.Watcher.Close()
}

// Do injects the fault that an action asks for, soon. If too many actions wait, it drops the action and shows that.
func (v *View) Do(a liveview.Action) {
	select {
	case v.actions <- a:
	default:
		v.add(outcome{fmt.Sprintf("%s left out: too many at once", a), errBusy})
	}
}

var errBusy = errors.New("busy")

// act injects faults and opens closed nodes that are due.
func (v *View) act(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-v.actions:
			v.add(v.injector.inject(ctx, a))
		case <-tick.C:
			for _, done := range v.injector.reopenDue(time.Now()) {
				v.add(done)
			}
		}
		faults := v.injector.active()
		v.mu.Lock()
		v.faults = faults
		v.mu.Unlock()
	}
}

// add shows and logs an outcome.
func (v *View) add(done outcome) {
	e := liveview.Event{At: time.Now(), Text: done.text, Failed: done.err != nil}
	if done.err != nil && !errors.Is(done.err, errBusy) {
		e.Text += ": " + done.err.Error()
	}
	v.sandbox.logger.Info("hm dev", "done", e.Text, "failed", e.Failed)
	v.mu.Lock()
	v.events = append([]liveview.Event{e}, v.events[:min(len(v.events), maxEvents-1)]...)
	v.mu.Unlock()
	v.Notify()
}

// Frame returns what to draw now.
func (v *View) Frame() liveview.Frame {
	s, now := v.sandbox, time.Now()
	f := v.Watcher.Frame()
	f.Dashboard, f.About, f.Up, f.Places, f.Keys = s.DashboardURL(), s.about(), now.Sub(v.started), s.Places()[1:], v.Keys()
	for _, n := range s.nodes {
		open, _, backAt := n.state()
		f.Nodes = append(f.Nodes, liveview.Node{ID: n.id(), Down: !open, BackIn: max(0, backAt.Sub(now))})
	}
	t := s.sim.State()
	f.Truth = &liveview.Truth{
		Apps: t.AppsWanted, DEAs: t.DEAs, Desired: t.Desired, Settled: t.Settled, Undesired: t.Undesired,
		Converged: t.Converged,
		Needless:  int(t.Commands.Needless), Harmful: int(t.Commands.Harmful),
		Router: s.sim.Router != nil,
		Routes: t.Routes, Requests: t.Requests.Sent, RequestsFailed: t.Requests.Failed, RequestsLost: t.Requests.Excused,
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	f.Events, f.Faults = v.events, v.faults // both are replaced, never changed
	return f
}

// Keys returns the keys that do something.
func (v *View) Keys() liveview.Keys { return liveview.DevKeys }

// about describes what runs.
func (s *Sandbox) about() string {
	return fmt.Sprintf("%s, heartbeat %s, seed %d", plural(len(s.nodes), "node"), s.opts.Heartbeat, s.opts.Seed)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// DashboardURL returns the address of the pages of the first node. Each node has the same pages at its own address.
func (s *Sandbox) DashboardURL() string { return s.nodes[0].url() + "/" }

// Places returns the addresses of all parts, and the log or the data directory.
func (s *Sandbox) Places() []liveview.Place {
	places := []liveview.Place{{Name: "dashboard", Address: s.DashboardURL()}}
	for _, n := range s.nodes {
		places = append(places, liveview.Place{Name: n.id(), Address: n.url()})
	}
	places = append(places,
		liveview.Place{Name: "nats", Address: s.nats.URL()},
		liveview.Place{Name: "cc", Address: s.sim.CCURL()},
		liveview.Place{Name: "sim", Address: s.sim.ControlURL()})
	if s.sim.Router != nil {
		places = append(places, liveview.Place{Name: "router", Address: s.sim.Router.URL()})
	}
	if s.logFile != nil {
		return append(places, liveview.Place{Name: "log", Address: filepath.Join(s.dir.path, logName)})
	}
	return append(places, liveview.Place{Name: "data", Address: s.dir.path})
}
