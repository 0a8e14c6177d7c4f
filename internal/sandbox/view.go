package sandbox

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"hm/internal/api"
	"hm/internal/liveview"
	"hm/internal/notify"
)

// View is the view model of a sandbox: it asks the nodes for their state, and injects the faults that the keys ask for,
// one after the other. Its methods are safe for concurrent use.
type View struct {
	sandbox  *Sandbox
	started  time.Time
	injector injector             // used by the goroutine of act alone
	actions  chan liveview.Action // that wait
	changed  notify.Signal        // notified after each poll and each action

	mu       sync.Mutex
	status   *api.Status
	commands []api.Command
	history  liveview.History
	events   []liveview.Event // the newest first
	faults   []string

	cancel context.CancelFunc
	owned  sync.WaitGroup
}

const (
	pollEvery   = 250 * time.Millisecond // how often the nodes are asked
	sampleEvery = time.Second            // how often the drift is sampled
	maxWaiting  = 16                     // actions
	maxEvents   = 200
	maxCommands = 100 // kept for the list
)

// openView starts to poll the nodes. The caller must close the view.
func openView(s *Sandbox) *View {
	ctx, cancel := context.WithCancel(context.Background())
	v := &View{
		sandbox: s, started: time.Now(), injector: newInjector(s), cancel: cancel,
		actions: make(chan liveview.Action, maxWaiting), changed: notify.New(),
	}
	if s.notice != "" {
		v.add(outcome{s.notice, nil})
	}
	v.owned.Go(func() { v.poll(ctx) })
	v.owned.Go(func() { v.act(ctx) })
	return v
}

// close ends the view's goroutines and waits for them.
func (v *View) close() {
	v.cancel()
	v.owned.Wait()
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
	v.changed.Notify()
}

// poll asks the nodes for their state until ctx ends.
func (v *View) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var sampled time.Time
	for {
		status, cmds := v.ask(ctx)
		v.mu.Lock()
		v.status = status
		if status != nil {
			v.commands = cmds
			if now := time.Now(); now.Sub(sampled) >= sampleEvery {
				sampled = now
				v.history = v.history.Add(status.Drift)
			}
		}
		v.mu.Unlock()
		v.changed.Notify()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask asks the leader, or any open node while there is none, since each node knows its own gate only.
func (v *View) ask(ctx context.Context) (*api.Status, []api.Command) {
	var client *api.Client
	for _, n := range v.sandbox.nodes {
		if open, leads, _ := n.state(); open && (leads || client == nil) {
			client = n.client
		}
	}
	if client == nil {
		return nil, nil
	}
	status, _, err := client.Status(ctx)
	if err != nil {
		return nil, nil
	}
	outstanding, err := client.Commands(ctx, "", maxCommands)
	if err != nil {
		return &status, nil
	}
	ended, err := client.History(ctx, "", maxCommands)
	if err != nil {
		return &status, nil
	}
	return &status, liveview.NewestCommands(outstanding.Items, ended.Items, maxCommands)
}

// Frame returns what to draw now.
func (v *View) Frame() liveview.Frame {
	s, now := v.sandbox, time.Now()
	f := liveview.Frame{Title: "hm dev", Dashboard: s.DashboardURL(), About: s.about(), Now: now, Up: now.Sub(v.started), Places: s.Places(),
		Keys: v.Keys()}
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
	f.Status, f.Commands, f.Drift = v.status, v.commands, v.history
	f.Events, f.Faults = v.events, v.faults // both are replaced, never changed
	return f
}

// Keys returns the keys that do something.
func (v *View) Keys() liveview.Keys { return liveview.DevKeys }

// Changed receives when there is something new to draw.
func (v *View) Changed() <-chan struct{} { return v.changed.C() }

// Done always returns false.
func (v *View) Done() bool { return false }

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
