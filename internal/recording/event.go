package recording

import (
	"errors"
	"fmt"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// Format is the number of the recording format. This version writes and reads only this one.
const Format = 1

// Limits on a recording. A line that exceeds one is refused.
const (
	MaxLine = 16 << 20       // bytes of a line
	MaxGap  = 24 * time.Hour // between two events: a replay moves its clock through it step by step

	maxApps  = 5_000_000 // in one read of the desired state
	maxState = 512 << 20 // bytes of a state's snapshot; 1,000,000 instances take 40 MiB
)

// Type is the type of an event.
type Type uint8

// The types of events.
const (
	TypeNATS    Type = 1 // a message was received
	TypeDesired Type = 2 // a read of the desired state ended
	TypeLink    Type = 3 // the NATS link went down, is up again, or lost messages
	TypeLeader  Type = 4 // another node leads, or none does
	TypeState   Type = 5 // what was recorded when the recording began
	TypeHold    Type = 6 // a person set or released a hold
)

// typeNames are the types as lines have them.
var typeNames = map[string]Type{
	"nats": TypeNATS, "desired": TypeDesired, "link": TypeLink,
	"leader": TypeLeader, "state": TypeState, "hold": TypeHold,
}

// Event is something that happened. Type says which of the other fields have a meaning.
type Event struct {
	At   time.Time
	Type Type

	// TypeNATS. Data is the payload as it was received; the next call of Reader.Next overwrites it. Repeat, in place of
	// Data, is the id of a DEA whose newest dea.heartbeat was received again, byte for byte.
	Subject string
	Data    []byte
	Repeat  string

	// TypeDesired. Read is empty if the read failed or is unchanged.
	OnlyApp   app.GUID // the read was of this app alone
	Read      desired.Read
	Began     time.Time // when the read was begun
	Failed    string    // why the read failed; empty if it did not
	Unchanged bool      // the read equals the newest complete one of the recording

	// TypeLink
	Up  bool
	Gap bool // the link was up all the time, and messages were lost

	// TypeLeader
	Leaderless bool // no node leads, until another event says that one does

	// TypeState: a snapshot as raftfsm.State.WriteSnapshot writes it
	State []byte

	// TypeHold. If it was released, only the name of Hold counts.
	Hold     raftfsm.Hold
	Released bool

	// CarriedOver says that nothing new happened: a later part of a recording begins with what the part before it ended
	// with, such as the newest read, the state, or that no node leads.
	CarriedOver bool

	line []byte // of a heartbeat whose payload has not been checked: Data may be invalid JSON
}

// ReadError returns why a read of the desired state failed, nil if it did not.
func (e *Event) ReadError() error {
	if e.Failed == "" {
		return nil
	}
	return errors.New(e.Failed)
}

// Error is an error in a recording, with its position.
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
