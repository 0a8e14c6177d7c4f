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
	cf := steadyFleet(t, 4, 5, testOptions())
	began := cf.now
	d := cf.deas["dea-001"]
	lost := d.list[0]
	d.list = d.list[1:]
	cf.run(6 * hb)
	cf.wantSent("one instance lost", 1, 0)
	if c := cf.sent[0]; c.App != lost.App || c.Index != lost.Index || c.Reason != commands.ReasonMissing {
		t.Errorf("sent %+v, want a start of %s/%d", c, lost.App, lost.Index)
	}
	if after := cf.sent[0].at.Sub(began); after < 3*hb || after > 4*hb+hb/2 {
		t.Errorf("the start was sent %v after the loss, want the grace after the heartbeat that showed it", after)
	}
	cf.run(20 * hb)
	cf.wantSent("the start was obeyed", 1, 0)
	if got := cf.core.log.View().Counts().PendingStarts; got != 0 {
		t.Errorf("%d starts are pending at rest", got)
	}
}

func TestR01LostStartIsRepeatedAfterPauses(t *testing.T) {
	cf := steadyFleet(t, 4, 1, testOptions())
	cf.nobodyObeys = true
	cf.deas["dea-001"].list = nil
	cf.run(40 * hb)
	if len(cf.sent) != 4 {
		t.Fatalf("%d starts were sent in 40 heartbeats, want 4: after 3, 6 and 12 heartbeats again", len(cf.sent))
	}
	for i := 1; i < len(cf.sent); i++ {
		want := 3 * hb << (i - 1)
		if gap := cf.sent[i].at.Sub(cf.sent[i-1].at); gap < want || gap > want+hb {
			t.Errorf("start %d came %v after the one before, want %v (W23)", i, gap, want)
		}
		if cf.sent[i].ID == cf.sent[i-1].ID {
			t.Error("two starts have one id")
		}
	}
	cf.nobodyObeys = false
	cf.run(25 * hb)
	if d := cf.drift(); len(d) > 0 {
		t.Errorf("drift is left: %v", d)
	}
}

func TestR40SilentDEAIsReplaced(t *testing.T) {
	cf := steadyFleet(t, 20, 25, testOptions())
	cf.deas["dea-007"].quiet = true
	lost := len(cf.deas["dea-007"].list)
	cf.run(3 * hb)
	cf.wantSent("before its time to live is over", 0, 0)
	cf.run(7 * hb)
	cf.wantSent("one DEA of 20 lost", lost, 0)
	cf.run(10 * hb)
	if d := cf.drift(); len(d) > 0 || cf.live() != 100 {
		t.Errorf("%d instances live, want 100; drift: %v", cf.live(), d)
	}
}

// A DEA is lost at the end of its time to live, not at the next look after it.
func TestR40SilenceIsNoticedWhenItIsDue(t *testing.T) {
	cf := steadyFleet(t, 20, 25, testOptions())
	lost := cf.deas["dea-007"]
	lost.quiet = true
	due := lost.nextBeat.Add(2 * hb) // it spoke last a period before its next turn
	for cf.now < due-1 {
		cf.run(time.Millisecond)
	}
	if d, _ := cf.View().DEA(lost.id); d.GoneAt != 0 {
		t.Fatalf("%s is gone at %v, before its time to live is over at %v", lost.id, d.GoneAt, due)
	}
	cf.run(hb / maxSweepsPerPeriod)
	if d, _ := cf.View().DEA(lost.id); d.GoneAt < due || d.GoneAt >= due.Add(hb/maxSweepsPerPeriod) {
		t.Errorf("%s is gone at %v, want from %v on, less than %v later", lost.id, d.GoneAt, due, hb/maxSweepsPerPeriod)
	}
}

func TestI4OutageOfAnyLengthCausesNoCommand(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, hb, 3 * hb, 13 * hb, 500 * hb} {
		t.Run(outage.String(), func(t *testing.T) {
			cf := steadyFleet(t, 10, 25, testOptions())
			index := cf.index
			cf.setLink(false)
			cf.run(outage)
			if outage > hb {
				if !slices.Contains(cf.core.gate, ReasonNATSDown) {
					t.Errorf("the gate's reasons are %v during an outage", cf.core.gate)
				}
			}
			cf.setLink(true)
			cf.run(60 * hb)
			cf.wantSent("an outage", 0, 0)
			cf.wantGate("after an outage")
			if cf.index != index {
				t.Errorf("an outage wrote %d entries to the log", cf.index-index)
			}
		})
	}
}

