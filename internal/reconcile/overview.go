package reconcile

import (
	"time"

	"hm/diff"
	"hm/internal/app"
)

// Overview is what one node knows beyond the recorded state, at one moment. The caller must not
// change its slices.
type Overview struct {
	At app.Time // when it was taken, in hm time
	// Suspended is for how long this node's machine had been suspended in total at the last step.
	Suspended time.Duration
	Lead      Lead

	GateOpen    bool
	GateReasons []string // empty if the gate is open
	GateSince   app.Time // since when it has been open, or closed

	LinkUp    bool
	LinkSince app.Time // since when the link has been up without a gap, or down

	ActualFresh  bool
	DesiredFresh bool
	Reads        diff.Reads // of the desired state, as this node knows from its own reads or from its peers
	ReadError    string     // of the newest attempt, if it failed
	Queue        int        // apps that wait to be evaluated
	Drain        *Drain     // what became of what waited when the gate opened; nil: all of it is settled
	Backlog      int        // DEAs whose newest heartbeat is not recorded yet
	Missed       int        // DEAs that a peer hears and this node, leading, does not
	// MissedDEAs are those DEAs, by id. Nobody changes it.
	MissedDEAs map[string]app.Time
	Unreadable Unreadable // what this node cannot read of the DEAs' messages

	StartsLimited bool // due starts wait, because policy.start_limit allows no more now
	StopsLimited  bool // due stops wait, because policy.stop_limit or a hold allows no more now
}

// Knowledge gives the part of the overview that decisions depend on.
func (o Overview) Knowledge() Knowledge { return Knowledge{Reads: o.Reads, Held: o.GateReasons} }
