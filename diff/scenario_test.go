package diff_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
)

// Scenarios over time, which single decisions do not show. Each is named after the rules that it shows.

func TestR01MissingIsStartedAfterTheGraceAndAgain(t *testing.T) {
	sim := newAppSim(t, 2)
	sim.add(0, actual.Running)
	obey := sim.onStart
	sim.onStart = nil // R52, W23: the first two starts are lost
	sim.after(100*time.Second, func() { sim.onStart = obey })
	sim.run(10 * time.Minute)
	sim.wantLog("+30s start 1 MISSING", "+1m0s start 1 MISSING", "+2m0s start 1 MISSING")
	if want := []string{"expired", "expired", "confirmed"}; !slices.EqualFunc(sim.ended, want, strings.HasSuffix) {
		t.Errorf("the commands ended as %v, want %v", sim.ended, want)
	}
}

func TestR02BackBeforeTheStartIsDue(t *testing.T) {
	sim := newAppSim(t, 1)
	sim.after(29*time.Second, func() { sim.add(0, actual.Starting) })
	sim.run(5 * time.Minute)
	sim.wantLog()
	if want := []string{"start 0 MISSING dropped"}; !slices.Equal(sim.ended, want) {
		t.Errorf("ended: %v, want %v", sim.ended, want)
	}
}

// crashLoop lets an instance at index 1 crash again and again, two seconds after each start. It gives the delays from
// each crash to the next start.
func crashLoop(t *testing.T, crashes int, crash func(sim *appSim, g app.GUID)) (delays []time.Duration, sim *appSim) {
	t.Helper()
	sim = newAppSim(t, 2)
	sim.policy.StartingTTL = 0 // the last one stays STARTING, so that no running time shortens the series (W20)
	sim.add(0, actual.Running)
	var crashedAt app.Time
	live := func() {
		g := sim.add(1, actual.Running)
		sim.after(2*time.Second, func() {
			crashedAt = sim.now
			crash(sim, g)
		})
	}
	sim.onStart = func(index uint32) {
		if index != 1 {
			t.Fatalf("index %d is started", index)
		}
		delays = append(delays, sim.now.Sub(crashedAt))
		if len(delays) < crashes {
			sim.after(time.Second, live)
		} else {
			sim.after(time.Second, func() { sim.add(1, actual.Starting) })
		}
	}
	live()
	sim.run(2 * time.Hour)
	return delays, sim
}

var series = []time.Duration{0, 0, 0, 30 * time.Second, 60 * time.Second, 120 * time.Second, 240 * time.Second, 480 * time.Second, 960 * time.Second, 960 * time.Second}

func TestR07DelaysOfACrashLoop(t *testing.T) {
	for name, crash := range map[string]func(sim *appSim, g app.GUID){
		"the heartbeat shows the crash": func(sim *appSim, g app.GUID) { sim.become(g, actual.Crashed) },
		"R34 the exit shows it, the heartbeat follows": func(sim *appSim, g app.GUID) {
			sim.exited(g, 1)
			sim.after(7*time.Second, func() { sim.become(g, actual.Crashed) })
		},
		"W19 its DEA forgets it at once": func(sim *appSim, g app.GUID) {
			sim.become(g, actual.Crashed)
			sim.after(time.Millisecond, func() { sim.remove(g) })
		},
		"W44 its DEA restarts a minute later and sends the exit again": func(sim *appSim, g app.GUID) {
			sim.become(g, actual.Crashed)
			sim.after(time.Minute, func() { sim.exited(g, 1) })
		},
		"R37 its exit comes when it is no longer recorded": func(sim *appSim, g app.GUID) {
			sim.remove(g)
			sim.exited(g, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			delays, sim := crashLoop(t, len(series), crash)
			if !slices.Equal(delays, series) {
				t.Errorf("delays %v, want %v", delays, series)
			}
			for _, e := range sim.ended {
				if e != "start 1 CRASHED confirmed" {
					t.Errorf("%s", e)
				}
			}
		})
	}
}