func TestI4FlappingLink(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	for i := range 40 {
		cf.setLink(i%2 == 1)
		cf.run(time.Duration(1+i*7%50) * time.Second)
	}
	cf.setLink(true)
	cf.run(20 * hb)
	cf.wantSent("a flapping link", 0, 0)
	cf.wantGate("after a flapping link")
}

func TestI4LossDuringAnOutageIsRepairedAfterIt(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	cf.setLink(false)
	cf.run(5 * hb)
	cf.deas["dea-003"].quiet = true
	lost := len(cf.deas["dea-003"].list)
	cf.run(20 * hb)
	cf.setLink(true)
	cf.run(6*hb - time.Second)
	cf.wantSent("every clock starts anew when the link returns", 0, 0)
	cf.run(6 * hb)
	cf.wantSent("a DEA lost during an outage", lost, 0)
}

func TestI4DEAsThatReturnSlowlyAreNotLost(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	cf.setLink(false)
	for _, d := range cf.deas {
		d.quiet = true
	}
	cf.run(20 * hb)
	cf.setLink(true)
	for i := range 10 { // one every two heartbeats: the last returns long after its time to live
		cf.deas[fmt.Sprintf("dea-%03d", i)].quiet = false
		cf.run(2 * hb)
	}
	cf.run(20 * hb)
	cf.wantSent("DEAs that find their way back one by one", 0, 0)
	cf.wantGate("all are back")
}

func TestI5RestartAndFailoverCauseNoCommand(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	for range 5 {
		cf.failover()
		cf.run(2 * hb)
		cf.wantGate("after a failover")
		cf.restart()
		cf.run(hb)
		if !slices.Contains(cf.core.gate, ReasonActualStale) {
			t.Errorf("the gate's reasons after a restart are %v", cf.core.gate)
		}
		cf.run(4 * hb)
		cf.wantGate("after a restart")
	}
	cf.wantSent("restarts and failovers", 0, 0)
}

func TestI5FailoverWhileCommandingSendsNothingTwice(t *testing.T) {
	opts := testOptions()
	opts.StartLimit = 5
	cf := steadyFleet(t, 10, 25, opts)
	cf.deas["dea-003"].quiet, cf.deas["dea-004"].quiet = true, true
	lost := len(cf.deas["dea-003"].list) + len(cf.deas["dea-004"].list)
	for range 60 {
		cf.run(hb / 3)
		cf.failover()
	}
	cf.run(10 * hb)
	cf.wantSent("failovers while commanding", lost, 0)
	for i := range cf.sent { // policy.start_limit holds across leaders
		n := 0
		for _, c := range cf.sent[:i+1] {
			if cf.sent[i].at.Sub(c.at) < hb {
				n++
			}
		}
		if n > 5 {
			t.Fatalf("%d starts within one period, the limit is 5", n)
		}
	}
}

func TestI6FailedReadsChangeNothing(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	index := cf.index
	cf.readErr = errTest
	cf.run(5 * hb)
	cf.wantGate("reads fail, the newest complete one is young enough")
	cf.run(8 * hb)
	cf.wantGate("reads fail for longer than desired.ttl", ReasonDesiredStale)
	cf.deas["dea-001"].list = nil
	cf.run(20 * hb)
	cf.wantSent("the desired state is stale", 0, 0)
	if cf.index == index {
		t.Error("what was heard is not recorded while reads fail")
	}
	cf.readErr = nil
	cf.run(10 * hb)
	if d := cf.drift(); len(d) > 0 {
		t.Errorf("drift is left after reads work again: %v", d)
	}
}

func TestSteadyFleetWritesNothing(t *testing.T) {
	cf := steadyFleet(t, 20, 100, testOptions())
	index := cf.index
	cf.run(500 * hb)
	if cf.index != index {
		t.Errorf("500 steady heartbeat periods wrote %d entries", cf.index-index)
	}
	if cf.readsMade < 80 {
		t.Errorf("%d complete reads in 500 periods, want one every 6", cf.readsMade)
	}
}

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
			cf := steadyFleet(t, 4, 30, testOptions())
			c.change(&cf.apps[3])
			cf.run(12 * hb)
			cf.wantSent(c.name, c.starts, c.stops)
			cf.run(40 * hb)
			cf.wantSent("at rest", c.starts, c.stops)
		})
	}
}

