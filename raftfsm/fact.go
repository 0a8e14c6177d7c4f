package raftfsm

import (
	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// Fact is one thing that an entry changed, for the history. Facts follow from the entry and the state before it, so
// they are the same on every node. They are in the order in which Apply came to them. Nobody may change them.
type Fact interface{ fact() }

// CommandFact is a command that was scheduled, claimed or sent: its State says which.
type CommandFact struct{ *commands.Command }

// EndedFact is a command that is no longer outstanding.
type EndedFact struct{ *EndedCommand }

// CrashFact is an instance that crashed. There is one for each crash, whether an exit or a heartbeat tells of it, or
// both.
type CrashFact struct {
	App      app.Key
	Index    uint32
	Instance app.GUID
	DEA      string // empty if no DEA listed the instance
	Exit     bool   // droplet.exited tells of it
}

// DEAFact is a change of a DEA as a whole.
type DEAFact struct {
	DEA        string
	Change     DEAChange
	Instances  int      // that it lists, or had when it was lost
	Live       int      // of these; only when it was lost
	Evacuating int      // of these; only when it evacuates
	Since      app.Time // when it was lost, if it is back
}

// DEAChange says what happened to a DEA.
type DEAChange uint8

// The changes of a DEA.
const (
	DEAHeard      DEAChange = 1 // for the first time
	DEABack       DEAChange = 2 // it was gone
	DEALost       DEAChange = 3 // it is gone
	DEAForgotten  DEAChange = 4 // its record was removed
	DEAEvacuating DEAChange = 5 // some of its instances began to leave, and none did before
)

// ReadFact is a read of the desired state that changed something.
type ReadFact struct {
	Source                  string
	Added, Changed, Removed int // rows of droplets
	Apps, Instances         int // by how much what is wanted grew
}

// HoldFact is a hold that was set, or released.
type HoldFact struct {
	Hold     Hold
	Released bool
}

// NoteFact is a note of the leader.
type NoteFact struct{ Note }

func (CommandFact) fact() {}
func (EndedFact) fact()   {}
func (CrashFact) fact()   {}
func (DEAFact) fact()     {}
func (ReadFact) fact()    {}
func (HoldFact) fact()    {}
func (NoteFact) fact()    {}

func (a *applier) fact(f Fact) { a.res.Facts = append(a.res.Facts, f) }

// crashKnown reports whether the crash of an instance was recorded before.
func (s *State) crashKnown(h Handle, index uint32, g app.GUID) bool {
	for _, num := range s.apps.deas(h) {
		d := *s.deas.get(num)
		lo, hi := d.of(h)
		if i := d.locate(g, lo, hi); i >= 0 && d.inst[i].state == actual.Crashed {
			return true
		}
	}
	c, _ := s.crash(s.apps.key(h), index)
	return c.Instance == g || c.Exited == g || s.markOf(h, index, g) != actual.CrashNew
}

// live counts the DEA's live instances.
func (d *deaRec) live() (n int) {
	for i := range d.inst {
		if d.inst[i].state.Live() {
			n++
		}
	}
	return n
}

// evacuates reports whether an instance of the DEA is evacuating.
func (d *deaRec) evacuates() bool {
	for i := range d.inst {
		if d.inst[i].state == actual.Evacuating {
			return true
		}
	}
	return false
}
