package replay

import (
	"cmp"
	"errors"
	"slices"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// Pace is called when everything at one instant is done, before the clock moves to next. It delays the replay for as
// long as it runs. At the very end, where the clock moves no further, it is called once more, with that time as next.
// An error ends the replay; ErrStop ends it without an error.
//
// snapshot returns the state at this instant. It must not be called after Pace has returned. It changes nothing: a
// replay with snapshots has the same result as one without. It looks at every instance, so the caller must bound how
// often it is called.
type Pace func(next app.Time, snapshot func() Snapshot) error

// ErrStop is what Pace returns to end a replay at the present instant, without the clock running on. Run then returns
// the result up to there.
var ErrStop = errors.New("the replay was stopped")

// Snapshot is the state at one instant of a replay: what a daemon's API would show.
type Snapshot struct {
	Overview      reconcile.Overview // At is the instant
	LeaderChanges int
	Index         uint64 // entries applied
	Counts        raftfsm.Counts
	Desired       raftfsm.DesiredMeta

	Drift [diff.NumKinds]int // findings, by kind
	Due   int                // of these, those that are acted on now

	// The commands that changed last, the newest first: the outstanding ones, and those that have ended. At most
	// snapshotCommands each.
	Outstanding []commands.Command
	Ended       []raftfsm.EndedCommand
}

// snapshotCommands is how many outstanding and how many ended commands a snapshot has: more than fit a screen.
const snapshotCommands = 100

func (p *player) snapshot() Snapshot {
	view := p.View()
	s := Snapshot{
		Overview: p.core.Overview(p.now, p.leading()), LeaderChanges: p.leaderChanges, Index: p.index,
		Counts: view.Counts(), Desired: view.DesiredMeta(),
		Outstanding: newest(view, snapshotCommands), Ended: p.journal.Newest(snapshotCommands),
	}
	p.eval.Fleet(view, p.core.Knowledge(p.now), p.now, func(e *reconcile.Evaluation) bool {
		for f := range e.Drift() {
			s.Drift[f.Kind]++
			if f.Bucket == diff.ToStart || f.Bucket == diff.ToStop {
				s.Due++
			}
		}
		return true
	})
	return s
}

// newest returns the n outstanding commands that changed last, the newest first.
func newest(view *raftfsm.State, n int) []commands.Command {
	later := func(a, b commands.Command) int {
		return cmp.Or(-cmp.Compare(max(a.CreatedAt, a.SentAt), max(b.CreatedAt, b.SentAt)), a.Compare(b))
	}
	list := make([]commands.Command, 0, n+1)
	for c := range view.AllCommands() {
		if len(list) == n && later(c, list[n-1]) >= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(list, c, later)
		list = slices.Insert(list, at, c)
		list = list[:min(len(list), n)]
	}
	return list
}
