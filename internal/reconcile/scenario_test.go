package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

func TestR01MissingIndexIsStartedAfterItsGrace(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	began := w.now
	d := w.deas["dea-001"]
	lost := d.list[0]
	d.list = d.list[1:]
	w.run(6 * hb)
	w.wantSent("one instance lost", 1, 0)
	if c := w.sent[0]; c.App != lost.App || c.Index != lost.Index || c.Reason != commands.ReasonMissing {
		t.Errorf("sent %+v, want a start of %s/%d", c, lost.App, lost.Index)
	}
	if after := w.sent[0].at.Sub(began); after < 3*hb || after > 4*hb+hb/2 {
		t.Errorf("the start was sent %v after the loss, want the grace after the heartbeat that showed it", after)
	}
	w.run(20 * hb)
	w.wantSent("the start was obeyed", 1, 0)
	if got := w.core.log.View().Counts().PendingStarts; got != 0 {
		t.Errorf("%d starts are pending at rest", got)
	}
}

func TestR01LostStartIsRepeatedAfterPauses(t *testing.T) {
	w := steady(t, 4, 1, testOptions())
	w.deaf = true
	w.deas["dea-001"].list = nil
	w.run(40 * hb)
	if len(w.sent) != 4 {
		t.Fatalf("%d starts were sent in 40 heartbeats, want 4: after 3, 6 and 12 heartbeats again", len(w.sent))
	}
	for i := 1; i < len(w.sent); i++ {
		want := 3 * hb << (i - 1)
		if gap := w.sent[i].at.Sub(w.sent[i-1].at); gap < want || gap > want+hb {
			t.Errorf("start %d came %v after the one before, want %v (W23)", i, gap, want)
		}
		if w.sent[i].ID == w.sent[i-1].ID {
			t.Error("two starts have one id")
		}
	}
	w.deaf = false
	w.run(25 * hb)
	if d := w.drift(); len(d) > 0 {
		t.Errorf("drift is left: %v", d)
	}
}

func TestR40SilentDEAIsReplaced(t *testing.T) {
	w := steady(t, 20, 25, testOptions())
	w.deas["dea-007"].quiet = true
	lost := len(w.deas["dea-007"].list)
	w.run(3 * hb)
	w.wantSent("before its time to live is over", 0, 0)
	w.run(7 * hb)
	w.wantSent("one DEA of 20 lost", lost, 0)
	w.run(10 * hb)
	if d := w.drift(); len(d) > 0 || w.live() != 100 {
		t.Errorf("%d instances live, want 100; drift: %v", w.live(), d)
	}
}

// A DEA is lost at the end of its time to live, not at the next look after it.
func TestR40SilenceIsNoticedWhenItIsDue(t *testing.T) {
	w := steady(t, 20, 25, testOptions())
	lost := w.deas["dea-007"]
	lost.quiet = true
	due := lost.beat.Add(2 * hb) // it spoke last a period before its next turn
	for w.now < due-1 {
		w.run(time.Millisecond)
	}
	if d, _ := w.View().DEA(lost.id); d.GoneAt != 0 {
		t.Fatalf("%s is gone at %v, before its time to live is over at %v", lost.id, d.GoneAt, due)
	}
	w.run(hb / maxSweepsPerPeriod)
	if d, _ := w.View().DEA(lost.id); d.GoneAt < due || d.GoneAt >= due.Add(hb/maxSweepsPerPeriod) {
		t.Errorf("%s is gone at %v, want from %v on, less than %v later", lost.id, d.GoneAt, due, hb/maxSweepsPerPeriod)
	}
}

func TestI4OutageOfAnyLengthCausesNoCommand(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, hb, 3 * hb, 13 * hb, 500 * hb} {
		t.Run(outage.String(), func(t *testing.T) {
			w := steady(t, 10, 25, testOptions())
			index := w.index
			w.setLink(false)
			w.run(outage)
			if outage > hb {
				if !slices.Contains(w.core.gate, ReasonNATSDown) {
					t.Errorf("the gate's reasons are %v during an outage", w.core.gate)
				}
			}
			w.setLink(true)
			w.run(60 * hb)
			w.wantSent("an outage", 0, 0)
			w.wantGate("after an outage")
			if w.index != index {
				t.Errorf("an outage wrote %d entries to the log", w.index-index)
			}
		})
	}
}

