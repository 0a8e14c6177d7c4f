package reconcile

import (
	"context"
	"slices"
	"testing"
	"time"

	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// stopsAfter is a world whose leader stops once it has committed so many records of a proposal, each in an entry of its
// own.
type stopsAfter struct {
	*world
	concerns func(records []raftfsm.Record) bool
	left     int
	stopped  bool
}

func (s *stopsAfter) Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	if s.stopped || !s.concerns(records) {
		return s.world.Propose(ctx, records...)
	}
	for _, r := range records[:min(s.left, len(records))] {
		if _, err := s.world.apply(s.term, []raftfsm.Record{r}); err != nil {
			return nil, err
		}
	}
	s.stopped = true
	return nil, errTest
}

// stopsIn has the leader stop after so many records of the first proposal that holds a record of type R.
func stopsIn[R raftfsm.Record](w *world, left int) *stopsAfter {
	s := &stopsAfter{world: w, left: left, concerns: func(records []raftfsm.Record) bool {
		return slices.ContainsFunc(records, func(r raftfsm.Record) bool { _, is := r.(R); return is })
	}}
	began := w.core.reads.began
	w.term++
	w.core = NewCore(w.opts, s, w, w.intake, w.endedCommands)
	w.core.Learn(w.now, began)
	w.next, w.reads, w.tolerant = w.now, nil, true
	return s
}

// stopAndFailOver runs the world until the leader has stopped, and puts another in its place.
func (s *stopsAfter) stopAndFailOver(t *testing.T) {
	t.Helper()
	for range 40 * 20 {
		if s.run(hb / 20); s.stopped {
			s.failover()
			s.tolerant = false
			return
		}
	}
	t.Fatal("the leader did not stop")
}

// TestI6AHalfRecordedReadDoesNotStayInTheWay: the leader stops between the parts of a read. The next leader's reads
// count, and nothing of the half read does.
func TestI6AHalfRecordedReadDoesNotStayInTheWay(t *testing.T) {
	for name, more := range map[string]int{"one part was staged": 1, "all parts were staged": 2} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 4, 10, testOptions())
			never := desired.App{Key: testKey(500, 1), Instances: 1, State: desired.Started, Package: desired.Staged}
			next := w.View().NextGeneration()
			for range more {
				w.must(raftfsm.DesiredChanges{Generation: next, Upserts: []desired.App{never}})
			}
			w.failover()
			w.desire(1, 1, false)
			w.run(15 * hb)
			w.wantGate("after the next reads")
			if _, ok := w.View().App(never.Key); ok {
				t.Error("a part of the half read counts")
			}
			w.wantSent("the app that the next read showed", 1, 0)
		})
	}
}

// TestI3NoCommandWhileASlowReadIsUnderWay: an app gets a new version, which the Cloud Controller starts itself, while a
// read of 45 seconds is under way that does not show it.
func TestI3NoCommandWhileASlowReadIsUnderWay(t *testing.T) {
	w := steady(t, 4, 10, testOptions())
	w.readTime = 45 * time.Second
	for len(w.reads) == 0 {
		w.run(time.Second)
	}
	w.run(3 * time.Second)
	old := w.apps[0].Key
	w.apps[0].Key.Version = app.MustGUID("v2")
	w.stopByCC(old, 0)
	for index := range w.apps[0].Instances {
		w.obey(commands.Command{Action: commands.Start, App: w.apps[0].Key, Index: index})
	}
	w.run(20 * hb)
	w.wantSent("a new version during a slow read", 0, 0)
	if d := w.drift(); len(d) > 0 {
		t.Errorf("drift is left: %v", d)
	}
}

// TestW36OnlyReadsAPollIntervalApartConfirm: in a busy cloud reads are asked for early, again and again. Ten of them in
// a row are worth no more than one.
func TestW36OnlyReadsAPollIntervalApartConfirm(t *testing.T) {
	w := steady(t, 4, 30, testOptions())
	w.apps = w.apps[:5] // the Cloud Controller answers with too little, by error
	for !held(w.View(), HoldDesiredShrink) {
		w.run(time.Second)
	}
	set := w.now
	for held(w.View(), HoldDesiredShrink) && w.now.Sub(set) < time.Hour {
		w.intake.Updated(app.MustGUID("some-app"))
		w.run(time.Second)
	}
	if took, want := w.now.Sub(set), time.Duration(w.opts.Guard.ConfirmReads)*w.opts.PollInterval; took < want*9/10 || took > want*5/4 {
		t.Errorf("the hold ended by itself after %v, want about %v", took, want)
	}
}