func TestR20DuplicatesAreStoppedOneByOne(t *testing.T) {
	cf := steadyFleet(t, 4, 2, testOptions())
	for i := range 3 {
		d := cf.deas[fmt.Sprintf("dea-%03d", i)]
		d.list = append(d.list, cf.instance(testKey(0, 1), 1, actual.Running))
	}
	began := cf.now
	cf.run(12 * hb)
	cf.wantSent("within the duplicate grace", 0, 0)
	cf.run(20 * hb)
	cf.wantSent("three duplicates", 0, 3)
	for i, c := range cf.sent {
		if want := time.Duration(12+3*i) * hb; c.at.Sub(began) < want || !c.IsDuplicate() {
			t.Errorf("stop %d came after %v, want %v or more", i, c.at.Sub(began), want)
		}
	}
}

func TestW10RestartedDEAWithTheSameInstances(t *testing.T) {
	cf := steadyFleet(t, 6, 10, testOptions())
	old := cf.deas["dea-002"]
	delete(cf.deas, "dea-002")
	cf.deas["dea-new"] = &simDEA{id: "dea-new", list: old.list, nextBeat: cf.now}
	cf.run(30 * hb)
	cf.wantSent("a DEA restarted with its instances", 0, 0)
	if d := cf.drift(); len(d) > 0 {
		t.Errorf("drift: %v", d)
	}
}

func TestR29EvacuationReplacesEverything(t *testing.T) {
	cf := steadyFleet(t, 6, 10, testOptions())
	d := cf.deas["dea-002"]
	n := len(d.list)
	d.closed = true
	for i := range d.list {
		d.list[i].State = actual.Evacuating
	}
	cf.onStart = func(i *actual.Instance) { i.State = actual.Starting }
	cf.run(2 * hb)
	cf.wantSent("an evacuation is answered at once", n, 0)
	for _, d := range cf.deas {
		for i := range d.list {
			if d.list[i].State == actual.Starting {
				d.list[i].State = actual.Running
			}
		}
	}
	cf.run(3 * hb)
	cf.wantSent("the replacements run (R26)", n, n)
	if len(d.list) != 0 {
		t.Errorf("%d instances are left on the evacuated DEA", len(d.list))
	}
	cf.run(20 * hb)
	cf.wantSent("at rest", n, n)
}

// TestR63AnInstanceThatStaysSTARTINGIsReplaced: the app changes nothing for 30 heartbeats, so only the time makes the
// leader look at it again.
func TestR63AnInstanceThatStaysSTARTINGIsReplaced(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	cf.onStart = func(i *actual.Instance) { i.State = actual.Starting }
	d := cf.deas["dea-001"]
	d.list[0].State = actual.Starting
	cf.run(29 * hb)
	cf.wantSent("an instance is STARTING for a while", 0, 0)
	cf.run(6 * hb)
	cf.wantSent("an instance is STARTING for too long", 1, 0)
}

func TestR34ExitIsActedOnAtOnceAndOnce(t *testing.T) {
	cf := steadyFleet(t, 4, 3, testOptions())
	d := cf.deas["dea-001"]
	d.list[0].State = actual.Crashed
	cf.intake.Exit(actual.Exit{App: d.list[0].App, Instance: d.list[0].GUID, Index: d.list[0].Index, Reason: actual.ExitCrashed})
	cf.run(time.Second)
	cf.wantSent("a crash told by droplet.exited", 1, 0)
	cf.run(20 * hb)
	cf.wantSent("the heartbeat follows", 1, 0)
}