func TestI4FlappingLink(t *testing.T) {
	w := steady(t, 10, 25, testOptions())
	for i := range 40 {
		w.setLink(i%2 == 1)
		w.run(time.Duration(1+i*7%50) * time.Second)
	}
	w.setLink(true)
	w.run(20 * hb)
	w.wantSent("a flapping link", 0, 0)
	w.wantGate("after a flapping link")
}

func TestI4LossDuringAnOutageIsRepairedAfterIt(t *testing.T) {
	w := steady(t, 10, 25, testOptions())
	w.setLink(false)
	w.run(5 * hb)
	w.deas["dea-003"].quiet = true
	lost := len(w.deas["dea-003"].list)
	w.run(20 * hb)
	w.setLink(true)
	w.run(6*hb - time.Second)
	w.wantSent("every clock starts anew when the link returns", 0, 0)
	w.run(6 * hb)
	w.wantSent("a DEA lost during an outage", lost, 0)
}

func TestI4DEAsThatReturnSlowlyAreNotLost(t *testing.T) {
	w := steady(t, 10, 25, testOptions())
	w.setLink(false)
	for _, d := range w.deas {
		d.quiet = true
	}
	w.run(20 * hb)
	w.setLink(true)
	for i := range 10 { // one every two heartbeats: the last returns long after its time to live
		w.deas[fmt.Sprintf("dea-%03d", i)].quiet = false
		w.run(2 * hb)
	}
	w.run(20 * hb)
	w.wantSent("DEAs that find their way back one by one", 0, 0)
	w.wantGate("all are back")
}

func TestI5RestartAndFailoverCauseNoCommand(t *testing.T) {
	w := steady(t, 10, 25, testOptions())
	for range 5 {
		w.failover()
		w.run(2 * hb)
		w.wantGate("after a failover")
		w.restart()
		w.run(hb)
		if !slices.Contains(w.core.gate, ReasonActualStale) {
			t.Errorf("the gate's reasons after a restart are %v", w.core.gate)
		}
		w.run(4 * hb)
		w.wantGate("after a restart")
	}
	w.wantSent("restarts and failovers", 0, 0)
}

func TestI5FailoverWhileCommandingSendsNothingTwice(t *testing.T) {
	opts := testOptions()
	opts.StartLimit = 5
	w := steady(t, 10, 25, opts)
	w.deas["dea-003"].quiet, w.deas["dea-004"].quiet = true, true
	lost := len(w.deas["dea-003"].list) + len(w.deas["dea-004"].list)
	for range 60 {
		w.run(hb / 3)
		w.failover()
	}
	w.run(10 * hb)
	w.wantSent("failovers while commanding", lost, 0)
	for i := range w.sent { // policy.start_limit holds across leaders
		n := 0
		for _, c := range w.sent[:i+1] {
			if w.sent[i].at.Sub(c.at) < hb {
				n++
			}
		}
		if n > 5 {
			t.Fatalf("%d starts within one period, the limit is 5", n)
		}
	}
}

func TestI6FailedReadsChangeNothing(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	index := w.index
	w.readErr = errTest
	w.run(5 * hb)
	w.wantGate("reads fail, the newest complete one is young enough")
	w.run(8 * hb)
	w.wantGate("reads fail for longer than desired.ttl", ReasonDesiredStale)
	w.deas["dea-001"].list = nil
	w.run(20 * hb)
	w.wantSent("the desired state is stale", 0, 0)
	if w.index == index {
		t.Error("what was heard is not recorded while reads fail")
	}
	w.readErr = nil
	w.run(10 * hb)
	if d := w.drift(); len(d) > 0 {
		t.Errorf("drift is left after reads work again: %v", d)
	}
}

func TestSteadyFleetWritesNothing(t *testing.T) {
	w := steady(t, 20, 100, testOptions())
	index := w.index
	w.run(500 * hb)
	if w.index != index {
		t.Errorf("500 steady heartbeat periods wrote %d entries", w.index-index)
	}
	if w.reads2 < 80 {
		t.Errorf("%d complete reads in 500 periods, want one every 6", w.reads2)
	}
}