// TestW36StopsAreSlowAfterAHoldThatEndedByItself: nobody has looked at it. A tenth of the apps a heartbeat leaves time
// to step in. Whoever leads keeps to it, until a person lifts the limit.
func TestW36StopsAreSlowAfterAHoldThatEndedByItself(t *testing.T) {
	w := steady(t, 10, 30, testOptions())
	w.apps = w.apps[:5]
	w.run(66 * hb)
	if !held(w.View(), HoldSlowStops) {
		t.Fatalf("stops are not limited; gate %v, holds %+v", w.core.gate, w.View().Holds())
	}
	w.wantGate("a limit on stops closes nothing")
	sent := len(w.sent)
	for range 5 {
		w.failover()
		w.run(hb)
	}
	if n := len(w.sent) - sent; n > 6*3 {
		t.Errorf("%d stops were sent within 5 heartbeat periods, want 3 in each", n)
	}
	w.must(raftfsm.HoldReleased{Name: HoldSlowStops})
	w.run(4 * hb)
	w.wantSent("a person lifted the limit", 0, 25*4)
}

func TestW36APolicyForStopsIsKeptAfterAHold(t *testing.T) {
	opts := testOptions()
	opts.StopLimit = 50
	w := steady(t, 10, 30, opts)
	w.apps = w.apps[:5]
	w.run(80 * hb)
	if held(w.View(), HoldSlowStops) {
		t.Error("stops are limited beyond policy.stop_limit")
	}
	w.wantSent("the hold ended by itself", 0, 25*4)
}

// TestW04TheAppsAreBackAfterAFailover: what was wanted before is recorded with the hold, so that another leader knows
// that the apps are back, and does not take their return for a confirmation.
func TestW04TheAppsAreBackAfterAFailover(t *testing.T) {
	w := steady(t, 10, 30, testOptions())
	all := w.apps
	w.apps = all[:5]
	w.run(10 * hb)
	w.wantGate("a shrunken read", "hold:desired-shrink")
	w.failover()
	w.run(hb)
	w.wantGate("another leader", "hold:desired-shrink")
	w.apps = all
	w.run(8 * hb)
	w.wantGate("the apps are back")
	w.wantSent("the apps are back", 0, 0)
}

// TestW04AReadThatContradictsConfirmsNothing: some of the apps are back, and go again.
func TestW04AReadThatContradictsConfirmsNothing(t *testing.T) {
	w := steady(t, 10, 30, testOptions())
	all := w.apps
	for range 6 {
		w.apps = all[:5]
		w.run(12 * hb)
		w.apps = all[:12]
		w.run(12 * hb)
	}
	w.wantGate("answers that contradict each other", "hold:desired-shrink")
	w.wantSent("answers that contradict each other", 0, 0)
}

// TestI6AHoldIsThereBeforeWhatItHolds: the leader stops in the middle of recording a read that is held.
func TestI6AHoldIsThereBeforeWhatItHolds(t *testing.T) {
	for left := range 5 {
		w := steady(t, 10, 30, testOptions())
		all := w.apps
		s := stopsIn[raftfsm.DesiredCommit](w, left)
		w.apps = all[:5]
		s.stopAndFailOver(t)
		if !held(w.View(), HoldDesiredShrink) && w.View().DesiredMeta().Apps < 30 {
			t.Fatalf("after %d records the shrunken read counts and is not held", left)
		}
		w.apps = all
		w.run(20 * hb)
		w.wantSent("the leader stopped while it recorded a shrunken read", 0, 0)
	}
}

// TestI6AHoldStaysUntilTheReadThatEndsItCounts: the leader stops in the middle of recording the apps' return.
func TestI6AHoldStaysUntilTheReadThatEndsItCounts(t *testing.T) {
	for left := range 4 {
		w := steady(t, 10, 30, testOptions())
		all := w.apps
		w.apps = all[:5]
		w.run(10 * hb)
		s := stopsIn[raftfsm.DesiredCommit](w, left)
		w.apps = all
		s.stopAndFailOver(t)
		if !held(w.View(), HoldDesiredShrink) && w.View().DesiredMeta().Apps < 30 {
			t.Fatalf("after %d records the hold is released, and only %d apps are recorded", left, w.View().DesiredMeta().Apps)
		}
		w.run(20 * hb)
		w.wantSent("the leader stopped while it recorded the apps' return", 0, 0)
		w.wantGate("the apps are back")
	}
}

