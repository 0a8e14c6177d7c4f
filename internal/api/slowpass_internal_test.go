package api

import (
	"sync"
	"testing"
	"time"

	"hm/actual"
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

// TestNobodyWaitsForAPassWithoutEnd: a fleet of which no desired state is read yet is large by its instances, and a pass may
// take half a minute. An answer then has the numbers of the pass before, and their age.
func TestNobodyWaitsForAPassWithoutEnd(t *testing.T) {
	state := raftfsm.NewState()
	heard := raftfsm.DEAChanges{DEA: "dea-1"}
	for i := range 8 {
		heard.Upserts = append(heard.Upserts, actual.Instance{
			App:  app.Key{Droplet: app.FromBinary([16]byte{1, byte(i)}, 'h'), Version: app.FromBinary([16]byte{2}, 'h')},
			GUID: app.FromBinary([16]byte{3, byte(i)}, 'h'), State: actual.Running,
		})
	}
	entry := func(index uint64, r raftfsm.Record) {
		state.Apply(index, 1, raftfsm.Entry{At: app.Time(1000 * index), Records: []raftfsm.Record{r}})
	}
	at := func(index uint64) snapshot {
		return snapshot{view: state.Freeze(), hm: app.Time(1000 * index), unplaced: func() map[app.Key][]app.Time { return nil }}
	}
	entry(1, heard)
	before := at(1)
	heard.Upserts = heard.Upserts[:4]
	entry(2, heard)
	after := at(8)

	var running sync.WaitGroup
	policy := diff.Policy{HeartbeatPeriod: time.Second}
	f := fleet{policy: policy, eval: reconcile.NewEvaluator(policy), background: running.Go, small: 2}
	first := f.recent(before)
	if got := first.counts(before); got.AgeMS != 0 || got.Undesired != 8 {
		t.Errorf("of the same record: %+v", got)
	}
	f.mu.Lock() // a pass is under way
	first.built = time.Now().Add(-10 * passTooOld)
	given := func() *pass {
		p := make(chan *pass, 1)
		go func() { p <- f.recent(after) }()
		select {
		case given := <-p:
			return given
		case <-time.After(time.Minute):
			f.mu.Unlock()
			t.Fatal("an answer waits for the pass that is under way")
			return nil
		}
	}
	began := time.Now()
	if given() != first {
		t.Fatal("the pass before is not given")
	}
	if took := time.Since(began); took < longWait {
		t.Errorf("a pass that is too old is given after %s", took)
	}
	if f.began = f.began.Add(-longWait); given() != first {
		t.Error("the pass before is not given to one who comes later")
	}
	if got := first.counts(after); got.AgeMS != 7000 {
		t.Errorf("of an older record: %+v", got)
	}
	f.mu.Unlock()
	running.Wait()
	if got := f.recent(after).counts(after); got.AgeMS != 0 {
		t.Errorf("of the same record again: %+v", got)
	}
}