func TestR08SeriesIsForgotten(t *testing.T) {
	for _, c := range []struct {
		quiet time.Duration
		want  time.Duration
	}{{1910 * time.Second, 120 * time.Second}, {1930 * time.Second, 0}} {
		delays, sim := crashLoop(t, 5, func(sim *appSim, g app.GUID) { sim.become(g, actual.Crashed) })
		if !slices.Equal(delays, series[:5]) {
			t.Fatalf("delays %v, want %v", delays, series[:5])
		}
		last := sim.in.Instances[slices.IndexFunc(sim.in.Instances, func(l actual.Located) bool { return l.Index == 1 && l.State == actual.Starting })].GUID
		sim.crash(1).Last = sim.now.Add(-c.quiet)
		sim.become(last, actual.Crashed)
		from := sim.now
		sim.log = nil
		sim.run(c.want + time.Second)
		sim.wantLog(fmt.Sprintf("+%v start 1 CRASHED", from.Add(c.want).Sub(t0)))
	}
}

func TestR09OneGraceBetweenRestartsWithoutALiveInstance(t *testing.T) {
	sim := newAppSim(t, 2)
	sim.add(0, actual.Running)
	first := sim.add(1, actual.Running)
	sim.after(time.Second, func() { sim.become(first, actual.Crashed) })
	starts := 0
	sim.onStart = func(index uint32) {
		if starts++; starts < 4 {
			sim.after(2*time.Second, func() { sim.add(index, actual.Crashed) }) // crashed before a heartbeat showed it live
		} else {
			sim.after(2*time.Second, func() { sim.add(index, actual.Running) })
		}
	}
	sim.run(10 * time.Minute)
	// One grace after each, and from the fourth crash on the back-off of thirty seconds on top.
	sim.wantLog("+1s start 1 CRASHED", "+31s start 1 CRASHED", "+1m1s start 1 CRASHED", "+2m1s start 1 CRASHED")
}

func TestR12CrashWhileAStartIsPending(t *testing.T) {
	sim := newAppSim(t, 2)
	sim.add(0, actual.Running)
	sim.after(20*time.Second, func() { sim.add(1, actual.Crashed) })
	sim.run(time.Minute)
	sim.wantLog("+30s start 1 MISSING")
	if len(sim.in.Crashes) != 0 {
		t.Errorf("a crash was counted: %+v", sim.in.Crashes)
	}
}

func TestR06OthersKeepTheirBackOffWhileIndex0Crashes(t *testing.T) {
	sim := newAppSim(t, 2)
	sim.add(1, actual.Crashed)
	*sim.crash(1) = actual.Crash{Index: 1, Count: 6, Instance: app.MustGUID("z"), Last: t0.Add(-time.Minute)}
	flap := func(index uint32) {
		sim.after(time.Second, func() {
			g := sim.add(index, actual.Starting)
			if index == 0 {
				sim.after(20*time.Second, func() { sim.become(g, actual.Crashed) })
			}
		})
	}
	sim.onStart = flap
	flap(0)
	sim.run(10 * time.Minute)
	var restarts []string
	for _, l := range sim.log {
		if strings.HasSuffix(l, "start 1 CRASHED") {
			restarts = append(restarts, l)
		}
	}
	// Its 240 s began when index 0 was live for the first time. They are over while index 0 is not live, so index 1 is
	// restarted when index 0 is live the next time.
	if want := []string{"+5m37s start 1 CRASHED"}; !slices.Equal(restarts, want) || sim.crash(1).Count != 7 {
		t.Errorf("index 1 was restarted %v with count %d; want %v, counted once:\n%s", restarts, sim.crash(1).Count, want, strings.Join(sim.log, "\n"))
	}
}

