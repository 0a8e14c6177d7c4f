package raftfsm

import (
	"fmt"
	"slices"

	"hm/commands"
	"hm/internal/app"
)

// Restoration says how the state of a snapshot takes the place of a cluster's record.
type Restoration struct {
	Index, Term uint64 // that the snapshot gets in the cluster's log; Index is beyond everything in it
	// Present is the cluster's record, frozen. The cluster keeps its id, its holds and its time: hm time never goes back.
	Present *State
	At      app.Time // hm time
	// Hold keeps the gate shut until what was heard and read since is known (I5).
	Hold Hold
}

// TakeOver makes the state of a snapshot that of the cluster. Commands of the snapshot are dropped: nobody knows what
// became of them, and none may be sent again (I2).
func (s *State) TakeOver(r Restoration) error {
	if r.Index <= max(s.index, r.Present.Index()) {
		return fmt.Errorf("%w: the restored state has the index %d, and the log or the snapshot reaches %d",
			ErrInvalid, r.Index, max(s.index, r.Present.Index()))
	}
	c := clusterRec{id: r.Present.cluster.id, restores: r.Present.cluster.restores + 1}
	at := max(r.At, r.Present.Time())
	s.dropStaged()
	records := make([]Record, 0, 3+len(r.Present.holds))
	var dropped CommandsResolved
	for cmd := range s.AllCommands() {
		dropped.Outcomes = append(dropped.Outcomes, Outcome{ID: cmd.ID, State: commands.Dropped, Detail: "a snapshot was restored"})
	}
	records = append(records, dropped)
	holds := slices.Concat(r.Present.holds, []Hold{r.Hold})
	for _, h := range s.holds { // at worst the present ones do not fit beside those of the snapshot
		if len(s.holds)+len(holds) > MaxHolds {
			records = append(records, HoldReleased{Name: h.Name})
		}
	}
	for _, h := range holds {
		records = append(records, HoldSet{Hold: h})
	}
	res := s.Apply(r.Index, r.Term, Entry{At: at, Records: records})
	if res.Err != nil {
		return res.Err
	}
	for _, refused := range res.Refused {
		return fmt.Errorf("taking over the state of a snapshot: %w", refused.Err)
	}
	c.restoredAt = s.now
	s.setCluster(c)
	return nil
}
