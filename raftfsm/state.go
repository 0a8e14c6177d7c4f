package raftfsm

import (
	"cmp"

	"github.com/tidwall/btree"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// State is the recorded state: what is desired, what runs, what was asked for and what is held. Only Apply changes
// it. A State is for one goroutine; what Freeze gives may be read by any number.
type State struct {
	index, term uint64
	now         app.Time
	rev         uint64 // of the newest entry: its index, or more if a snapshot of another log was ahead of this one
	births      uint64
	meta        DesiredMeta // Apps and Instances are in counts
	counts      Counts
	sum         sum
	frozen      bool

	apps    pages[appRec]
	lookup  dropletIndex
	deas    pages[*deaRec] // by slot; nil when a slot is free
	names   *btree.BTreeG[deaName]
	cmds    *btree.BTreeG[*commands.Command] // the commands never change in place
	byID    *btree.BTreeG[commandID]
	crashes *btree.BTreeG[*crashRec] // nor do the crash records
	marks   *btree.BTreeG[markRec]   // nor do the crash marks
	holds   []Hold                   // sorted; replaced, never changed in place
	staged  []DesiredChanges         // only ever appended to, or dropped
	scratch *scratch                 // nil in a frozen state
}

// appRec is what is recorded of one app.
type appRec struct {
	key       app.Key
	rev       uint64
	grewAt    app.Time
	held      holders
	desired   uint32 // instances wanted by the desired row
	instances uint32 // instance records
	crashes   uint32 // crash records, crash marks and crashed instances: while there is none, nothing needs to look for them
	run       desired.RunState
	pkg       desired.PackageState
	has       bool  // there is a desired row
	few       uint8 // for held
}

// used reports whether the record is in use.
func (a *appRec) used() bool { return !a.key.Droplet.IsZero() }

// deas gives the slots of the DEAs that hold instances of the app, in any order. It is good until the app changes.
func (a *appRec) deas() []uint32 { return a.held.list(a.few) }

func (a *appRec) row() desired.App {
	if !a.has {
		return desired.App{}
	}
	return desired.App{Key: a.key, Instances: a.desired, State: a.run, Package: a.pkg}
}

type deaName struct {
	id  string
	num uint32
}

type commandID struct {
	id commands.ID
	c  *commands.Command
}

type crashRec struct {
	key app.Key
	actual.Crash
}

func compareCrash(a, b *crashRec) int {
	return cmp.Or(a.key.Compare(b.key), cmp.Compare(a.Index, b.Index))
}

// tree makes a tree whose frozen copies may be read while it is changed: without locks, since only Apply writes,
// and writing copies every node that a frozen copy can see.
func tree[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

// NewState gives the empty state that every log starts from.
func NewState() *State {
	return &State{
		names:   tree(func(a, b deaName) bool { return a.id < b.id }),
		cmds:    tree(func(a, b *commands.Command) bool { return a.Compare(*b) < 0 }),
		byID:    tree(func(a, b commandID) bool { return string(a.id[:]) < string(b.id[:]) }),
		crashes: tree(func(a, b *crashRec) bool { return compareCrash(a, b) < 0 }),
		marks:   tree(func(a, b markRec) bool { return compareMark(&a, &b) < 0 }),
		scratch: &scratch{},
	}
}

// Freeze gives a view of the state as it is now, which no later Apply changes. It takes microseconds, whatever the
// size of the state; what is changed afterwards is copied first, in small pieces. Any goroutines may read the view.
func (s *State) Freeze() *State {
	if s.frozen {
		return s
	}
	c := *s
	c.frozen = true
	c.scratch = nil
	c.apps, c.lookup, c.deas = s.apps.freeze(), s.lookup.freeze(), s.deas.freeze()
	c.names, c.cmds, c.byID, c.crashes, c.marks = s.names.Copy(), s.cmds.Copy(), s.byID.Copy(), s.crashes.Copy(), s.marks.Copy()
	return &c
}

// Index is the Raft index of the newest applied entry.
func (s *State) Index() uint64 { return s.index }

// Term is the Raft term of the newest applied entry.
func (s *State) Term() uint64 { return s.term }

// Time is the hm time of the newest applied entry.
func (s *State) Time() app.Time { return s.now }