func TestW19BackOffSurvivesWhenTheCrashWasNeverHeardOf(t *testing.T) {
	sim := newAppSim(t, 2)
	sim.add(0, actual.Running)
	*sim.crash(1) = actual.Crash{Index: 1, Count: 5, Instance: app.MustGUID("z"), Last: t0}
	sim.run(time.Hour)
	sim.wantLog("+2m0s start 1 CRASHED")
	if r := sim.crash(1); r.Count != 5 {
		t.Errorf("a crash was counted that hm never heard of: %+v", r)
	}
}

func TestW20AHealthyRunShortensTheSeries(t *testing.T) {
	for _, c := range []struct{ ran, want time.Duration }{
		{59 * time.Second, 120 * time.Second}, {60 * time.Second, 60 * time.Second}, {119 * time.Second, 60 * time.Second},
		{120 * time.Second, 30 * time.Second}, {180 * time.Second, 0}, {time.Hour, 0},
	} {
		sim := newAppSim(t, 2)
		sim.add(0, actual.Running)
		*sim.crash(1) = actual.Crash{Index: 1, Count: 5, Instance: app.MustGUID("z"), Last: t0}
		g := sim.add(1, actual.Running)
		sim.run(c.ran)
		sim.become(g, actual.Crashed)
		sim.log = nil
		sim.run(c.want)
		sim.wantLog(fmt.Sprintf("+%v start 1 CRASHED", c.ran+c.want))
	}
}

func TestR34ExitIsActedOnAtOnceAndOnce(t *testing.T) {
	for name, recorded := range map[string]bool{"recorded": true, "not recorded any more": false} {
		t.Run(name, func(t *testing.T) {
			sim := newAppSim(t, 2)
			sim.add(0, actual.Running)
			g := sim.add(1, actual.Running)
			sim.after(3*time.Second, func() {
				if !recorded {
					sim.remove(g)
				}
				sim.exited(g, 1)
			})
			sim.after(9*time.Second, func() { // the heartbeat follows
				if sim.find(g) < 0 {
					sim.addAs(g, 1, actual.Crashed)
				}
				sim.become(g, actual.Crashed)
			})
			sim.run(20 * time.Minute)
			sim.wantLog("+3s start 1 CRASHED")
			if r := sim.crash(1); r.Count != 1 || r.Instance != g || !r.Exited.IsZero() {
				t.Errorf("the crash record is %+v", r)
			}
		})
	}
}

func TestW44OldExitsOfARestartedDEA(t *testing.T) {
	sim := newAppSim(t, 1)
	old := sim.add(0, actual.Running)
	sim.after(time.Second, func() { sim.exited(old, 0) })
	for _, at := range []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute} {
		sim.after(at, func() { sim.exited(old, 0); sim.exited(app.MustGUID("older"), 0) })
	}
	sim.run(10 * time.Minute)
	sim.wantLog("+1s start 0 CRASHED")
	if r := sim.crash(0); r.Count != 1 {
		t.Errorf("an old crash was counted: %+v", r)
	}
}

func TestR29EvacuationFromEndToEnd(t *testing.T) {
	sim := newAppSim(t, 3)
	for i := range uint32(3) {
		sim.add(i, actual.Running)
	}
	lowest := 3
	serving := func() {
		at := map[uint32]bool{}
		for _, l := range sim.in.Instances {
			at[l.Index] = at[l.Index] || l.State == actual.Running || l.State == actual.Evacuating
		}
		n := 0
		for _, s := range at {
			if s {
				n++
			}
		}
		lowest = min(lowest, n)
	}
	sim.after(10*time.Second, func() {
		for _, l := range slices.Clone(sim.in.Instances) {
			sim.become(l.GUID, actual.Evacuating)
		}
	})
	for i := range 20 { // R31: the DEA beats every five seconds
		sim.after(time.Duration(10+5*i)*time.Second, serving)
	}
	sim.onStart = func(index uint32) {
		sim.after(time.Second, func() {
			g := sim.add(index, actual.Starting) // R27
			sim.after(6*time.Second, func() { sim.become(g, actual.Running); serving() })
		})
	}
	sim.onStop = func(g app.GUID) { sim.after(time.Second, func() { sim.remove(g); serving() }) }
	sim.run(10 * time.Minute)
	sim.wantLog(
		"+10s start 0 EVACUATING", "+10s start 1 EVACUATING", "+10s start 2 EVACUATING",
		"+17s stop i0.1 EVACUATION_COMPLETE", "+17s stop i1.2 EVACUATION_COMPLETE", "+17s stop i2.3 EVACUATION_COMPLETE") // R26
	if lowest < 3 {
		t.Errorf("only %d of 3 indices were served at one time", lowest)
	}
}

