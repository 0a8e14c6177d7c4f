package api

import (
	"sync"
	"testing"
	"time"

	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// TestNobodyWaitsForASlowPass: while a pass is made that takes long, the one before it is used; afterwards the new one.
func TestNobodyWaitsForASlowPass(t *testing.T) {
	var running sync.WaitGroup
	policy := diff.Policy{HeartbeatPeriod: time.Second}
	f := fleet{policy: policy, eval: reconcile.NewEvaluator(policy), background: running.Go}
	n := snapshot{view: raftfsm.NewState().Freeze(), unplaced: func() map[app.Key][]app.Time { return nil }}
	first := f.recent(n)
	first.took = 4 * time.Second // as if it had been made in a large fleet
	f.mu.Lock()                  // a pass is under way
	for _, age := range []time.Duration{25 * time.Second, passMaxKeep + first.took} {
		first.built = time.Now().Add(-age)
		if f.recent(n) != first {
			t.Fatalf("a pass of %v ago is not the one that there is", age)
		}
	}
	f.mu.Unlock()
	running.Wait()
	if second := f.recent(n); second == first || second.built.Before(first.built) {
		t.Error("the pass was not renewed")
	}
	for took, age := range map[time.Duration]time.Duration{
		time.Millisecond: passMaxKeep + time.Second, time.Second: passMaxKeep + 3*time.Second, time.Minute: passTooOld,
	} {
		old := f.recent(n)
		old.took, old.built = took, time.Now().Add(-age)
		f.newest.Store(old)
		if f.recent(n) == old {
			t.Errorf("a pass that took %v is used when it is %v old", took, age)
		}
	}
}
