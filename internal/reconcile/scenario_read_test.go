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

// stopsAfter is a simulation whose leader stops when it has committed a number of records of a
// proposal, each in its own entry.
type stopsAfter struct {
	*simCF
	concerns func(records []raftfsm.Record) bool
	left     int
	stopped  bool
}

func (s *stopsAfter) Propose(ctx context.Context, records ...raftfsm.Record) ([]raftfsm.Result, error) {
	if s.stopped || !s.concerns(records) {
		return s.simCF.Propose(ctx, records...)
	}
	for _, r := range records[:min(s.left, len(records))] {
		if _, err := s.simCF.apply(s.term, []raftfsm.Record{r}); err != nil {
			return nil, err
		}
	}
	s.stopped = true
	return nil, errTest
}

// stopsIn makes the leader stop after a number of records of the first proposal with a record of
// type R.
func stopsIn[R raftfsm.Record](cf *simCF, left int) *stopsAfter {
	s := &stopsAfter{simCF: cf, left: left, concerns: func(records []raftfsm.Record) bool {
		return slices.ContainsFunc(records, func(r raftfsm.Record) bool { _, is := r.(R); return is })
	}}
	began := cf.core.reads.began
	cf.term++
	cf.core = NewCore(cf.opts, s, cf, cf.intake, cf.endedCommands)
	cf.core.Learn(cf.now, began)
	cf.next, cf.reads, cf.tolerant = cf.now, nil, true
	return s
}

// stopAndFailOver runs the simulation until the leader has stopped, and replaces it.
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

// TestI6AHalfRecordedReadDoesNotStayInTheWay: the leader stops between the parts of a read. The
// next leader's reads count, and no part of the half read does.
func TestI6AHalfRecordedReadDoesNotStayInTheWay(t *testing.T) {
	for name, more := range map[string]int{"one part was staged": 1, "all parts were staged": 2} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 10, testOptions())
			never := desired.App{Key: testKey(500, 1), Instances: 1, State: desired.Started, Package: desired.Staged}
			next := cf.View().NextGeneration()
			for range more {
				cf.must(raftfsm.DesiredChanges{Generation: next, Upserts: []desired.App{never}})
			}
			cf.failover()
			cf.desire(1, 1, false)
			cf.run(15 * hb)
			cf.wantGate("after the next reads")
			if _, ok := cf.View().App(never.Key); ok {
				t.Error("a part of the half read counts")
			}
			cf.wantSent("the app that the next read showed", 1, 0)
		})
	}
}

// TestI3NoCommandWhileASlowReadIsUnderWay: the Cloud Controller updates an app and starts its new
// version, while a read of 45 seconds is under way that does not show it.
func TestI3NoCommandWhileASlowReadIsUnderWay(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	cf.readTime = 45 * time.Second
	for len(cf.reads) == 0 {
		cf.run(time.Second)
	}
	cf.run(3 * time.Second)
	old := cf.apps[0].Key
	cf.apps[0].Key.Version = app.MustGUID("v2")
	cf.stopByCC(old, 0)
	for index := range cf.apps[0].Instances {
		cf.obey(commands.Command{Action: commands.Start, App: cf.apps[0].Key, Index: index})
	}
	cf.run(20 * hb)
	cf.wantSent("a new version during a slow read", 0, 0)
	if d := cf.drift(); len(d) > 0 {
		t.Errorf("drift is left: %v", d)
	}
}

// TestW36OnlyReadsAPollIntervalApartConfirm: in a busy cloud reads come early, again and again. Ten
// of them in a row count as one.
func TestW36OnlyReadsAPollIntervalApartConfirm(t *testing.T) {
	cf := steadyFleet(t, 4, 30, testOptions())
	cf.apps = cf.apps[:5] // the Cloud Controller answers with too little, by error
	for !held(cf.View(), HoldDesiredShrink) {
		cf.run(time.Second)
	}
	set := cf.now
	for held(cf.View(), HoldDesiredShrink) && cf.now.Sub(set) < time.Hour {
		cf.intake.Updated(app.MustGUID("some-app"))
		cf.run(time.Second)
	}
	if took, want := cf.now.Sub(set), time.Duration(cf.opts.Guard.ConfirmReads)*cf.opts.PollInterval; took < want*9/10 || took > want*5/4 {
		t.Errorf("the hold ended by itself after %v, want about %v", took, want)
	}
}