func TestR07CrashLoop(t *testing.T) {
	cf := steadyFleet(t, 4, 1, testOptions())
	var starts []app.Time
	crash := func() {
		for _, d := range cf.deas {
			for i := range d.list {
				if d.list[i].Index == 2 && d.list[i].State.Live() {
					d.list[i].State = actual.Crashed
					cf.intake.Exit(actual.Exit{App: d.list[i].App, Instance: d.list[i].GUID, Index: 2, Reason: actual.ExitCrashed})
				}
			}
		}
	}
	crash()
	seen := 0
	for range 400 {
		cf.run(hb)
		if len(cf.sent) > seen {
			seen = len(cf.sent)
			starts = append(starts, cf.sent[seen-1].at)
			cf.run(hb) // it runs for a moment, and is heard
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
	cf := steadyFleet(t, 4, 30, testOptions())
	// The Cloud Controller scales an app up and starts the instances itself, just after a read.
	cf.run(hb / 2)
	cf.apps[0].Instances = 6
	cf.obey(commands.Command{Action: commands.Start, App: cf.apps[0].Key, Index: 4})
	cf.obey(commands.Command{Action: commands.Start, App: cf.apps[0].Key, Index: 5})
	cf.run(20 * hb)
	cf.wantSent("instances that were started before hm read that they are wanted", 0, 0)
}

func TestProposalsThatFailAreTakenUpAgain(t *testing.T) {
	cf := steadyFleet(t, 10, 25, testOptions())
	cf.deas["dea-003"].quiet = true
	lost := len(cf.deas["dea-003"].list)
	for i := range 40 {
		if cf.fail = nil; i%2 == 0 {
			cf.fail = errTest
		}
		cf.run(hb / 2)
	}
	cf.fail = nil
	cf.run(10 * hb)
	cf.wantSent("proposals fail half of the time", lost, 0)
}

func TestPublishThatSurelyFailedIsRepeated(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	cf.deas["dea-001"].list = cf.deas["dea-001"].list[1:]
	cf.pubErr = fmt.Errorf("%w: %w", ErrNotSent, errTest)
	cf.run(8 * hb)
	cf.wantSent("the link refuses", 0, 0)
	cf.pubErr = nil
	cf.run(8 * hb)
	cf.wantSent("the link takes commands again", 1, 0)
}

func TestColdStart(t *testing.T) {
	cf := newSimCF(t, testOptions())
	cf.addDEAs(10)
	cf.desire(50, 4, false)
	cf.run(16 * hb)
	cf.wantGate("nothing of what is desired is heard of", "hold:first-picture")
	cf.wantSent("nothing of what is desired is heard of", 0, 0)
	cf.run(32 * hb)
	if d := cf.drift(); len(d) > 0 || cf.live() != 200 {
		t.Errorf("%d instances live, want 200; drift %v", cf.live(), d)
	}
	cf.wantSent("a cold start", 200, 0)
}

func TestI3NoStopOnAccountOfACopyWhoseDEAIsSilent(t *testing.T) {
	cf := steadyFleet(t, 6, 10, testOptions())
	// A second copy of an index; the one that would stay is on a DEA that dies just before the
	// other's stop is due.
	k := cf.apps[0].Key
	var home *simDEA
	for _, d := range cf.deas {
		if slices.ContainsFunc(d.list, func(i actual.Instance) bool { return i.App == k && i.Index == 0 }) {
			home = d
		}
	}
	for _, d := range cf.deas {
		if d != home {
			d.list = append(d.list, cf.instance(k, 0, actual.Running))
			break
		}
	}
	cf.run(10*hb + hb/2)
	home.quiet = true
	cf.run(3 * hb)
	for _, c := range cf.sent {
		if c.Action == commands.Stop && c.App == k {
			t.Fatalf("%s/%d was stopped %v after its other copy was last heard", k, c.Index, c.at)
		}
	}
	cf.run(20 * hb)
	if d := cf.drift(); len(d) > 0 {
		t.Errorf("drift is left: %v", d)
	}
}

// TestW14UnreadableEntryIsNotGone, as long as it says which instance it is, but no longer than a
// time to live.
func TestW14UnreadableEntryIsNotGone(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	cf.unreadable = cf.deas["dea-001"].list[0].GUID
	cf.run(6 * hb)
	cf.wantSent("an entry that cannot be read, for a time to live and a grace", 0, 0)
	cf.run(20 * hb)
	cf.wantSent("an entry that cannot be read for longer", 1, 0)
	cf.deas["dea-001"].list = cf.deas["dea-001"].list[2:]
	cf.unreadable = app.GUID{}
	cf.run(10 * hb)
	cf.wantSent("one more instance that is gone", 2, 0)
}
