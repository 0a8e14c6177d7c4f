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

// TestR34AHeartbeatMadeBeforeTheExit is handled after it: the two subjects have queues of their own. One crash is
// answered by one start.
func TestR34AHeartbeatMadeBeforeTheExit(t *testing.T) {
	for name, reason := range map[string]actual.ExitReason{"crashed": actual.ExitCrashed, "evacuated": actual.ExitEvacuation} {
		t.Run(name, func(t *testing.T) {
			w := steady(t, 4, 1, testOptions())
			w.deaf = true // the restart shows in no heartbeat yet
			d, victim := w.at(w.apps[0].Key, 1)
			old := actual.Heartbeat{DEA: d.id, Instances: slices.Clone(d.list)}
			for i := range old.Instances {
				old.Instances[i].Since++ // it differs from what is recorded, so it is taken
			}
			w.run(time.Second)
			exit := actual.Exit{App: victim.App, Instance: victim.GUID, Index: 1, Reason: reason}
			w.intake.Exit(exit)
			w.run(100 * time.Millisecond)
			w.intake.Heartbeat(old, digestOf(old))
			if victim.State = actual.Crashed; reason != actual.ExitCrashed {
				guid := victim.GUID
				d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == guid })
			}
			w.run(5 * time.Second)
			d.beat = w.now
			w.run(15 * time.Second)
			starts := 0
			for _, c := range w.sent {
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

// TestR34ADEAThatGoesOnListingAnInstanceIsBelieved: a time to live after the exit nothing made before it is under way.
func TestR34ADEAThatGoesOnListingAnInstanceIsBelieved(t *testing.T) {
	w := steady(t, 4, 1, testOptions())
	w.deaf = true
	_, i := w.at(w.apps[0].Key, 1)
	w.intake.Exit(actual.Exit{App: i.App, Instance: i.GUID, Index: 1, Reason: actual.ExitCrashed})
	state := func() actual.State {
		for _, l := range w.View().Instances(nil, i.App) {
			if l.GUID == i.GUID {
				return l.State
			}
		}
		return 0
	}
	w.run(2 * hb)
	if s := state(); s != actual.Crashed {
		t.Errorf("two heartbeats after the exit the instance is recorded as %v", s)
	}
	w.run(3 * hb)
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

// TestW44AnOldExitIsNotActedOn: an exit at an index that nobody wants is no crash when the index is wanted much later,
// and the Cloud Controller starts it.
func TestW44AnOldExitIsNotActedOn(t *testing.T) {
	w := steady(t, 4, 10, testOptions())
	k := w.apps[0].Key
	for index := range uint32(9_000) {
		w.intake.Exit(actual.Exit{App: k, Instance: app.MustGUID(fmt.Sprint("old-", index)), Index: 4 + index, Reason: actual.ExitCrashed})
	}
	w.run(hb)
	if n := len(w.View().Crashes(k)); n != 0 {
		t.Errorf("%d crash records are kept of indices that nobody wants", n)
	}
	w.run(time.Hour)
	w.apps[0].Instances = 5
	w.startByCC(w.apps[0], 4)
	w.run(20 * hb)
	w.wantSent("the Cloud Controller scaled the app up itself", 0, 0)
}

// TestW44ACrashThatIsNotActedOnIsForgotten: at an index that waits for another (R06) an exit is remembered for as long as
// crashes are.
func TestW44ACrashThatIsNotActedOnIsForgotten(t *testing.T) {
	w := newWorld(t, testOptions())
	w.deaf = true
	w.addDEAs(4)
	w.desire(1, 4, false)
	w.run(5 * hb)
	k := w.apps[0].Key
	w.intake.Exit(actual.Exit{App: k, Instance: app.MustGUID("unheard"), Index: 3, Reason: actual.ExitCrashed})
	w.run(hb)
	noted := func() bool {
		return slices.ContainsFunc(w.View().Crashes(k), func(c actual.Crash) bool { return !c.Exited.IsZero() })
	}
	if !noted() {
		t.Fatal("the exit is not noted")
	}
	w.run(testPolicy.CrashMemory() + 2*hb)
	if noted() {
		t.Errorf("crash records %+v", w.View().Crashes(k))
	}
	for _, c := range w.sent {
		if c.Index == 3 && c.Reason == commands.ReasonCrashed {
			t.Errorf("%v start of index 3 at %v", c.Reason, c.at)
		}
	}
}