// closesAt wants the gate open until the last moment before due, and closed then.
func TestAppChanges(t *testing.T) {
	for _, c := range []struct {
		name          string
		change        func(*desired.App)
		starts, stops int
	}{
		{"R15 stopped", func(a *desired.App) { a.State = desired.Stopped }, 0, 4},
		{"R14 staging failed", func(a *desired.App) { a.Package = desired.Failed }, 0, 4},
		{"R13 staging pending", func(a *desired.App) { a.Package = desired.Pending }, 0, 0},
		{"R18 scaled down", func(a *desired.App) { a.Instances = 1 }, 0, 3},
		{"scaled up", func(a *desired.App) { a.Instances = 7 }, 3, 0},
		{"R17 a new version", func(a *desired.App) { a.Key.Version = app.MustGUID("v2") }, 4, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := steady(t, 4, 30, testOptions())
			c.change(&w.apps[3])
			w.run(12 * hb)
			w.wantSent(c.name, c.starts, c.stops)
			w.run(40 * hb)
			w.wantSent("at rest", c.starts, c.stops)
		})
	}
}

func TestR20DuplicatesAreStoppedOneByOne(t *testing.T) {
	w := steady(t, 4, 2, testOptions())
	for i := range 3 {
		d := w.deas[fmt.Sprintf("dea-%03d", i)]
		d.list = append(d.list, w.instance(testKey(0, 1), 1, actual.Running))
	}
	began := w.now
	w.run(12 * hb)
	w.wantSent("within the duplicate grace", 0, 0)
	w.run(20 * hb)
	w.wantSent("three duplicates", 0, 3)
	for i, c := range w.sent {
		if want := time.Duration(12+3*i) * hb; c.at.Sub(began) < want || !c.IsDuplicate() {
			t.Errorf("stop %d came after %v, want %v or more", i, c.at.Sub(began), want)
		}
	}
}

func TestW10RestartedDEAWithTheSameInstances(t *testing.T) {
	w := steady(t, 6, 10, testOptions())
	old := w.deas["dea-002"]
	delete(w.deas, "dea-002")
	w.deas["dea-new"] = &simDEA{id: "dea-new", list: old.list, beat: w.now}
	w.run(30 * hb)
	w.wantSent("a DEA restarted with its instances", 0, 0)
	if d := w.drift(); len(d) > 0 {
		t.Errorf("drift: %v", d)
	}
}

func TestR29EvacuationReplacesEverything(t *testing.T) {
	w := steady(t, 6, 10, testOptions())
	d := w.deas["dea-002"]
	n := len(d.list)
	d.closed = true
	for i := range d.list {
		d.list[i].State = actual.Evacuating
	}
	w.onStart = func(i *actual.Instance) { i.State = actual.Starting }
	w.run(2 * hb)
	w.wantSent("an evacuation is answered at once", n, 0)
	for _, d := range w.deas {
		for i := range d.list {
			if d.list[i].State == actual.Starting {
				d.list[i].State = actual.Running
			}
		}
	}
	w.run(3 * hb)
	w.wantSent("the replacements run (R26)", n, n)
	if len(d.list) != 0 {
		t.Errorf("%d instances are left on the evacuated DEA", len(d.list))
	}
	w.run(20 * hb)
	w.wantSent("at rest", n, n)
}

func TestR34ExitIsActedOnAtOnceAndOnce(t *testing.T) {
	w := steady(t, 4, 3, testOptions())
	d := w.deas["dea-001"]
	d.list[0].State = actual.Crashed
	w.intake.Exit(actual.Exit{App: d.list[0].App, Instance: d.list[0].GUID, Index: d.list[0].Index, Reason: actual.ExitCrashed})
	w.run(time.Second)
	w.wantSent("a crash told by droplet.exited", 1, 0)
	w.run(20 * hb)
	w.wantSent("the heartbeat follows", 1, 0)
}

func TestR07CrashLoop(t *testing.T) {
	w := steady(t, 4, 1, testOptions())
	var starts []app.Time
	crash := func() {
		for _, d := range w.deas {
			for i := range d.list {
				if d.list[i].Index == 2 && d.list[i].State.Live() {
					d.list[i].State = actual.Crashed
					w.intake.Exit(actual.Exit{App: d.list[i].App, Instance: d.list[i].GUID, Index: 2, Reason: actual.ExitCrashed})
				}
			}
		}
	}
	crash()
	seen := 0
	for range 400 {
		w.run(hb)
		if len(w.sent) > seen {
			seen = len(w.sent)
			starts = append(starts, w.sent[seen-1].at)
			w.run(hb) // it runs for a moment, and is heard
			crash()
		}
	}
	var gaps []int
	for i := 1; i < len(starts); i++ {
		gaps = append(gaps, int(starts[i].Sub(starts[i-1])/hb))
	}
	if len(gaps) < 9 || gaps[0] > 4 || gaps[3] < 3 || gaps[5] < 12 || gaps[8] < 90 || gaps[8] > 110 {
		t.Errorf("gaps between restarts in heartbeats are %v, want about 1-3 three times, then 3+ 6+ 12+ 24+ 48+ 96", gaps)
	}
}

