package raftfsm

import (
	"cmp"

	"github.com/tidwall/btree"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// State is the recorded state: the desired apps, the instances, the outstanding commands, the crash records and the
// holds. Only Apply changes it. A State is for one goroutine; a copy made by Freeze may be read by many.
type State struct {
	index, term uint64
	now         app.Time
	rev         uint64      // revision of the newest entry: its index, or more if the state was restored from a longer log
	births      uint64      // DEA records that were ever made: see deaRec.born
	meta        DesiredMeta // its Apps and Instances stay 0: they are in counts
	counts      Counts
	sum         sum
	frozen      bool
	future      futureState

	apps    appTable
	lookup  dropletIndex
	deas    pages[*deaRec] // by slot; nil when a slot is free
	names   *btree.BTreeG[deaName]
	cmds    *btree.BTreeG[orderedCommand]
	byID    *btree.BTreeG[commandID]
	crashes *btree.BTreeG[orderedCrash]
	marks   *btree.BTreeG[markRec]
	cases   *btree.BTreeG[appLetterCase]
	holds   []Hold           // sorted by name; replaced, never changed in place
	staged  []DesiredChanges // only appended to, or dropped as a whole
	cluster clusterRec
	scratch *scratch // nil in a frozen state
}

type deaName struct {
	id  string
	num uint32
}

// orderedCommand is a command, which never changes in place, and the order of its droplet. Most comparisons of two commands
// need only that, and do not follow the pointers.
type orderedCommand struct {
	order uint64 // app.GUID.Order
	c     *commands.Command
}

func orderCommand(c *commands.Command) orderedCommand {
	return orderedCommand{c.App.Droplet.Order(), c}
}

func (a orderedCommand) compare(b orderedCommand) int {
	if n := cmp.Compare(a.order, b.order); n != 0 {
		return n
	}
	return a.c.Compare(*b.c)
}

type commandID struct {
	id commands.ID
	c  *commands.Command
}

type crashRec struct {
	key app.Key
	actual.Crash
}

// orderedCrash is a crash record, which never changes in place, and the order of its droplet, as in orderedCommand.
type orderedCrash struct {
	order uint64
	c     *crashRec
}

func orderCrash(c *crashRec) orderedCrash { return orderedCrash{c.key.Droplet.Order(), c} }

func (a orderedCrash) compare(b orderedCrash) int {
	if n := cmp.Compare(a.order, b.order); n != 0 {
		return n
	}
	if n := a.c.key.Compare(b.c.key); n != 0 {
		return n
	}
	return cmp.Compare(a.c.Index, b.c.Index)
}

// tree makes a tree whose frozen copies may be read while it is changed. It needs no locks: only Apply writes, and a
// write copies every node that a frozen copy can see.
func tree[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

// NewState returns the empty state that every log starts from.
func NewState() *State {
	return &State{
		apps:    newAppTable(),
		names:   tree(func(a, b deaName) bool { return a.id < b.id }),
		cmds:    tree(func(a, b orderedCommand) bool { return a.compare(b) < 0 }),
		byID:    tree(func(a, b commandID) bool { return string(a.id[:]) < string(b.id[:]) }),
		crashes: tree(func(a, b orderedCrash) bool { return a.compare(b) < 0 }),
		marks:   tree(func(a, b markRec) bool { return a.less(&b) }),
		cases:   tree(func(a, b appLetterCase) bool { return a.app < b.app }),
		scratch: &scratch{},
	}
}

// Freeze returns a copy of the state that no later Apply changes. It takes microseconds, whatever the size of the
// state: a later Apply first copies the small pieces that it changes. Many goroutines may read the copy.
func (s *State) Freeze() *State {
	if s.frozen {
		return s
	}
	c := *s
	c.frozen = true
	c.scratch = nil
	c.apps, c.lookup, c.deas = s.apps.freeze(), s.lookup.freeze(), s.deas.freeze()
	c.names, c.cmds, c.byID = s.names.Copy(), s.cmds.Copy(), s.byID.Copy()
	c.crashes, c.marks, c.cases = s.crashes.Copy(), s.marks.Copy(), s.cases.Copy()
	return &c
}

// Index is the Raft index of the newest applied entry.
func (s *State) Index() uint64 { return s.index }

// Term is the Raft term of the newest applied entry.
func (s *State) Term() uint64 { return s.term }

// Time is the hm time of the newest applied entry.
func (s *State) Time() app.Time { return s.now }
