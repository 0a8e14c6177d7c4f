package diff_test

import (
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/diff"
)

// newShadowSim makes an app whose commands are decided and not sent. A test does what another health manager does.
func newShadowSim(t *testing.T, instances uint32) *appSim {
	sim := newAppSim(t, instances)
	sim.policy.Shadow = true
	sim.onStart, sim.onStop = nil, nil
	return sim
}

func (sim *appSim) wantEnded(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(sim.ended, want) {
		t.Errorf("the commands ended as %v, want %v", sim.ended, want)
	}
}

// TestShadowDecidesOnceUntilTheOtherActs: another health manager starts a missing index four graces after hm would
// have. hm decides once, and its command ends with the effect of the other's.
func TestShadowDecidesOnceUntilTheOtherActs(t *testing.T) {
	sim := newShadowSim(t, 2)
	sim.add(0, actual.Running)
	sim.after(150*time.Second, func() { sim.add(1, actual.Running) })
	sim.run(10 * time.Minute)
	sim.wantLog("+30s start 1 MISSING")
	sim.wantEnded(t, "start 1 MISSING confirmed")
}

// TestShadowDecidesAgainWhenNobodyActs: if nobody acts within the window, the decision is made anew, so that a report
// shows that the drift lasts.
func TestShadowDecidesAgainWhenNobodyActs(t *testing.T) {
	sim := newShadowSim(t, 2)
	sim.add(0, actual.Running)
	sim.run(30*time.Second + sim.policy.OtherWindow() + time.Second)
	sim.wantLog("+30s start 1 MISSING", "+5m30s start 1 MISSING")
	sim.wantEnded(t, "start 1 MISSING expired")
}

// TestShadowSeesEachCrash: the other restarts a crashed index, and the new instance crashes before hm has evaluated it
// as live. Each crash has a decision of its own.
func TestShadowSeesEachCrash(t *testing.T) {
	sim := newShadowSim(t, 2)
	sim.add(0, actual.Running)
	a := sim.add(1, actual.Running)
	sim.after(10*time.Second, func() { sim.become(a, actual.Crashed) })
	sim.after(20*time.Second, func() { // started, and crashed within one heartbeat
		b := sim.add(1, actual.Starting)
		sim.become(b, actual.Crashed)
		sim.remove(a)
	})
	sim.after(40*time.Second, func() { sim.add(1, actual.Running) })
	sim.run(2 * time.Minute)
	sim.wantLog("+10s start 1 CRASHED", "+20s start 1 CRASHED")
	sim.wantEnded(t, "start 1 CRASHED confirmed", "start 1 CRASHED confirmed")
}

// TestShadowFollowsTheOthersChoice: of two copies the other stops the one that hm would keep. hm's stop ends at once,
// because nobody will carry it out any more.
func TestShadowFollowsTheOthersChoice(t *testing.T) {
	sim := newShadowSim(t, 1)
	sim.add(0, actual.Running)
	older := sim.in.Instances[0].GUID
	sim.after(10*time.Second, func() { sim.add(0, actual.Running) })
	sim.after(150*time.Second, func() { sim.remove(older) })
	sim.run(10 * time.Minute)
	sim.wantLog("+2m10s stop i0.2 DUPLICATE")
	sim.wantEnded(t, "stop i0.2 DUPLICATE dropped")
}

// TestOtherWindowCoversHM9000: with the default policy the window covers the slowest reaction of HM9000 that does not
// come from its limit: a duplicate is stopped up to 240 s after it appeared, and hm's stop is due after 120 s.
func TestOtherWindowCoversHM9000(t *testing.T) {
	if w := policy.OtherWindow(); w != 300*time.Second {
		t.Errorf("the window is %v, want 300 s", w)
	}
	if k := policy.Keep(); k != policy.Grace {
		t.Errorf("a sent command is kept for %v, want the grace", k)
	}
	if p := (diff.Policy{HeartbeatPeriod: heartbeat, Shadow: true}); p.Keep() < 24*heartbeat {
		t.Errorf("a policy without delays keeps decided commands for %v, which is too short for HM9000", p.Keep())
	}
}
