// Package actual is the model of what does run: heartbeats, instances, exits and crashes, and which DEAs are alive at a
// given time. It is pure; actual/feed decodes messages.
package actual

import (
	"fmt"
	"strings"

	"hm/internal/app"
)

// Limits on one message of a DEA. A message beyond them is refused as a whole.
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
	Unknown    State = 5 // a state that hm does not know: the instance is there, and may serve later
	Stopping   State = 6 // STOPPING, STOPPED and DELETED: the instance is on its way out, or gone
)

// StateOf reads any word of a DEA for a state, in any case. A word that hm does not know is Unknown.
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

// ParseState reads one of the four states that a DEA of Cloud Foundry writes (N03).
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

// AfterExit gives the state of an instance that was in state s, after its exit was heard. A crashed instance stays
// crashed.
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
	Since int64 // state_timestamp in milliseconds since the epoch, by the DEA's clock; only shown
}

// Heartbeat is a DEA's list of all its instances (N03).
type Heartbeat struct {
	DEA       string     // the DEA's id, 1 to MaxDEALen printable ASCII bytes; a new one at each start of the DEA (N33)
	Instances []Instance // in the DEA's order; no guid twice
	Rejected  int        // entries left out: a required field was missing or wrong (W14), or the instance was listed twice
	// Unreadable are the instances that left-out entries name. They exist, but nothing else is known of them.
	Unreadable []app.GUID
	// Contradicted are the instances that are listed more than once, with different fields. Instances has the entry
	// that counts.
	Contradicted []app.GUID
	// Unplaced are the left-out entries that name an app, unless their state says that they are on their way out.
	Unplaced []Unplaced
	// UnknownStates counts the Instances in a state that hm does not know: they are Unknown.
	UnknownStates int
	// Untimed counts the Instances without a readable state_timestamp: their Since is 0.
	Untimed int
	// LetterCases has the guids that the DEA writes with capital letters; it does not recognise another spelling. Nil
	// if there are none.
	LetterCases map[app.GUID]app.LetterCase
	// Why says, for people, what is wrong with the first entry that is left out or in an unknown state; empty if none
	// is.
	Why string
}

// HasUnreadable reports whether an entry was left out or is in an unknown state.
func (h *Heartbeat) HasUnreadable() bool { return h.Rejected > 0 || h.UnknownStates > 0 }

// Unplaced is an entry of a heartbeat that names an app, and lacks a readable index or a readable instance.
type Unplaced struct {
	App  app.Key
	GUID app.GUID // of the instance; zero if it cannot be read
}

// Digest identifies the payload of a heartbeat. Equal digests mean equal bytes: the key of the digest is a secret of
// the process, so nobody outside can make two payloads with one digest.
type Digest [16]byte

// ExitReason says why an instance exited (N11).
type ExitReason uint8

// The exit reasons. Their numbers are recorded and never change.
const (
	ExitCrashed    ExitReason = 1
	ExitShutdown   ExitReason = 2 // DEA_SHUTDOWN
	ExitEvacuation ExitReason = 3 // DEA_EVACUATION
	ExitStopped    ExitReason = 4
	ExitOther      ExitReason = 5 // a reason that hm does not know (R36)
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

// Ends reports whether an instance that exited for this reason must be replaced if it is wanted: it crashed, or its DEA
// shuts down or evacuates.
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
