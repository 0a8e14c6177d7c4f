package recording

import (
	"errors"
	"fmt"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// Format is the number of the recording format that this version writes and the only one that it reads.
const Format = 1

// Limits on a recording. What exceeds one is refused with file and line.
const (
	MaxLine = 16 << 20       // bytes of a line
	MaxGap  = 24 * time.Hour // between two events: the clock runs through it step by step
	maxApps = 5_000_000      // in one read of the desired state

	maxState = 512 << 20 // bytes of a state's snapshot; 1,000,000 instances take 40 MiB
)

// Type says what a line tells.
type Type uint8

// The types of lines behind the header.
const (
	TypeNATS    Type = 1 // a message was heard
	TypeDesired Type = 2 // an attempt to read the desired state ended
	TypeLink    Type = 3 // NATS was lost, is back, or lost messages
	TypeLeader  Type = 4 // another node leads, or none does
	TypeState   Type = 5 // what was recorded when the recording began
	TypeHold    Type = 6 // a person set or released a hold
)

var typeWords = map[string]Type{
	"nats": TypeNATS, "desired": TypeDesired, "link": TypeLink, "leader": TypeLeader, "state": TypeState, "hold": TypeHold,
}

// Event is one thing that happened. Which fields count depends on Type.
type Event struct {
	At   time.Time
	Type Type

	Subject string // of TypeNATS
	Data    []byte // of TypeNATS: the payload as it was heard. A Reader's next call overwrites it
	// Repeat, in place of Data, is the DEA that said again what it had said last: byte for byte its last dea.heartbeat.
	Repeat string

	OnlyApp   app.GUID     // of TypeDesired: the read was of this app alone, and Read holds nothing else
	Read      desired.Read // of TypeDesired
	Began     time.Time    // when the read was begun
	Failed    string       // the read failed, and why; Read is empty then
	Unchanged bool         // the read equals the last complete one of the recording; Read is empty then
	// CarriedOver: nothing of its own. A later part of a recording repeats what the part before ended with: the newest read, that
	// no node leads, the state.
	CarriedOver bool

	Up  bool // of TypeLink
	Gap bool // of TypeLink: it was up all along, and messages were lost

	Leaderless bool // of TypeLeader: no node leads, until another line says that one does

	State []byte // of TypeState: a snapshot, as raftfsm.State.WriteSnapshot writes it

	Hold     raftfsm.Hold // of TypeHold
	Released bool         // of TypeHold: it was released, and of Hold only the name counts

	line []byte // of a heartbeat that was only looked at from outside: Data is not known to be JSON
}

// ReadError is why a read of the desired state failed, nil if it did not.
func (e *Event) ReadError() error {
	if e.Failed == "" {
		return nil
	}
	return errors.New(e.Failed)
}

// Error says what is wrong with a recording, and where.
type Error struct {
	File string
	Line int // from 1; 0 if it is not about a line
	Err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
