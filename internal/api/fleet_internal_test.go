package api

import (
	"testing"
	"time"

	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// Findings change with time, and a policy scales with the heartbeat period: so does the age of the findings that are
// shown.
func TestAPassIsNoOlderThanAHeartbeatPeriod(t *testing.T) {
	for _, x := range []struct {
		period, age time.Duration
		again       bool
	}{
		{time.Second, 900 * time.Millisecond, false},
		{time.Second, 1100 * time.Millisecond, true},
		{10 * time.Second, 9 * time.Second, false},
		{time.Hour, 11 * time.Second, true},
	} {
		p := diff.Policy{HeartbeatPeriod: x.period}
		f := fleet{policy: p, eval: reconcile.NewEvaluator(p), small: 1}
		n := snapshot{view: raftfsm.NewState().Freeze(), unplaced: func() map[app.Key][]app.Time { return nil }}
		first := f.recent(n)
		first.took, first.built = time.Microsecond, time.Now().Add(-x.age)
		if again := f.recent(n) != first; again != x.again {
			t.Errorf("with a period of %s, after %s: a new pass is made: %v, want %v", x.period, x.age, again, x.again)
		}
	}
}
