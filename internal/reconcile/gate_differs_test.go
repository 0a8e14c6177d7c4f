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
