package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"hm/internal/api"
	"hm/internal/liveview"
)

// devStage is what one looks at: it asks the nodes how things stand, and does what the keys ask for, one after the
// other. Its methods are safe for concurrent use.
type devStage struct {
	world   *devWorld
	started time.Time
	actor   devActor // of the goroutine that acts
	asked   chan liveview.Action
	changed chan struct{} // poked after each look and each action

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
	devLookEvery  = 250 * time.Millisecond // how often the nodes are asked
	devTrailEvery = time.Second            // how often the drift is sampled
	devMaxAsked   = 16                     // actions that may wait
	devMaxEvents  = 200
	devCommands   = 100 // that are kept for the list
)

// openDevStage begins to look. The caller must close it.
func openDevStage(w *devWorld) *devStage {
	ctx, cancel := context.WithCancel(context.Background())
	s := &devStage{world: w, started: time.Now(), asked: make(chan liveview.Action, devMaxAsked), changed: make(chan struct{}, 1), cancel: cancel}
	s.actor = newDevActor(w)
	if w.notice != "" {
		s.note(w.notice, nil)
	}
	s.owned.Go(func() { s.look(ctx) })
	s.owned.Go(func() { s.act(ctx) })
	return s
}

// close ends the looking and acting and waits for both.
func (s *devStage) close() error {
	s.cancel()
	s.owned.Wait()
	return nil
}

// ask has something done soon. What comes faster than it can be done is left out, and that is shown.
func (s *devStage) Do(a liveview.Action) {
	select {
	case s.asked <- a:
	default:
		s.note(fmt.Sprintf("%s left out: too many at once", a), errBusy)
	}
}

var errBusy = errors.New("busy")

// act does what is asked, and what is due by itself.
func (s *devStage) act(ctx context.Context) {
	tick := time.NewTicker(devLookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-s.asked:
			s.note(s.actor.do(ctx, a))
		case <-tick.C:
			for _, done := range s.actor.due(time.Now()) {
				s.note(done.text, done.err)
			}
		}
		faults := s.actor.faults()
		s.mu.Lock()
		s.faults = faults
		s.mu.Unlock()
	}
}

// note shows what was done, or why not.
func (s *devStage) note(text string, err error) {
	e := liveview.Event{At: time.Now(), Text: text, Failed: err != nil}
	if err != nil && !errors.Is(err, errBusy) {
		e.Text = text + ": " + err.Error()
	}
	s.world.logger.Info("hm dev", "done", e.Text, "failed", e.Failed)
	s.mu.Lock()
	s.events = append([]liveview.Event{e}, s.events[:min(len(s.events), devMaxEvents-1)]...)
	s.mu.Unlock()
	poke(s.changed)
}

// look asks the nodes again and again.
func (s *devStage) look(ctx context.Context) {
	tick := time.NewTicker(devLookEvery)
	defer tick.Stop()
	var sampled time.Time
	for {
		status, cmds := s.askNodes(ctx)
		s.mu.Lock()
		s.status = status
		if status != nil {
			s.commands = cmds
			if now := time.Now(); now.Sub(sampled) >= devTrailEvery {
				sampled = now
				s.history = s.history.Add(status.Drift)
			}
		}
		s.mu.Unlock()
		poke(s.changed)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askNodes asks the leader, or any node that answers while there is none, since each knows its own gate only.
func (s *devStage) askNodes(ctx context.Context) (*api.Status, []api.Command) {
	var client *api.Client
	for _, n := range s.world.nodes {
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
	outstanding, err := client.Commands(ctx, "", devCommands)
	if err != nil {
		return &status, nil
	}
	ended, err := client.History(ctx, "", devCommands)
	if err != nil {
		return &status, nil
	}
	return &status, liveview.NewestCommands(outstanding.Items, ended.Items, devCommands)
}

// frame gives all that is to be shown now.
func (s *devStage) Frame() liveview.Frame {
	w, now := s.world, time.Now()
	f := liveview.Frame{Title: "hm dev", About: w.about(), Now: now, Up: now.Sub(s.started), Places: w.places(), Keys: s.Keys()}
	for _, n := range w.nodes {
		open, _, backAt := n.state()
		f.Nodes = append(f.Nodes, liveview.Node{ID: n.id(), Down: !open, BackIn: max(0, backAt.Sub(now))})
	}
	t := w.sim.State()
	f.Truth = &liveview.Truth{Apps: t.AppsWanted, DEAs: t.DEAs, Desired: t.Desired, Settled: t.Settled, Undesired: t.Undesired, Converged: t.Converged,
		Needless: int(t.Commands.Needless), Harmful: int(t.Commands.Harmful)}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Status, f.Commands, f.Drift = s.status, s.commands, s.history
	f.Events, f.Faults = s.events, s.faults // both are replaced, never changed
	return f
}

// keys are those that do something.
func (s *devStage) Keys() liveview.Keys { return liveview.DevKeys }

// news is poked when there is something new to be shown.
func (s *devStage) Changed() <-chan struct{} { return s.changed }

// over is never so: there is always more to be seen.
func (s *devStage) Done() bool { return false }

// about says what runs.
func (w *devWorld) about() string {
	o := w.opts
	return fmt.Sprintf("%s, heartbeat %s, seed %d", plural(len(w.nodes), "node"), o.heartbeat, o.seed)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// places says where everything listens and is kept.
func (w *devWorld) places() []liveview.Place {
	var places []liveview.Place
	for _, n := range w.nodes {
		places = append(places, liveview.Place{Name: n.id(), Address: n.url()})
	}
	places = append(places,
		liveview.Place{Name: "nats", Address: w.nats.URL()},
		liveview.Place{Name: "cc", Address: w.sim.CCURL()},
		liveview.Place{Name: "sim", Address: w.sim.ControlURL()})
	if !w.opts.plain {
		return append(places, liveview.Place{Name: "log", Address: filepath.Join(w.dir.path, devLogName)})
	}
	return append(places, liveview.Place{Name: "data", Address: w.dir.path})
}
