package api

import (
	"sync"
	"testing"
	"time"

	"hm/diff"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// TestNobodyWaitsForASlowPass: while a pass is made that takes long, the one before it is used; afterwards the new one.
func TestNobodyWaitsForASlowPass(t *testing.T) {
	var running sync.WaitGroup
	policy := diff.Policy{HeartbeatPeriod: time.Second}
	f := fleet{policy: policy, eval: reconcile.NewEvaluator(policy), background: running.Go}
	n := snapshot{view: raftfsm.NewState().Freeze(), unplaced: nil}
	first := f.recent(n)
	first.took, first.built = time.Second, time.Now().Add(-25*time.Second) // as if it had been made in a large fleet
	f.mu.Lock()                                                            // a pass is under way
	for range 3 {
		if f.recent(n) != first {
			t.Fatal("it is not the pass that there is")
		}
	}
	f.mu.Unlock()
	running.Wait()
	if second := f.recent(n); second == first || second.built.Before(first.built) {
		t.Error("the pass was not renewed")
	}
	old := f.recent(n)
	old.took, old.built = time.Second, time.Now().Add(-passMaxKeep)
	f.newest.Store(old)
	if f.recent(n) == old {
		t.Errorf("a pass is used that is %v old", passMaxKeep)
	}
}
