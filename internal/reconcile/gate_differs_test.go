package reconcile

import (
	"slices"
	"testing"

	"hm/internal/app"
)

// A node whose recorded state is not that of its peers commands nothing (I7).
func TestGateClosesForAStateThatDiffers(t *testing.T) {
	in := GateInput{Lead: Lead{Leader: true, Known: true}, NATSUp: true, ActualFresh: true, DesiredFresh: true}
	if reasons := Gate(in, app.Time(1)); len(reasons) != 0 {
		t.Fatalf("closed: %v", reasons)
	}
	in.StateDiffers = true
	if reasons := Gate(in, app.Time(1)); !slices.Equal(reasons, []string{ReasonStateDiffers}) {
		t.Errorf("the gate's reasons are %v", reasons)
	}
}

// Such a node goes on recording what it hears, and acts again once the difference is settled.
func TestNoCommandWhileTheStateDiffers(t *testing.T) {
	differs := false
	opts := testOptions()
	opts.StateDiffers = func() bool { return differs }
	cf := steadyFleet(t, 10, 25, opts)
	differs = true
	index := cf.index
	cf.deas["dea-001"].quiet = true
	cf.run(20 * hb)
	cf.wantGate("the state differs", ReasonStateDiffers)
	cf.wantSent("the state differs", 0, 0)
	if cf.index == index {
		t.Error("the loss of a DEA was not recorded")
	}
	differs = false
	cf.run(20 * hb)
	cf.wantGate("it is settled")
	if len(cf.sent) == 0 {
		t.Error("what is missing is not started")
	}
}