func TestW18EvacuationOfWhatIsNotDesired(t *testing.T) {
	sim := newAppSim(t, 1)
	sim.in.Desired = nil
	g := sim.add(0, actual.Running)
	sim.run(time.Minute)
	sim.log = nil
	sim.addAs(g, 0, actual.Evacuating)
	sim.run(2 * time.Minute)
	for _, l := range sim.log {
		if strings.Contains(l, "start") {
			t.Errorf("%s", l)
		}
	}
}

func TestW02DuplicatesGoOneAtATime(t *testing.T) {
	for name, late := range map[string]bool{"in time": false, "all stops are due at once, after a long hold": true} {
		t.Run(name, func(t *testing.T) {
			sim := newAppSim(t, 1)
			for range 4 {
				sim.add(0, actual.Running)
			}
			sim.onStop = func(g app.GUID) { sim.after(5*time.Second, func() { sim.remove(g) }) }
			if late {
				sim.apply(sim.plan().Ops)
				sim.now = sim.now.Add(time.Hour)
				sim.in.Read.Began = sim.now
				sim.run(time.Hour)
				sim.wantLog("+1h0m0s stop i0.2 DUPLICATE", "+1h0m5s stop i0.3 DUPLICATE", "+1h0m10s stop i0.4 DUPLICATE")
			} else {
				sim.run(time.Hour)
				sim.wantLog("+2m0s stop i0.2 DUPLICATE", "+2m30s stop i0.3 DUPLICATE", "+3m0s stop i0.4 DUPLICATE") // R20
			}
			if len(sim.in.Instances) != 1 || sim.in.Instances[0].GUID.String() != "i0.1" {
				t.Errorf("left: %+v, want the oldest one", sim.in.Instances)
			}
		})
	}
}

func TestW02ALostStopIsRepeatedToTheSameCopy(t *testing.T) {
	sim := newAppSim(t, 1)
	first := sim.add(0, actual.Running)
	sim.add(0, actual.Running)
	// Its stop was sent when its index was not desired. It had no effect within the grace, and may still have one.
	lost := commands.Command{
		Action: commands.Stop, App: key, Instance: first, Reason: commands.ReasonExtra, State: commands.Sent,
		DueAt: t0.Add(-31 * time.Second), ClaimedAt: t0.Add(-31 * time.Second),
	}
	lost.ID = commands.NewID(lost)
	sim.commands = append(sim.commands, lost)
	sim.run(time.Hour)
	sim.wantLog("+2m0s stop i0.1 DUPLICATE")
}

func TestR20TheRunningCopyStaysThoughTheOtherWasThereFirst(t *testing.T) {
	sim := newAppSim(t, 1)
	sim.add(0, actual.Starting) // it stays STARTING
	late := sim.add(0, actual.Starting)
	sim.after(time.Minute, func() { sim.boot(late) })
	sim.run(time.Hour)
	sim.wantLog("+3m0s stop i0.1 DUPLICATE")
}

func TestR19W33StartsGoBeforeStops(t *testing.T) {
	sim := newAppSim(t, 2)
	sim.add(0, actual.Running)
	sim.add(5, actual.Running)
	sim.in.GrewAt = t0.Add(-time.Hour)
	sim.run(10 * time.Minute)
	sim.wantLog("+30s start 1 MISSING", "+1m0s stop i5.2 EXTRA") // when the new instance runs and a read was begun after it appeared
}

