package raftfsm

import (
	"errors"

	"hm/commands"
	"hm/internal/app"
)

// Reasons to refuse a record, or one command in a record. Refusal.Err wraps one of these.
var (
	ErrInvalid        = errors.New("invalid")                                                      // malformed, or beyond a limit
	ErrGeneration     = errors.New("the generation is not newer than the recorded one")            // of a desired read
	ErrOutdated       = errors.New("the recorded desired state has changed since the read began")  // of a desired commit
	ErrIncomplete     = errors.New("not every part of the generation is staged")                   // of a desired commit
	ErrOutstanding    = errors.New("a command for the same target is outstanding")                 // schedule
	ErrNotOutstanding = errors.New("no such command is outstanding")                               // claim
	ErrNotPending     = errors.New("the command is not pending")                                   // claim
	ErrNotClaimed     = errors.New("the command is not claimed")                                   // sent
	ErrTerm           = errors.New("the claim belongs to another Raft term")                       // claim
	ErrHeld           = errors.New("a hold is set")                                                // claim
	ErrBasis          = errors.New("the app or the index has changed since the claim was decided") // claim
	ErrNotGone        = errors.New("the DEA is not recorded as gone")                              // forget
	ErrNamed          = errors.New("the cluster has an id already")                                // name the cluster
	ErrNoHold         = errors.New("no such hold is set")                                          // release
	ErrTime           = errors.New("the entry's time is outside the range of hm time")             // whole entry: Result.Err
)

// Result says what applying one entry did. It is the same on every node.
type Result struct {
	Touched []app.Key          // apps whose desired row, instances, crashes or commands changed; no duplicates
	Refused []Refusal          // in the order of the records
	Sent    []commands.Command // commands that became Sent
	Ended   []EndedCommand     // commands that are no longer outstanding, for the journal
	Facts   []Fact             // for the history
	At      app.Time           // hm time of the entry: State.Time
	Err     error              // why the whole entry was refused
}

// Refusal is one record, or one command in a record, that was refused.
type Refusal struct {
	Record int         // position in Entry.Records
	ID     commands.ID // zero if the whole record was refused
	Err    error
}

// EndedCommand is a command that is no longer recorded. Its State is the outcome.
type EndedCommand struct {
	commands.Command
	Detail string
	At     app.Time
}
