// Package commands is the model of the start and stop commands that hm sends to the Cloud Controller (not of the
// commands of the CLI): what they ask for and why, their ids, states, order and rate limit. It is pure. diff decides
// which commands are needed; commands/natspub sends them.
package commands

import (
	"fmt"

	"hm/internal/app"
)

// State is the state of a command.
type State uint8

// The states. Their numbers are recorded and never change. A command is outstanding while it is Pending, Claimed or
// Sent. The others are outcomes: a command with an outcome is no longer recorded.
const (
	Pending   State = 1 // scheduled, and not claimed yet
	Claimed   State = 2 // a leader has recorded that it will publish it, once
	Sent      State = 3 // published
	Confirmed State = 4 // its effect was heard
	Expired   State = 5 // sent, and its effect was not heard within the grace
	Dropped   State = 6 // not needed any more before it was sent
	Abandoned State = 7 // claimed, and not published within the claim lease
)

var stateWords = [...]string{"", "pending", "claimed", "sent", "confirmed", "expired", "dropped", "abandoned"}

// String gives the state's word in JSON.
func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return fmt.Sprintf("unknown(%d)", uint8(s))
}

// Outstanding reports whether a command in state s is outstanding.
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

	// CrashCount and Crashed become part of the crash record of the index when a start with ReasonCrashed is scheduled.
	CrashCount uint32
	Crashed    app.GUID

	Tries uint32 // of a start: how many starts before it were sent and had no effect
}

// IsDuplicate is the field is_duplicate of a stop message: a Cloud Controller carries out such a stop without a check
// of its own (N27, R53).
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

// Compare compares commands by app, index, action and instance: the order of the record and of lists.
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
