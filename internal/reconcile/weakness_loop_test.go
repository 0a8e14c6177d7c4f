package reconcile

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// liveLog is the record of a simulation under a Loop, in the time of a synctest bubble.
type liveLog struct {
	mu    sync.Mutex
	cf    *simCF
	start app.Time
	began time.Time
}

func (l *liveLog) Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cf.now = l.Now()
	return l.cf.Propose(ctx, records...)
}

func (l *liveLog) View() *raftfsm.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cf.View()
}

func (l *liveLog) Leading(term uint64) bool { return term == l.cf.term }

func (l *liveLog) VerifyLease(context.Context, uint64) error { return nil }

func (l *liveLog) Suspended() time.Duration { return 0 }
func (l *liveLog) Now() app.Time            { return l.start.Add(time.Since(l.began)) }
func (l *liveLog) Lead() Lead               { return Lead{Leader: true, Known: true, Term: l.cf.term} }

// hanging is a Cloud Controller that never answers.
type hanging struct {
	bound     time.Duration // how long a publish waits at most; 0: as long as its context
	apps      []desired.App // what the first read gives; each further one hangs
	mu        sync.Mutex
	published int
	reads     int
}

func (h *hanging) Publish(ctx context.Context, _ uint64, cmds []commands.Command) []error {
	h.mu.Lock()
	h.published += len(cmds)
	h.mu.Unlock()
	if h.bound > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.bound)
		defer cancel()
	}
	<-ctx.Done()
	errs := make([]error, len(cmds))
	for i := range errs {
		errs[i] = ctx.Err()
	}
	return errs
}

func (h *hanging) Read(ctx context.Context) (desired.Read, error) {
	h.mu.Lock()
	h.reads++
	first := h.reads == 1
	h.mu.Unlock()
	if !first {
		<-ctx.Done()
		return desired.Read{}, ctx.Err()
	}
	return desired.NewRead("test", append([]desired.App(nil), h.apps...))
}

// hang runs a Loop with a Cloud Controller that hangs, and ends it.
func hang(t *testing.T, h *hanging, body func(l *Loop, log *liveLog, in *Intake)) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.Guard.MassLoss = 0 // else nothing is sent while nothing of what is desired is heard
		cf := newSimCF(t, opts)
		cf.desire(20, 1, false)
		h.apps = cf.apps
		log := &liveLog{cf: cf, start: cf.now, began: time.Now()}
		var loop *Loop
		intake := NewIntake(log, actual.NewLiveness(hb, 3*hb, 3*hb, log.Now()), func() { loop.Wake() })
		loop = NewLoop(LoopOptions{Options: cf.opts, Log: log, Leader: log, Publisher: h, Source: h, Intake: intake, ReadTimeout: 7 * time.Second}, cf.endedCommands)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { loop.Run(ctx); close(done) }()
		intake.Link(true, 1)
		body(loop, log, intake)
		cancel()
		<-done // Run ends although something hangs
	})
}

// beat sends a heartbeat of a DEA that runs n instances of its own app, and gives how long it took
// to be recorded.
func beat(t *testing.T, log *liveLog, in *Intake, n int) time.Duration {
	t.Helper()
	heartbeat := actual.Heartbeat{DEA: "dea-1"}
	for i := range n {
		heartbeat.Instances = append(heartbeat.Instances, actual.Instance{
			App: testKey(0, 1), GUID: app.MustGUID("i" + string(rune('a'+i))), Index: uint32(i), State: actual.Running,
		})
	}
	if d := digestOf(heartbeat); !in.Unchanged(d) {
		in.Heartbeat(heartbeat, d)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if rec, ok := log.View().DEA("dea-1"); ok && rec.Len == n {
			return time.Since(began)
		}
		if time.Since(began) > time.Hour {
			t.Fatalf("a heartbeat was not recorded within an hour")
		}
	}
}

// TestW22HangingReadBlocksNothing: while a read of the desired state and its retries hang,
// everything that is heard is recorded at once.
func TestW22HangingReadBlocksNothing(t *testing.T) {
	h := &hanging{bound: time.Second, apps: nil}
	hang(t, h, func(l *Loop, log *liveLog, in *Intake) {
		for n := range 40 {
			if took := beat(t, log, in, n%20); took > 1100*time.Millisecond {
				t.Errorf("heartbeat %d was recorded after %v", n, took)
			}
			time.Sleep(hb)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if o := l.Overview(); o.ReadError == "" || o.DesiredFresh || h.reads < 5 {
			t.Errorf("%d reads, the newest error %q, fresh %v: want hanging reads to be given up and repeated", h.reads, o.ReadError, o.DesiredFresh)
		}
	})
}

// TestW22HangingPublishIsBounded: a publisher returns after its own time limit, and hm records
// meanwhile when it does not hang.
func TestW22HangingPublishIsBounded(t *testing.T) {
	h := &hanging{bound: 2 * time.Second}
	hang(t, h, func(l *Loop, log *liveLog, in *Intake) {
		for n := range 30 {
			if took := beat(t, log, in, n%5); took > 3*h.bound {
				t.Errorf("heartbeat %d was recorded after %v", n, took)
			}
			time.Sleep(hb / 2)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.published == 0 {
			t.Error("nothing was published: the test shows nothing")
		}
	})
}

// TestW22LoopEndsThoughAPublishHangs: the publisher has no time limit of its own.
func TestW22LoopEndsThoughAPublishHangs(t *testing.T) {
	h := &hanging{}
	hang(t, h, func(_ *Loop, log *liveLog, in *Intake) {
		for range 8 {
			d := actual.Heartbeat{DEA: "dea-1"}
			in.Heartbeat(d, digestOf(d))
			time.Sleep(hb)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.published == 0 {
			t.Error("nothing was published: the test shows nothing")
		}
	})
}
