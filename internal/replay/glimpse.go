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

// Pace is called when all that there is to do at a moment is done, before the clock moves to next. It may take its
// time: that holds the replay back. At the very end, where the clock moves no further, it is called once more, with
// that time as next. An error ends the replay; ErrStop ends it in good order.
//
// look tells how things stand before the clock moves. It must not be called after Pace has returned, and changes
// nothing: a replay that is looked at has the result of one that is not. It looks at every instance, so how often is
// for the caller to bound.
type Pace func(next app.Time, look func() Glimpse) error

// ErrStop is what Pace returns to end a replay at the present moment, without the clock running on. Run then sums up
// what there was until then.
var ErrStop = errors.New("the replay was stopped")

// Glimpse is how things stand at one moment of a replay: what a daemon's API would tell.
type Glimpse struct {
	Overview reconcile.Overview // At is the moment
	Leaders  int                // times that another node took the lead
	Index    uint64             // entries applied
	Counts   raftfsm.Counts
	Desired  raftfsm.DesiredMeta

	Drift [diff.KindUndesired + 1]int // findings, by kind
	Due   int                         // of these, those that are acted on now

	// The commands to which something happened last, the newest first: those that are outstanding, and those that have
	// ended. At most glimpseCommands each.
	Outstanding []commands.Command
	Ended       []raftfsm.EndedCommand
}

// glimpseCommands is how many commands a glimpse shows of each sort: more than fit a screen.
const glimpseCommands = 100

// glimpse looks at the present moment.
func (p *player) glimpse() Glimpse {
	view := p.View()
	g := Glimpse{
		Overview: p.core.Overview(p.now, p.leading()), Leaders: p.leaders, Index: p.index, Counts: view.Counts(), Desired: view.DesiredMeta(),
		Outstanding: newest(view, glimpseCommands), Ended: p.journal.Newest(glimpseCommands),
	}
	p.eval.Fleet(view, p.core.Knowledge(p.now), p.now, func(e *reconcile.Evaluation) bool {
		for f := range e.Drift() {
			g.Drift[f.Kind]++
			if f.Bucket == diff.ToStart || f.Bucket == diff.ToStop {
				g.Due++
			}
		}
		return true
	})
	return g
}

// newest gives the n outstanding commands to which something happened last, the newest first.
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
