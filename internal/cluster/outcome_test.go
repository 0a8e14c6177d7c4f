package cluster

import (
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"hm/raftfsm"
)

// TestAnswersAreEmptied holds that what raft keeps of the answer to an entry, until the next entry comes, is empty once
// its proposal has it: the answer to a complete read lists every app.
func TestAnswersAreEmptied(t *testing.T) {
	t.Parallel()
	f := &answersFSM{}
	c := startCluster(t, 1, func(_ int, o *Options) {
		o.wrapFSM = func(inner raft.FSM) raft.FSM { f.FSM = inner; return f }
	})
	results, err := c.leader().Propose(t.Context(), dea(1))
	if err != nil || len(results) != 1 || len(results[0].Facts) == 0 {
		t.Fatalf("%+v, %v", results, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.answers {
		if r := a.(*raftfsm.Result); len(r.Touched)+len(r.Facts)+len(r.Ended)+len(r.Refused) > 0 {
			t.Errorf("raft still has %+v", *r)
		}
	}
	if len(f.answers) == 0 {
		t.Error("no entry was applied, so nothing was checked")
	}
}

// answersFSM notes the answers that it gives to raft.
type answersFSM struct {
	raft.FSM
	mu      sync.Mutex
	answers []any
}

func (f *answersFSM) Apply(l *raft.Log) any {
	a := f.FSM.Apply(l)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers = append(f.answers, a)
	return a
}
