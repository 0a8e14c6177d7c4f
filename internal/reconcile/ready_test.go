package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// TestReadyKeepsTheOrder: commands come in the order of commands.Sort, each once, however they are
// added and taken.
func TestReadyKeepsTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const period = 10 * time.Second
		s := raftfsm.NewState()
		var scheduled raftfsm.CommandsScheduled
		for i := range rapid.IntRange(1, 40).Draw(t, "commands") {
			c := commands.Command{
				Action: commands.Start, App: testKey(i/4, 1), Index: uint32(i % 4), Reason: commands.ReasonMissing, State: commands.Pending,
				Priority: float64(rapid.IntRange(0, 2).Draw(t, "priority")), DueAt: app.Time(rapid.IntRange(0, 40_000).Draw(t, "due")),
			}
			if rapid.Bool().Draw(t, "stop") {
				c.Action, c.Reason, c.Instance = commands.Stop, commands.ReasonExtra, app.MustGUID(fmt.Sprint("i", i))
			}
			c.ID = commands.NewID(c)
			scheduled.Commands = append(scheduled.Commands, c)
		}
		s.Apply(1, 1, raftfsm.Entry{At: 1, Records: []raftfsm.Record{scheduled}})
		view := s.Freeze()
		all := slices.Collect(view.AllCommands())
		r := ready{apps: map[commands.ID]app.Key{}}
		var waiting []commands.Command // what should be in r
		for len(all) > 0 || len(waiting) > 0 {
			n := rapid.IntRange(0, len(all)).Draw(t, "added")
			for _, c := range all[:n] {
				r.add(c.ID, c.App)
				r.add(c.ID, c.App) // it was there already
			}
			waiting, all = append(waiting, all[:n]...), all[n:]
			commands.Sort(waiting, period)
			if ended := r.update(view, period); len(ended) > 0 {
				t.Fatalf("%d commands are taken for ended", len(ended))
			}
			if len(r.apps) != len(waiting) {
				t.Fatalf("%d commands are ready, want %d", len(r.apps), len(waiting))
			}
			var got, want []commands.Command
			for action := range r.due {
				want = append(want, slices.Collect(func(yield func(commands.Command) bool) {
					for _, c := range waiting {
						if int(c.Action-commands.Start) == action && !yield(c) {
							return
						}
					}
				})...)
				stop := rapid.IntRange(0, 10).Draw(t, "stop after")
				r.visit(action, func(c commands.Command) visited {
					if stop--; stop < 0 {
						return visitedEnds
					}
					got = append(got, c)
					if rapid.IntRange(0, 3).Draw(t, "keep") == 0 {
						return visitedStays
					}
					waiting = slices.DeleteFunc(waiting, func(o commands.Command) bool { return o.ID == c.ID })
					return visitedLeaves
				})
			}
			at := 0
			for _, c := range got { // got is a subsequence of want
				for want[at].ID != c.ID {
					if at++; at == len(want) {
						t.Fatalf("command %x came out of order", c.ID)
					}
				}
			}
		}
		if r.due[0] != nil || r.due[1] != nil {
			t.Fatal("memory is kept for commands that have left")
		}
	})
}

func TestReadyDropsWhatIsNotPending(t *testing.T) {
	r := ready{apps: map[commands.ID]app.Key{}}
	r.add(commands.ID{1}, testKey(3, 1))
	if ended := r.update(raftfsm.NewState().Freeze(), time.Second); len(ended) != 1 || ended[0] != testKey(3, 1) || len(r.apps) != 0 {
		t.Errorf("ended %v, ready %d", ended, len(r.apps))
	}
}