func TestStopWaitsForANewerRead(t *testing.T) {
	w := steady(t, 4, 30, testOptions())
	// The Cloud Controller scales an app up and starts the instances itself, just after a read.
	w.run(hb / 2)
	w.apps[0].Instances = 6
	w.obey(commands.Command{Action: commands.Start, App: w.apps[0].Key, Index: 4})
	w.obey(commands.Command{Action: commands.Start, App: w.apps[0].Key, Index: 5})
	w.run(20 * hb)
	w.wantSent("instances that were started before hm read that they are wanted", 0, 0)
}

func TestProposalsThatFailAreTakenUpAgain(t *testing.T) {
	w := steady(t, 10, 25, testOptions())
	w.deas["dea-003"].quiet = true
	lost := len(w.deas["dea-003"].list)
	for i := range 40 {
		if w.fail = nil; i%2 == 0 {
			w.fail = errTest
		}
		w.run(hb / 2)
	}
	w.fail = nil
	w.run(10 * hb)
	w.wantSent("proposals fail half of the time", lost, 0)
}

func TestPublishThatSurelyFailedIsRepeated(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	w.deas["dea-001"].list = w.deas["dea-001"].list[1:]
	w.pubErr = fmt.Errorf("%w: %w", ErrNotSent, errTest)
	w.run(8 * hb)
	w.wantSent("the link refuses", 0, 0)
	w.pubErr = nil
	w.run(8 * hb)
	w.wantSent("the link takes commands again", 1, 0)
}

func TestColdStart(t *testing.T) {
	w := newWorld(t, testOptions())
	w.addDEAs(10)
	w.desire(50, 4, false)
	w.run(16 * hb)
	w.wantGate("nothing of what is desired is heard of", "hold:first-picture")
	w.wantSent("nothing of what is desired is heard of", 0, 0)
	w.run(32 * hb)
	if d := w.drift(); len(d) > 0 || w.live() != 200 {
		t.Errorf("%d instances live, want 200; drift %v", w.live(), d)
	}
	w.wantSent("a cold start", 200, 0)
}

func TestI3NoStopOnAccountOfACopyWhoseDEAIsSilent(t *testing.T) {
	w := steady(t, 6, 10, testOptions())
	// A second copy of an index; the one that would stay is on a DEA that dies just before the other's stop is due.
	k := w.apps[0].Key
	var home *simDEA
	for _, d := range w.deas {
		if slices.ContainsFunc(d.list, func(i actual.Instance) bool { return i.App == k && i.Index == 0 }) {
			home = d
		}
	}
	for _, d := range w.deas {
		if d != home {
			d.list = append(d.list, w.instance(k, 0, actual.Running))
			break
		}
	}
	w.run(10*hb + hb/2)
	home.quiet = true
	w.run(3 * hb)
	for _, c := range w.sent {
		if c.Action == commands.Stop && c.App == k {
			t.Fatalf("%s/%d was stopped %v after its other copy was last heard", k, c.Index, c.at)
		}
	}
	w.run(20 * hb)
	if d := w.drift(); len(d) > 0 {
		t.Errorf("drift is left: %v", d)
	}
}

// TestW14UnreadableEntryIsNotGone, as long as it says which instance it is, but no longer than a time to live.
func TestW14UnreadableEntryIsNotGone(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	w.garbled = w.deas["dea-001"].list[0].GUID
	w.run(6 * hb)
	w.wantSent("an entry that cannot be read, for a time to live and a grace", 0, 0)
	w.run(20 * hb)
	w.wantSent("an entry that cannot be read for longer", 1, 0)
	w.deas["dea-001"].list = w.deas["dea-001"].list[2:]
	w.garbled = app.GUID{}
	w.run(10 * hb)
	w.wantSent("one more instance that is gone", 2, 0)
}