func TestI3AStopYieldsToTheStartThatReplacesWhatItStops(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration // until the started instance runs; 0: it never does
		yield time.Duration
		want  []string
	}{
		{"the replacement takes its time", 70 * time.Second, 18 * heartbeat, []string{"+30s start 0 MISSING", "+1m0s start 0 MISSING", "+2m0s stop i3.1 EXTRA"}},
		{"it never runs: the stop waits for stop_yield only", 0, 18 * heartbeat, []string{"+30s start 0 MISSING", "+1m0s start 0 MISSING", "+2m0s start 0 MISSING", "+3m0s stop i3.1 EXTRA"}},
		{"HM9000's way", 70 * time.Second, 0, []string{"+30s start 0 MISSING", "+30s stop i3.1 EXTRA", "+1m0s start 0 MISSING"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim := newAppSim(t, 1)
			sim.policy.StopYield = c.yield
			sim.add(3, actual.Running)
			sim.in.GrewAt = t0.Add(-time.Hour)
			started := 0
			sim.onStart = func(index uint32) {
				if started++; c.takes > 0 && started == 1 {
					sim.after(c.takes, func() { sim.add(index, actual.Running) })
				}
			}
			sim.run(200 * time.Second)
			sim.wantLog(c.want...)
		})
	}
}

func TestW23StartsWithoutEffectBackOff(t *testing.T) {
	sim := newAppSim(t, 2)
	sim.add(0, actual.Running)
	sim.onStart = nil
	sim.run(45 * time.Minute)
	sim.wantLog("+30s start 1 MISSING", "+1m0s start 1 MISSING", "+2m0s start 1 MISSING", "+4m0s start 1 MISSING", "+8m0s start 1 MISSING",
		"+16m0s start 1 MISSING", "+32m0s start 1 MISSING")
	for _, f := range sim.findings() {
		if f.Index == 1 && (f.Tries != 7 || f.Due != t0.Add(48*time.Minute)) {
			t.Errorf("the finding tells of %d tries, and the next one at %v", f.Tries, f.Due.Sub(t0))
		}
	}
	// An instance starts in the end and is lost later: that is a loss like any other.
	g := sim.add(1, actual.Running)
	sim.run(time.Minute)
	sim.remove(g)
	sim.log = nil
	sim.run(31 * time.Second)
	sim.wantLog("+46m30s start 1 MISSING")
}

func TestR63AnInstanceThatStartsForEverIsReplaced(t *testing.T) {
	sim := newAppSim(t, 1)
	sim.add(0, actual.Starting)
	sim.onStart = func(index uint32) {
		sim.after(time.Second, func() {
			g := sim.add(index, actual.Starting)
			sim.after(20*time.Second, func() { sim.boot(g) })
		})
	}
	sim.run(20 * time.Minute)
	sim.wantLog("+5m30s start 0 MISSING", "+5m51s stop i0.1 DUPLICATE")
}

// TestR63AScheduledStopOfADuplicateSaysWhyItWaits: it was scheduled when the instance still counted as live (R20), and keeps
// its time.
func TestR63AScheduledStopOfADuplicateSaysWhyItWaits(t *testing.T) {
	in := &diff.Input{
		Key: key, GrewAt: t0.Add(-time.Hour), Read: diff.Reads{Began: t0.Add(-20 * time.Second)}, DesiredVersion: key.Version,
		Desired: &desired.App{Key: key, Instances: 1, State: desired.Started, Package: desired.Staged},
		Outstanding: []commands.Outstanding{{
			ID: commands.ID{1}, Action: commands.Stop, Instance: guid(1), Reason: commands.ReasonDuplicate, DueAt: t0.Add(time.Minute),
		}},
	}
	for n, state := range []actual.State{actual.Running, actual.Starting} {
		in.Instances = append(in.Instances, actual.Located{DEA: "dea-1", Heard: t0.Add(-time.Hour), Instance: actual.Instance{App: key, GUID: guid(n), State: state}})
	}
	for _, f := range diff.App(nil, in, t0, policy) {
		if f.Instance == guid(1) && (f.Rule != "R63" || f.Bucket != diff.Wait || f.Why != diff.WhyDuplicateGrace || f.Due != t0.Add(time.Minute)) {
			t.Errorf("%+v", f)
		}
	}
	in.Outstanding = nil
	for _, f := range diff.App(nil, in, t0, policy) {
		if f.Instance == guid(1) && (f.Rule != "R63" || f.Bucket != diff.ToStop) {
			t.Errorf("without a scheduled stop: %+v", f)
		}
	}
}