// TestAReadOfAnEarlierLeadershipSaysNothing: a read is begun; another node leads for a while and records a newer row of
// one app; then the first node leads again, and its read ends.
func TestAReadOfAnEarlierLeadershipSaysNothing(t *testing.T) {
	w := steady(t, 4, 10, testOptions())
	w.readTime = 30 * time.Second
	for len(w.reads) == 0 {
		w.run(time.Second)
	}
	r := w.reads[0]
	w.reads = nil
	row := desired.App{Key: testKey(0, 2), Instances: 4, State: desired.Started, Package: desired.Staged}
	w.term++ // another node leads
	next := w.View().NextGeneration()
	w.must(raftfsm.DesiredChanges{Generation: next, Upserts: []desired.App{row}},
		raftfsm.DesiredCommit{Generation: next, Parts: 1, Base: w.View().DesiredMeta().Generation})
	w.apps[0] = row
	w.term++ // and this one again
	w.now = w.now.Add(time.Second)
	for _, step := range []bool{false, true} {
		if step {
			w.step()
		}
		w.finishRead(r)
		if v := w.View().DesiredVersion(row.Key.Droplet); v != row.Key.Version {
			t.Fatalf("what is desired went back to %v; the new leadership's first step was made: %v", v, step)
		}
	}
}

// TestR39AReadAskedForWhileOneIsUnderWay is made as soon as that one has ended: it may have passed the app already.
func TestR39AReadAskedForWhileOneIsUnderWay(t *testing.T) {
	w := steady(t, 4, 10, testOptions())
	w.readTime = 25 * time.Second
	for len(w.reads) == 0 {
		w.run(time.Second)
	}
	w.run(11 * time.Second)
	w.apps[0].Instances = 5
	w.intake.Updated(w.apps[0].Key.Droplet)
	ends := w.reads[0].at
	w.run(ends.Sub(w.now))
	if len(w.reads) == 0 || w.reads[0].began != ends {
		t.Fatalf("no read was begun when the one that was under way ended: %+v", w.reads)
	}
	w.run(26 * time.Second)
	if a, _ := w.View().App(w.apps[0].Key); a.Desired.Instances != 5 {
		t.Errorf("%d instances are recorded as desired, want 5", a.Desired.Instances)
	}
}

// TestReadsFromTheFuture: neither a peer's word nor a clock that was ahead blinds hm for what is read later.
func TestReadsFromTheFuture(t *testing.T) {
	for name, forge := range map[string]func(w *world){
		"a peer tells of one":       func(w *world) { w.core.Learn(w.now, w.now.Add(365*24*time.Hour)) },
		"a peer's clock is ahead":   func(w *world) { w.core.Learn(w.now, w.now.Add(hb)) },
		"one's own clock was ahead": func(w *world) { w.core.reads.began = w.now.Add(time.Hour) },
		"one's own read was begun by the wall clock": func(w *world) {
			read, err := desired.NewRead("test", slices.Clone(w.apps))
			if err == nil {
				err = w.core.DesiredRead(context.Background(), w.now, ReadOutcome{Began: w.now.Add(time.Hour), Read: read})
			}
			if err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 4, 10, testOptions())
			forge(w)
			w.apps[0].Instances = 5
			w.run(8 * hb)
			if a, _ := w.View().App(w.apps[0].Key); a.Desired.Instances != 5 {
				t.Errorf("%d instances are recorded as desired, want 5; gate %v", a.Desired.Instances, w.core.gate)
			}
		})
	}
}

// laggingSource is a replica that shows what its primary had a while ago.
type laggingSource time.Duration

func (l laggingSource) Read(context.Context) (desired.Read, error) {
	return desired.Read{Source: "a replica", Lag: time.Duration(l)}, nil
}

// TestALagIsTakenOffTheBeginOfARead: what appeared within the lag may be missing from the read.
func TestALagIsTakenOffTheBeginOfARead(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	l := NewLoop(LoopOptions{Options: w.opts, Log: w, Leader: leads{w}, Publisher: w, Source: laggingSource(7 * time.Second), Intake: w.intake}, w.endedCommands)
	o := l.read(t.Context(), 3)
	if o.Number != 3 || o.Began > w.now.Add(-7*time.Second) || o.Began < w.now.Add(-8*time.Second) {
		t.Errorf("read %d was begun %v ago, want 7 s", o.Number, w.now.Sub(o.Began))
	}
}

type leads struct{ w *world }

func (l leads) Lead() Lead { return Lead{Leader: true, Known: true, Term: l.w.term} }