// TestW36StopsAreSlowAfterAHoldThatEndedByItself: no person has looked at the hold. Stops of a
// tenth of the apps in a heartbeat period leave time to step in. Every leader keeps this limit
// until a person lifts it.
func TestW36StopsAreSlowAfterAHoldThatEndedByItself(t *testing.T) {
	cf := steadyFleet(t, 10, 30, testOptions())
	cf.apps = cf.apps[:5]
	cf.run(66 * hb)
	if !held(cf.View(), HoldSlowStops) {
		t.Fatalf("stops are not limited; gate %v, holds %+v", cf.core.gate, cf.View().Holds())
	}
	cf.wantGate("a limit on stops closes nothing")
	sent := len(cf.sent)
	for range 5 {
		cf.failover()
		cf.run(hb)
	}
	if n := len(cf.sent) - sent; n > 6*3 {
		t.Errorf("%d stops were sent within 5 heartbeat periods, want 3 in each", n)
	}
	cf.must(raftfsm.HoldReleased{Name: HoldSlowStops})
	cf.run(4 * hb)
	cf.wantSent("a person lifted the limit", 0, 25*4)
}

func TestW36APolicyForStopsIsKeptAfterAHold(t *testing.T) {
	opts := testOptions()
	opts.StopLimit = 50
	cf := steadyFleet(t, 10, 30, opts)
	cf.apps = cf.apps[:5]
	cf.run(80 * hb)
	if held(cf.View(), HoldSlowStops) {
		t.Error("stops are limited beyond policy.stop_limit")
	}
	cf.wantSent("the hold ended by itself", 0, 25*4)
}

// TestW04TheAppsAreBackAfterAFailover: the hold records how many apps were wanted before. So
// another leader knows that the apps are back, and does not take their return for a confirmation.
func TestW04TheAppsAreBackAfterAFailover(t *testing.T) {
	cf := steadyFleet(t, 10, 30, testOptions())
	all := cf.apps
	cf.apps = all[:5]
	cf.run(10 * hb)
	cf.wantGate("a shrunken read", "hold:desired-shrink")
	cf.failover()
	cf.run(hb)
	cf.wantGate("another leader", "hold:desired-shrink")
	cf.apps = all
	cf.run(8 * hb)
	cf.wantGate("the apps are back")
	cf.wantSent("the apps are back", 0, 0)
}

// TestW04AReadThatContradictsConfirmsNothing: some of the apps are back, and go again.
func TestW04AReadThatContradictsConfirmsNothing(t *testing.T) {
	cf := steadyFleet(t, 10, 30, testOptions())
	all := cf.apps
	for range 6 {
		cf.apps = all[:5]
		cf.run(12 * hb)
		cf.apps = all[:12]
		cf.run(12 * hb)
	}
	cf.wantGate("answers that contradict each other", "hold:desired-shrink")
	cf.wantSent("answers that contradict each other", 0, 0)
}

// TestI6AHoldIsThereBeforeWhatItHolds: the leader stops while it records a read that is held.
func TestI6AHoldIsThereBeforeWhatItHolds(t *testing.T) {
	for left := range 5 {
		cf := steadyFleet(t, 10, 30, testOptions())
		all := cf.apps
		s := stopsIn[raftfsm.DesiredCommit](cf, left)
		cf.apps = all[:5]
		s.stopAndFailOver(t)
		if !held(cf.View(), HoldDesiredShrink) && cf.View().DesiredMeta().Apps < 30 {
			t.Fatalf("after %d records the shrunken read counts and is not held", left)
		}
		cf.apps = all
		cf.run(20 * hb)
		cf.wantSent("the leader stopped while it recorded a shrunken read", 0, 0)
	}
}

// TestI6AHoldStaysUntilTheReadThatEndsItCounts: the leader stops while it records the return of the
// apps.
func TestI6AHoldStaysUntilTheReadThatEndsItCounts(t *testing.T) {
	for left := range 4 {
		cf := steadyFleet(t, 10, 30, testOptions())
		all := cf.apps
		cf.apps = all[:5]
		cf.run(10 * hb)
		s := stopsIn[raftfsm.DesiredCommit](cf, left)
		cf.apps = all
		s.stopAndFailOver(t)
		if !held(cf.View(), HoldDesiredShrink) && cf.View().DesiredMeta().Apps < 30 {
			t.Fatalf("after %d records the hold is released, and only %d apps are recorded", left, cf.View().DesiredMeta().Apps)
		}
		cf.run(20 * hb)
		cf.wantSent("the leader stopped while it recorded the apps' return", 0, 0)
		cf.wantGate("the apps are back")
	}
}

