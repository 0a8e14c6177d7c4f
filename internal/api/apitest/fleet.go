package apitest

import (
	"fmt"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// The apps of Fleet, by what is wrong with them.
var (
	Steady  = Key(1, 1)
	Gappy   = Key(2, 1)
	Crashy  = Key(3, 1)
	Extra   = Key(4, 1)
	Double  = Key(5, 1)
	Gone    = Key(6, 1)
	Leaving = Key(7, 1)
	Staging = Key(8, 1)
	Moved   = Key(9, 1) // version 2 of it is desired
)

// Key names an app by number.
func Key(droplet, version int) app.Key {
	return app.Key{Droplet: guid('a', droplet), Version: guid('b', version)}
}

func guid(letter byte, n int) app.GUID {
	return app.MustGUID(fmt.Sprintf("%c%07d-0000-4000-8000-%012d", letter, n, n))
}

// Instance makes one. Its guid is number n.
func Instance(k app.Key, n int, index uint32, s actual.State) actual.Instance {
	return actual.Instance{App: k, GUID: guid('c', n), Index: index, State: s, Since: int64(Start) - 86_400_000}
}

// WithUnreadable returns a Fleet in which parts of the heartbeats cannot be read.
func WithUnreadable() *Node {
	n := Fleet()
	n.Must(n.At, raftfsm.DEAChanges{DEA: "1-dea-two", Upserts: []actual.Instance{Instance(Steady, 15, 1, actual.Unknown)}})
	n.Troubles = map[string]reconcile.Trouble{
		"1-dea-one": {Messages: 34, MessagesSince: n.At.Add(-340 * time.Second), Why: "message is malformed: not JSON: invalid character 'N' looking for beginning of value"},
		"1-dea-two": {Entries: 2, Unplaced: 1, UnknownStates: 1, Since: n.At.Add(-20 * time.Second), Why: `index of an entry is "0"`, Doubled: n.At.Add(-90 * time.Second)},
	}
	n.UnplacedSince = map[app.Key][]app.Time{Gappy: {n.At.Add(-20 * time.Second)}}
	n.Over.Unreadable = reconcile.Unreadable{DEAs: 2, Entries: 2, Unplaced: 1, UnknownStates: 1, Messages: 34, Doubled: []string{"1-dea-two"}, DoubledIDs: 1}
	return n
}

// Fleet returns a node with nine apps on two DEAs, a third DEA that is gone, and every kind of drift, a minute after
// the first entry.
func Fleet() *Node {
	n := New()
	n.Desire(Start, staged(Steady, 2), staged(Gappy, 3), staged(Crashy, 2), staged(Extra, 1), staged(Double, 1), staged(Leaving, 1),
		desired.App{Key: Staging, Instances: 1, State: desired.Started, Package: desired.Pending},
		staged(Key(9, 2), 1))
	n.Must(Start.Add(time.Second),
		raftfsm.DEAChanges{DEA: "1-dea-one", Upserts: []actual.Instance{
			Instance(Steady, 1, 0, actual.Running), Instance(Gappy, 2, 0, actual.Running), Instance(Crashy, 3, 0, actual.Running),
			Instance(Crashy, 4, 1, actual.Crashed), Instance(Extra, 5, 0, actual.Running), Instance(Double, 6, 0, actual.Running),
			Instance(Leaving, 7, 0, actual.Evacuating), Instance(Moved, 8, 0, actual.Running),
		}},
		raftfsm.DEAChanges{DEA: "1-dea-two", Upserts: []actual.Instance{
			Instance(Steady, 9, 1, actual.Running), Instance(Gappy, 10, 1, actual.Starting), Instance(Extra, 11, 1, actual.Running),
			Instance(Double, 12, 0, actual.Running), Instance(Gone, 13, 0, actual.Running),
		}},
		raftfsm.DEAChanges{DEA: "2-dea-three", Upserts: []actual.Instance{Instance(Gappy, 14, 2, actual.Running)}},
	)
	n.Must(Start.Add(20*time.Second), raftfsm.DEAsGone{DEAs: []string{"2-dea-three"}})

	confirmed := command(commands.Command{Action: commands.Start, App: Steady, Index: 1, Reason: commands.ReasonMissing, Priority: 0.5, DueAt: Start.Add(30 * time.Second)}, Start.Add(21*time.Second))
	missing := command(commands.Command{Action: commands.Start, App: Gappy, Index: 2, Reason: commands.ReasonMissing, Priority: 1. / 3, DueAt: Start.Add(65 * time.Second)}, Start.Add(21*time.Second))
	crashed := command(commands.Command{
		Action: commands.Start, App: Crashy, Index: 1, Reason: commands.ReasonCrashed, Priority: 0.5, DueAt: Start.Add(118 * time.Second),
		CrashCount: 4, Crashed: guid('c', 4),
	}, Start.Add(21*time.Second))
	stop := command(commands.Command{Action: commands.Stop, App: Gone, Instance: guid('c', 13), Reason: commands.ReasonExtra, DueAt: Start.Add(21 * time.Second)}, Start.Add(21*time.Second))
	n.Must(Start.Add(21*time.Second), raftfsm.CommandsScheduled{Commands: []commands.Command{confirmed, missing, crashed, stop}})
	view := n.View()
	n.Must(Start.Add(50*time.Second), raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{
		{ID: stop.ID, Term: 7, Basis: view.Basis(stop.App, stop.Index)}, {ID: confirmed.ID, Term: 7, Basis: view.Basis(confirmed.App, confirmed.Index)},
	}})
	n.Must(Start.Add(51*time.Second), raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{
		{ID: stop.ID, State: commands.Sent}, {ID: confirmed.ID, State: commands.Sent},
	}})
	n.Must(Start.Add(60*time.Second), raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{
		{ID: confirmed.ID, State: commands.Confirmed, Detail: "an instance is live at the index"},
	}})
	n.HeardAt["1-dea-one"], n.HeardAt["1-dea-two"] = Start.Add(55*time.Second), Start.Add(58*time.Second)
	n.Over.Reads = diff.Reads{Began: Start.Add(40 * time.Second)}
	return n
}

// Desire records one complete read.
func (n *Node) Desire(at app.Time, apps ...desired.App) {
	before := n.View().DesiredMeta().Generation
	n.Must(at, raftfsm.DesiredChanges{Generation: before + 1, Upserts: apps},
		raftfsm.DesiredCommit{Generation: before + 1, Base: before, Parts: 1, Source: "bulk http://cc.internal"})
}

func staged(k app.Key, instances uint32) desired.App {
	return desired.App{Key: k, Instances: instances, State: desired.Started, Package: desired.Staged}
}

func command(c commands.Command, at app.Time) commands.Command {
	c.State, c.CreatedAt = commands.Pending, at
	c.ID = commands.NewID(c)
	return c
}

// Calm returns a node with everything as desired.
func Calm() *Node {
	n := New()
	n.Desire(Start, staged(Steady, 2))
	n.Must(Start.Add(time.Second), raftfsm.DEAChanges{DEA: "1-dea-one", Upserts: []actual.Instance{
		Instance(Steady, 1, 0, actual.Running), Instance(Steady, 2, 1, actual.Running),
	}})
	return n
}
