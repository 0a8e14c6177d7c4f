// Package actual is the model of what does run: heartbeats, instances, exits, and liveness as a function of
// now. It is pure; actual/feed takes messages off the wire.
package actual

import (
	"fmt"
	"strings"

	"hm/internal/app"
)

// Limits on what one DEA may say. A message beyond them is refused whole.
const (
	MaxIndex     = 1<<16 - 1 // largest instance index
	MaxInstances = 20_000    // instances in one heartbeat
	MaxDEALen    = 256       // bytes in a DEA's id
)

// State is an instance's state as its DEA reports it (N03).
type State uint8

// The instance states. Their numbers are recorded and never change.
const (
	Starting   State = 1
	Running    State = 2
	Crashed    State = 3
	Evacuating State = 4
	Unknown    State = 5 // the DEA's word is one that hm does not know: the instance is there, and may come to serve
	Stopping   State = 6 // STOPPING, STOPPED and the like: the instance is on its way out, or gone
)

// StateOf reads the DEA's word, whatever it is and in whatever case: one that hm does not know is Unknown.
func StateOf(word string) State {
	for _, s := range [...]State{Starting, Running, Crashed, Evacuating, Stopping} {
		if strings.EqualFold(word, s.String()) {
			return s
		}
	}
	if strings.EqualFold(word, "STOPPED") || strings.EqualFold(word, "DELETED") {
		return Stopping
	}
	return Unknown
}

// ParseState reads the word of a state in which a DEA that is as it should be lists an instance (N03).
func ParseState[T string | []byte](s T) (State, error) {
	switch string(s) {
	case "STARTING":
		return Starting, nil
	case "RUNNING":
		return Running, nil
	case "CRASHED":
		return Crashed, nil
	case "EVACUATING":
		return Evacuating, nil
	}
	return 0, fmt.Errorf("state %.40q is none of STARTING, RUNNING, CRASHED, EVACUATING", s)
}

// String gives the DEA's word.
func (s State) String() string {
	switch s {
	case Starting:
		return "STARTING"
	case Running:
		return "RUNNING"
	case Crashed:
		return "CRASHED"
	case Evacuating:
		return "EVACUATING"
	case Unknown:
		return "UNKNOWN"
	case Stopping:
		return "STOPPING"
	}
	return fmt.Sprintf("UNKNOWN(%d)", uint8(s))
}

// Known reports whether s is one of the states.
func (s State) Known() bool { return s >= Starting && s <= Stopping }

// Live reports whether an instance in this state serves or is about to: STARTING or RUNNING.
func (s State) Live() bool { return s == Starting || s == Running }

// AfterExit gives the state of an instance in state s once its exit was heard. What has crashed stays so: an exit is
// final for its guid.
func (s State) AfterExit(r ExitReason) State {
	switch {
	case r == ExitCrashed:
		return Crashed
	case (r == ExitShutdown || r == ExitEvacuation) && (s.Live() || s == Unknown):
		return Evacuating
	}
	return s
}

// Instance is one instance as a heartbeat lists it (N02).
type Instance struct {
	App   app.Key
	GUID  app.GUID
	Index uint32 // 0 to MaxIndex
	State State
	Since int64 // state_timestamp in milliseconds since the epoch, by the DEA's clock; shown, never decided on
}

// Heartbeat is one DEA's full list of its instances (N03).
type Heartbeat struct {
	DEA       string     // the DEA's id, 1 to MaxDEALen printable ASCII bytes; new at each start of the DEA (N33)
	Instances []Instance // in the DEA's order; no guid twice
	Rejected  int        // entries left out because a required field was missing or wrong (W14), or listed twice
	// Unreadable are the instances that left-out entries name: they are there, though nothing else is known of them.
	Unreadable []app.GUID
	// Contradicted are the instances that are listed more than once and not alike. The entry that counts is in Instances.
	Contradicted []app.GUID
	// Unplaced are the left-out entries that name an app, and do not say that they are no instance of it any more.
	Unplaced []Unplaced
	// UnknownStates counts the Instances whose state is none that hm knows: they are Unknown.
	UnknownStates int
	// Untimed counts the Instances without a state_timestamp that can be read: their Since is 0.
	Untimed int
	// Capitals are those of the guids that the DEA writes with capitals: it knows them by no other spelling. Nil if there
	// are none.
	Capitals map[app.GUID]app.Capitals
	// Why says what is wrong with the first entry that is left out, or whose state is not known, for people; else empty.
	Why string
}

// Odd reports whether something in the heartbeat cannot be read that says what runs.
func (h *Heartbeat) Odd() bool { return h.Rejected > 0 || h.UnknownStates > 0 }

// Unplaced is an entry of a heartbeat that names an app, but not both an index and an instance.
type Unplaced struct {
	App  app.Key
	GUID app.GUID // of the instance; zero if it cannot be read
}

// Digest identifies a heartbeat's payload. Equal digests mean equal bytes; the key is the process's own secret, so
// nobody outside can make two payloads of one digest.
type Digest [16]byte

// ExitReason says why an instance went away (N11).
type ExitReason uint8

// The exit reasons. Their numbers are recorded and never change.
const (
	ExitCrashed    ExitReason = 1
	ExitShutdown   ExitReason = 2 // DEA_SHUTDOWN
	ExitEvacuation ExitReason = 3 // DEA_EVACUATION
	ExitStopped    ExitReason = 4
	ExitOther      ExitReason = 5 // any word that hm does not know (R36)
)

// String gives the DEA's word.
func (r ExitReason) String() string {
	switch r {
	case ExitCrashed:
		return "CRASHED"
	case ExitShutdown:
		return "DEA_SHUTDOWN"
	case ExitEvacuation:
		return "DEA_EVACUATION"
	case ExitStopped:
		return "STOPPED"
	}
	return "OTHER"
}

// Ends reports whether an instance that went away for this reason is to be replaced where it is wanted: it crashed, or its
// DEA shuts down or evacuates.
func (r ExitReason) Ends() bool { return r == ExitCrashed || r == ExitShutdown || r == ExitEvacuation }

// Exit is a droplet.exited message (N10).
type Exit struct {
	App      app.Key
	Instance app.GUID
	Index    uint32
	Reason   ExitReason
}

// ValidDEA reports whether s may be a DEA's id: 1 to MaxDEALen printable ASCII bytes.
func ValidDEA[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > MaxDEALen {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
