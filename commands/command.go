// Package commands is the model of the start and stop commands that hm sends to the Cloud Controller (not of the
// commands of the CLI): what they ask for and why, their ids, states, order and rate limit. It is pure. diff decides
// which commands are needed; commands/natspub sends them.
package commands

import (
	"fmt"

	"hm/internal/app"
)

// State is how far a command has come.
type State uint8

// The states. Their numbers are recorded and never change. A command is outstanding while Pending, Claimed or
// Sent; the others are outcomes, after which it is no longer part of the recorded state.
const (
	Pending   State = 1 // scheduled, waits until it is due
	Claimed   State = 2 // a leader has committed to publish it, once
	Sent      State = 3 // published
	Confirmed State = 4 // its effect was heard
	Expired   State = 5 // sent, and no effect was heard within the grace
	Dropped   State = 6 // no longer needed before it was sent
	Abandoned State = 7 // claimed, but the leader could not publish it within the claim lease
)

var stateWords = [...]string{"", "pending", "claimed", "sent", "confirmed", "expired", "dropped", "abandoned"}

// String gives the state's word in JSON.
func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return fmt.Sprintf("unknown(%d)", uint8(s))
}

// Outstanding reports whether a command in this state still bears on decisions.
func (s State) Outstanding() bool { return s == Pending || s == Claimed || s == Sent }

// Command is one start or stop.
type Command struct {
	ID       ID
	Action   Action
	App      app.Key
	Index    uint32
	Instance app.GUID // the instance to stop; zero for a start
	Reason   Reason
	Priority float64 // of a start: 0 to 1, the share of the app that is missing; 2 for an evacuation
	State    State

	CreatedAt app.Time // when it was scheduled
	DueAt     app.Time
	ClaimedAt app.Time // 0 until claimed
	SentAt    app.Time // 0 until published
	Term      uint64   // the Raft term in which it was claimed

	// CrashCount and Crashed go into the index's crash record when a start with ReasonCrashed is scheduled.
	CrashCount uint32
	Crashed    app.GUID

	Tries uint32 // of a start: how many before it were sent and had no effect
}

// IsDuplicate is the is_duplicate flag of a stop on the wire: a Cloud Controller honours such a stop without a
// check of its own (N27, R53).
func (c Command) IsDuplicate() bool {
	return c.Reason == ReasonDuplicate || c.Reason == ReasonEvacuationComplete
}

// Outstanding gives the part of c that decisions depend on.
func (c Command) Outstanding() Outstanding {
	o := Outstanding{ID: c.ID, Action: c.Action, Index: c.Index, Instance: c.Instance, Reason: c.Reason, MadeAt: c.CreatedAt, DueAt: c.DueAt, Crashed: c.Crashed, Tries: c.Tries}
	if c.State != Pending {
		o.SentAt = c.ClaimedAt
	}
	return o
}

// Outstanding is the part of a command that decisions depend on.
type Outstanding struct {
	ID       ID
	Action   Action
	Index    uint32
	Instance app.GUID // of a stop
	Reason   Reason
	MadeAt   app.Time // when it was scheduled
	DueAt    app.Time
	SentAt   app.Time // when it was claimed for sending; 0 while it is pending
	Crashed  app.GUID // of a crash restart: the crashed instance it was scheduled for
	Tries    uint32   // of a start: how many were sent before it without effect
}

// Compare orders commands by app, index, action and instance: the order of the record and of listings.
func (c Command) Compare(o Command) int {
	if n := c.App.Compare(o.App); n != 0 {
		return n
	}
	switch {
	case c.Index != o.Index:
		return int(c.Index) - int(o.Index)
	case c.Action != o.Action:
		return int(c.Action) - int(o.Action)
	}
	return c.Instance.Compare(o.Instance)
}
