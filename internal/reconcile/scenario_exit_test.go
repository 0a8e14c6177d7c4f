package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// TestR34AHeartbeatMadeBeforeTheExit: a heartbeat from before an exit is handled after it, since
// the two subjects have separate queues. One crash leads to one start.
func TestR34AHeartbeatMadeBeforeTheExit(t *testing.T) {
	for name, reason := range map[string]actual.ExitReason{"crashed": actual.ExitCrashed, "evacuated": actual.ExitEvacuation} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 1, testOptions())
			cf.nobodyObeys = true // the restart shows in no heartbeat yet
			d, victim := cf.at(cf.apps[0].Key, 1)
			old := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(d.list)}
			for i := range old.Instances {
				old.Instances[i].Since++ // it differs from what is recorded, so it is taken
			}
			cf.run(time.Second)
			exit := actual.Exit{App: victim.App, Instance: victim.GUID, Index: 1, Reason: reason}
			cf.intake.Exit(exit)
			cf.run(100 * time.Millisecond)
			cf.intake.Heartbeat(old, digestOf(old))
			if victim.State = actual.Crashed; reason != actual.ExitCrashed {
				guid := victim.GUID
				d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == guid })
			}
			cf.run(5 * time.Second)
			d.nextBeat = cf.now
			cf.run(15 * time.Second)
			starts := 0
			for _, c := range cf.sent {
				if c.Action == commands.Start {
					starts++
				}
			}
			if starts != 1 {
				t.Errorf("%d starts were sent, want 1", starts)
			}
		})
	}
}

// TestR34ADEAThatGoesOnListingAnInstanceIsBelieved: a time to live after the exit no older
// heartbeat is on its way.
func TestR34ADEAThatGoesOnListingAnInstanceIsBelieved(t *testing.T) {
	cf := steadyFleet(t, 4, 1, testOptions())
	cf.nobodyObeys = true
	_, i := cf.at(cf.apps[0].Key, 1)
	cf.intake.Exit(actual.Exit{App: i.App, Instance: i.GUID, Index: 1, Reason: actual.ExitCrashed})
	state := func() actual.State {
		for _, l := range cf.View().Instances(nil, i.App) {
			if l.GUID == i.GUID {
				return l.State
			}
		}
		return 0
	}
	cf.run(2 * hb)
	if s := state(); s != actual.Crashed {
		t.Errorf("two heartbeats after the exit the instance is recorded as %v", s)
	}
	cf.run(3 * hb)
	if s := state(); s != actual.Running {
		t.Errorf("five heartbeats after the exit the instance, which its DEA lists as RUNNING, is recorded as %v", s)
	}
}

func TestExitedHasABound(t *testing.T) {
	x := recentExits{}
	exit := func(i int) actual.Exit {
		return actual.Exit{Instance: app.MustGUID(fmt.Sprint("i", i)), Reason: actual.ExitCrashed}
	}
	for i := range maxExited + 5 {
		x.add(exit(i), 1000, hb)
	}
	if len(x.byInstance) != maxExited {
		t.Errorf("%d exits are kept, at most %d are allowed", len(x.byInstance), maxExited)
	}
	x.add(exit(maxExited+9), 1000+app.Time(hb.Milliseconds()), hb)
	if len(x.byInstance) != 1 {
		t.Errorf("%d exits are kept once the others are over", len(x.byInstance))
	}
}

// TestW44AnOldExitIsNotActedOn: an exit at an index that nobody wants is no crash when the index is
// wanted much later and the Cloud Controller starts it.
func TestW44AnOldExitIsNotActedOn(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	k := cf.apps[0].Key
	for index := range uint32(9_000) {
		cf.intake.Exit(actual.Exit{App: k, Instance: app.MustGUID(fmt.Sprint("old-", index)), Index: 4 + index, Reason: actual.ExitCrashed})
	}
	cf.run(hb)
	if n := len(cf.View().Crashes(k)); n != 0 {
		t.Errorf("%d crash records are kept of indices that nobody wants", n)
	}
	cf.run(time.Hour)
	cf.apps[0].Instances = 5
	cf.startByCC(cf.apps[0], 4)
	cf.run(20 * hb)
	cf.wantSent("the Cloud Controller scaled the app up itself", 0, 0)
}

// TestW44ACrashThatIsNotActedOnIsForgotten: an exit at an index that waits for another one (R06) is
// remembered as long as crashes are.
func TestW44ACrashThatIsNotActedOnIsForgotten(t *testing.T) {
	cf := newSimCF(t, testOptions())
	cf.nobodyObeys = true
	cf.addDEAs(4)
	cf.desire(1, 4, false)
	cf.run(5 * hb)
	k := cf.apps[0].Key
	cf.intake.Exit(actual.Exit{App: k, Instance: app.MustGUID("unheard"), Index: 3, Reason: actual.ExitCrashed})
	cf.run(hb)
	noted := func() bool {
		return slices.ContainsFunc(cf.View().Crashes(k), func(c actual.Crash) bool { return !c.Exited.IsZero() })
	}
	if !noted() {
		t.Fatal("the exit is not noted")
	}
	cf.run(testPolicy.CrashMemory() + 2*hb)
	if noted() {
		t.Errorf("crash records %+v", cf.View().Crashes(k))
	}
	for _, c := range cf.sent {
		if c.Index == 3 && c.Reason == commands.ReasonCrashed {
			t.Errorf("%v start of index 3 at %v", c.Reason, c.at)
		}
	}
}

// TestR08NoCrashIsForgottenByALeaderThatHasNotHeardTheDEAs: a DEA that was lost is back and lists its crash, but nothing
// can be recorded. Then another node leads that has heard no DEA yet. It forgets the crash only if no DEA lists it.
func TestR08NoCrashIsForgottenByALeaderThatHasNotHeardTheDEAs(t *testing.T) {
	for _, lists := range []bool{true, false} {
		t.Run(fmt.Sprintf("the DEA lists the crash: %v", lists), func(t *testing.T) {
			cf := steadyFleet(t, 6, 10, testOptions())
			k := cf.apps[0].Key
			d, i := cf.at(k, 1)
			g := i.GUID
			cf.crash(k, 1, false)
			cf.run(3 * hb)
			d.quiet = true
			cf.run(6 * hb)
			unlisted := func() bool {
				for m := range cf.View().UnlistedMarks() {
					if m.Instance == g {
						return true
					}
				}
				return false
			}
			if !unlisted() {
				t.Fatal("the DEA is not recorded as gone, or the crash has no mark")
			}
			cf.fail = errTest
			d.quiet = false
			if !lists {
				d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == g })
			}
			cf.run(testPolicy.CrashMemory())
			cf.restart()
			cf.fail = nil
			cf.run(2 * hb)
			if unlisted() == lists {
				t.Errorf("the crash counts as not listed: %v", !lists)
			}
			cf.run(tidyPeriods * hb)
			if unlisted() {
				t.Error("the mark is there, and the crash is not listed")
			}
			if listed := slices.ContainsFunc(cf.View().Instances(nil, k), func(i actual.Located) bool { return i.GUID == g && i.Mark != 0 }); listed != lists {
				t.Errorf("the crash is listed and has its mark: %v", listed)
			}
		})
	}
}
