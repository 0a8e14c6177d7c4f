package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"hm/internal/config/limits"
	"hm/raftfsm"
)

// message is what a node tells a peer, one frame at a time. The receiver answers each with a reply. Both are JSON:
// a field that a newer peer sends is passed over, and one that an older peer does not send is zero.
type message struct {
	From  string      `json:"from"`
	State string      `json:"state"` // leader, follower or candidate
	Term  uint64      `json:"term"`
	Blank bool        `json:"blank,omitempty"` // its log holds nothing but the first entry; see joining
	Disk  string      `json:"disk,omitempty"`  // why its disk takes nothing in; empty if it does
	Last  logPosition `json:"last,omitzero"`   // how far its log reaches; see memory
	Known logPosition `json:"known,omitzero"`  // how far the receiver's log reached, as the sender remembers it
	Info  *PeerInfo   `json:"info,omitempty"`  // nil until SetInfo was called
	Fault *Fault      `json:"fault,omitempty"` // nil: there is none
	// States are what the sender's state was after some of the newest entries, as hashed in HashVersion.
	States      []stateClaim `json:"states,omitempty"`
	HashVersion uint32       `json:"hash_version,omitempty"`
	// Silent are DEAs that the sender does not hear. It asks whether the receiver does.
	Silent [][]byte `json:"silent,omitempty"`
}

// reply answers a message. By it the sender notices a dead link at once and not when TCP does, and a leader whom it
// leads. A reply that refuses the message ends the connection.
type reply struct {
	Refused  string `json:"refused,omitempty"`  // why the message was not taken in; nothing else counts then, save Stranger
	Stranger bool   `json:"stranger,omitempty"` // the sender is no member, as the receiver knows them
	Follows  bool   `json:"follows,omitempty"`  // the receiver follows the sender in its term
	Term     uint64 `json:"term"`               // the receiver's
	From     string `json:"from,omitempty"`     // the receiver; empty from one of an earlier version
	// Ears answers what was asked about silent DEAs; nil if nothing was, and from a peer of before there were such questions.
	Hearing *hearingReply `json:"ears,omitempty"`
}

const (
	maxText   = 1 << 10
	maxNumber = 1 << 53 // more than any index or term comes to: a million a second for 285 years
	maxKinds  = 1 << 20
)

func writeReply(w io.Writer, r reply) error { return writeFrame(w, r) }

func readReply(r io.Reader) (reply, error) {
	body, err := readFrame(r)
	if err != nil {
		return reply{}, fmt.Errorf("no reply: %w", err)
	}
	var out reply
	if err := json.Unmarshal(body, &out); err != nil {
		return reply{}, fmt.Errorf("a peer's reply: %w", err)
	}
	if len(out.Refused) > maxText || out.Term > maxNumber {
		return reply{}, errors.New("a peer's reply: a text or a number is out of its range")
	}
	if err := out.Hearing.check(); err != nil {
		return reply{}, fmt.Errorf("a peer's reply: %w", err)
	}
	return out, nil
}

func writeMessage(w io.Writer, m message) error { return writeFrame(w, m) }

func readMessage(r io.Reader) (message, error) {
	body, err := readFrame(r)
	if err != nil {
		return message{}, err
	}
	return decodeMessage(body)
}

// decodeMessage reads a message's JSON. Unknown fields are a newer peer's and are passed over.
func decodeMessage(body []byte) (message, error) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return message{}, fmt.Errorf("a peer's message: %w", err)
	}
	if m.Term > maxNumber {
		return message{}, fmt.Errorf("a peer's message: term is %d: 0 to %d is its range", m.Term, int64(maxNumber))
	}
	if err := limits.NodeID(m.From); err != nil {
		return message{}, fmt.Errorf("a peer's message: from %w", err)
	}
	switch m.State {
	case stateLeader, stateFollower, stateCandidate:
	default:
		return message{}, fmt.Errorf("a peer's message: state %.40q is none of leader, follower, candidate", m.State)
	}
	if len(m.Disk) > maxText {
		return message{}, fmt.Errorf("a peer's message: a text is longer than %d bytes", maxText)
	}
	if i := m.Info; i != nil {
		if len(i.API) > maxText || len(i.Version) > maxText || len(i.Gate) > maxText || len(i.DesiredReadError) > maxText || len(i.NATSRefused) > maxText {
			return message{}, fmt.Errorf("a peer's message: a text is longer than %d bytes", maxText)
		}
		if i.API != "" {
			if _, _, err := limits.HostPort(i.API); err != nil {
				return message{}, fmt.Errorf("a peer's message: api %q %w", i.API, err)
			}
		}
		for _, n := range []struct {
			name        string
			value, most int64
		}{
			{"applied", int64(min(i.AppliedIndex, math.MaxInt64)), maxNumber}, {"kinds", int64(i.Kinds), maxKinds},
			{"desired_read_began", int64(i.DesiredReadBegan), int64(raftfsm.MaxTime)}, {"desired_read_ended", int64(i.DesiredReadEnded), int64(raftfsm.MaxTime)},
			{"desired_read_apps", int64(i.DesiredReadApps), math.MaxInt32}, {"hears", int64(i.HeardDEAs), math.MaxInt32},
		} {
			if n.value < 0 || n.value > n.most {
				return message{}, fmt.Errorf("a peer's message: %s is %d: 0 to %d is its range", n.name, n.value, n.most)
			}
		}
	}
	if f := m.Fault; f != nil && len(f.Kind)+len(f.Detail) > maxText {
		return message{}, fmt.Errorf("a peer's message: a text is longer than %d bytes", maxText)
	}
	if _, err := checkClaims(m.States); err != nil {
		return message{}, fmt.Errorf("a peer's message: %w", err)
	}
	if err := checkHearingQuestion(m.Silent); err != nil {
		return message{}, fmt.Errorf("a peer's message: %w", err)
	}
	return m, nil
}