// TestAReadOfAnEarlierLeadershipSaysNothing: a read begins; another node leads for a while and
// records a newer row of one app; the first node leads again, and its read ends.
func TestAReadOfAnEarlierLeadershipSaysNothing(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	cf.readTime = 30 * time.Second
	for len(cf.reads) == 0 {
		cf.run(time.Second)
	}
	r := cf.reads[0]
	cf.reads = nil
	row := desired.App{Key: testKey(0, 2), Instances: 4, State: desired.Started, Package: desired.Staged}
	cf.term++ // another node leads
	next := cf.View().NextGeneration()
	cf.must(raftfsm.DesiredChanges{Generation: next, Upserts: []desired.App{row}},
		raftfsm.DesiredCommit{Generation: next, Parts: 1, Base: cf.View().DesiredMeta().Generation})
	cf.apps[0] = row
	cf.term++ // and this one again
	cf.now = cf.now.Add(time.Second)
	for _, step := range []bool{false, true} {
		if step {
			cf.step()
		}
		cf.finishRead(r)
		if v := cf.View().DesiredVersion(row.Key.Droplet); v != row.Key.Version {
			t.Fatalf("what is desired went back to %v; the new leadership's first step was made: %v", v, step)
		}
	}
}

// TestR39AReadAskedForWhileOneIsUnderWay begins when the other read ends, since that one may have
// missed the app.
func TestR39AReadAskedForWhileOneIsUnderWay(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	cf.readTime = 25 * time.Second
	for len(cf.reads) == 0 {
		cf.run(time.Second)
	}
	cf.run(11 * time.Second)
	cf.apps[0].Instances = 5
	cf.intake.Updated(cf.apps[0].Key.Droplet)
	ends := cf.reads[0].at
	cf.run(ends.Sub(cf.now))
	if len(cf.reads) == 0 || cf.reads[0].began != ends {
		t.Fatalf("no read was begun when the one that was under way ended: %+v", cf.reads)
	}
	cf.run(26 * time.Second)
	if a, _ := cf.View().App(cf.apps[0].Key); a.Desired.Instances != 5 {
		t.Errorf("%d instances are recorded as desired, want 5", a.Desired.Instances)
	}
}

// TestReadsFromTheFuture: neither a peer nor a clock that was ahead makes hm ignore later reads.
func TestReadsFromTheFuture(t *testing.T) {
	for name, forge := range map[string]func(cf *simCF){
		"a peer tells of one":       func(cf *simCF) { cf.core.Learn(cf.now, cf.now.Add(365*24*time.Hour)) },
		"a peer's clock is ahead":   func(cf *simCF) { cf.core.Learn(cf.now, cf.now.Add(hb)) },
		"one's own clock was ahead": func(cf *simCF) { cf.core.reads.began = cf.now.Add(time.Hour) },
		"one's own read was begun by the wall clock": func(cf *simCF) {
			read, err := desired.NewRead("test", slices.Clone(cf.apps))
			if err == nil {
				err = cf.core.DesiredRead(context.Background(), cf.now, ReadOutcome{Began: cf.now.Add(time.Hour), Read: read})
			}
			if err != nil {
				cf.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 10, testOptions())
			forge(cf)
			cf.apps[0].Instances = 5
			cf.run(8 * hb)
			if a, _ := cf.View().App(cf.apps[0].Key); a.Desired.Instances != 5 {
				t.Errorf("%d instances are recorded as desired, want 5; gate %v", a.Desired.Instances, cf.core.gate)
			}
		})
	}
}

// laggingSource is a replica that shows what its primary had a while ago.
type laggingSource time.Duration

func (l laggingSource) Read(context.Context) (desired.Read, error) {
	return desired.Read{Source: "a replica", Lag: time.Duration(l)}, nil
}

// TestALagIsTakenOffTheBeginOfARead: a read may lack what appeared within the lag.
func TestALagIsTakenOffTheBeginOfARead(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	l := NewLoop(LoopOptions{Options: cf.opts, Log: cf, Leader: leads{cf}, Publisher: cf, Source: laggingSource(7 * time.Second), Intake: cf.intake}, cf.endedCommands)
	o := l.read(t.Context(), 3, recordedRead{})
	if o.Number != 3 || o.Began > cf.now.Add(-7*time.Second) || o.Began < cf.now.Add(-8*time.Second) {
		t.Errorf("read %d was begun %v ago, want 7 s", o.Number, cf.now.Sub(o.Began))
	}
}

type leads struct{ cf *simCF }

func (l leads) Lead() Lead { return Lead{Leader: true, Known: true, Term: l.cf.term} }