func TestR51ThrottleAndOrder(t *testing.T) {
	sim := newAppSim(t, 150)
	sim.add(149, actual.Running)
	g := sim.add(148, actual.Running)
	sim.after(30*time.Second, func() { sim.become(g, actual.Evacuating) }) // comes last, goes first
	sim.run(10 * time.Minute)
	if len(sim.log) != 150 { // 149 starts and the stop of the evacuated one
		t.Fatalf("%d commands were sent, want 150", len(sim.log))
	}
	if want := "+30s start 148 EVACUATING"; sim.log[0] != want {
		t.Errorf("first: %s, want %s", sim.log[0], want)
	}
	sent := map[string]int{}
	for _, l := range sim.log {
		if strings.Contains(l, "start") {
			sent[strings.Fields(l)[0]]++
		}
	}
	if sent["+30s"] != 60 || sent["+40s"] != 60 || sent["+50s"] != 29 {
		t.Errorf("starts at each time: %v, want 60, 60 and 29, a period apart", sent)
	}
	last := -1
	for _, l := range sim.log {
		var index int
		if n, _ := fmt.Sscanf(l[strings.Index(l, " ")+1:], "start %d", &index); n == 1 && strings.HasSuffix(l, "MISSING") {
			if index < last {
				t.Errorf("%s after index %d", l, last)
			}
			last = index
		}
	}
}

func TestW32StopsHaveALimitAndAnOrder(t *testing.T) {
	sim := newAppSim(t, 0)
	sim.throttle.StopLimit = 10
	for i := range uint32(25) {
		sim.add(i, actual.Running)
	}
	sim.in.GrewAt = t0.Add(-time.Hour)
	sim.run(5 * time.Minute)
	for i, l := range sim.log {
		if want := fmt.Sprintf("+%v stop i%d.%d EXTRA", time.Duration(i/10)*heartbeat, i, i+1); l != want {
			t.Errorf("stop %d: %s, want %s", i, l, want)
		}
	}
	if len(sim.log) != 25 {
		t.Errorf("%d stops, want 25", len(sim.log))
	}
}

func TestANewerReadDecidesOnNewInstances(t *testing.T) {
	sim := newAppSim(t, 1)
	sim.add(0, actual.Running)
	sim.after(70*time.Second, func() { sim.add(1, actual.Running) }) // the Cloud Controller scaled up, hm has not read it yet
	sim.after(85*time.Second, func() {
		sim.in.Desired = &desired.App{Key: key, Instances: 2, State: desired.Started, Package: desired.Staged}
		sim.in.Read.Began = sim.now
	})
	sim.run(10 * time.Minute)
	sim.wantLog()
}

func TestNothingIsPlannedWhileTheGateIsClosed(t *testing.T) {
	sim := newAppSim(t, 2)
	sim.in.Held = []string{"nats-down"}
	sim.add(0, actual.Running)
	sim.add(0, actual.Running)
	sim.add(3, actual.Running)
	sim.run(time.Hour)
	sim.wantLog()
	for _, f := range sim.findings() {
		if f.Bucket == diff.ToStart || f.Bucket == diff.ToStop {
			t.Errorf("%+v", f)
		}
	}
}
