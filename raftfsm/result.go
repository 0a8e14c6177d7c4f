package raftfsm

import (
	"errors"

	"hm/commands"
	"hm/internal/app"
)

// Why a record, or one command of it, was refused. Refusal.Err wraps one of these.
var (
	ErrInvalid        = errors.New("invalid")                                         // beyond a limit, or not well formed
	ErrGeneration     = errors.New("generation is not newer than what is recorded")   // of a desired read
	ErrOutdated       = errors.New("what is recorded has changed since")              // of a desired commit
	ErrIncomplete     = errors.New("not every part of the generation is staged")      // of a desired commit
	ErrOutstanding    = errors.New("a command for the same target is outstanding")    // schedule
	ErrNotOutstanding = errors.New("no such command is outstanding")                  // claim
	ErrNotPending     = errors.New("the command is not pending")                      // claim
	ErrNotClaimed     = errors.New("the command is not claimed")                      // sent
	ErrTerm           = errors.New("the claim is of another term")                    // claim
	ErrHeld           = errors.New("a hold is set")                                   // claim
	ErrBasis          = errors.New("what the claim was decided on has changed")       // claim
	ErrNotGone        = errors.New("the DEA is not gone")                             // forget
	ErrNoHold         = errors.New("no such hold is set")                             // release
	ErrTime           = errors.New("the entry's time is outside what hm time may be") // whole entry: Result.Err
)

// Result is what applying one entry came to. It is the same on every node.
type Result struct {
	Touched []app.Key          // apps of which anything recorded changed: desired, instances, crashes, commands. No duplicates
	Refused []Refusal          // in the order of the records
	Sent    []commands.Command // that became Sent
	Ended   []EndedCommand     // commands that are no longer outstanding, for the journal
	Err     error              // the entry as a whole was refused
}

// Refusal is one record, or one command of a record, that was refused and changed nothing.
type Refusal struct {
	Record int         // position in Entry.Records
	ID     commands.ID // zero if the whole record was refused
	Err    error
}

// EndedCommand is a command that left the record. Its State is the outcome.
type EndedCommand struct {
	commands.Command
	Detail string
	At     app.Time
}
