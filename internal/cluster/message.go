package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"hm/internal/app"
	"hm/internal/config/limits"
	"hm/raftfsm"
)

// message is a node's status as it sends it to a peer, in one frame. The receiver answers with a reply. Both are JSON:
// a node ignores fields that it does not know, and a field that the peer's version does not know is zero.
type message struct {
	From  string `json:"from"`
	State string `json:"state"` // leader, follower or candidate
	Term  uint64 `json:"term"`
	Blank bool   `json:"blank,omitempty"` // its log holds nothing but the first entry; see joining
	// Joining says that the sender may have forgotten a term; see joining.
	Joining bool        `json:"joining,omitempty"`
	Disk    string      `json:"disk,omitempty"`  // the problem of its disk; empty if there is none
	Last    logPosition `json:"last,omitzero"`   // how far its log reaches; see peerPositions
	Known   logPosition `json:"known,omitzero"`  // how far the receiver's log reached, as the sender remembers it
	Info    *PeerInfo   `json:"info,omitempty"`  // nil until SetInfo was called
	Time    app.Time    `json:"time,omitempty"`  // hm time of the sender; 0: its version is older than this field
	Clock   uint64      `json:"clock,omitempty"` // the term of the leader whose hm time that is; 0: not known, see clock
	// ClockTold is up to when that leader's entries are known to have been stamped by a clock like the sender's; 0: the
	// sender's version is older than this field, or Clock is 0.
	ClockTold app.Time `json:"clock_told,omitempty"`
	Fault     *Fault   `json:"fault,omitempty"` // nil if there is none
	// Members are the members as the sender's log names them. It tells them to a member that may not know
	// them.
	Members []server `json:"members,omitempty"`
	// Voters marks who the voters are in the sender's log; empty if it names nobody.
	Voters     string `json:"voters,omitempty"`
	Configured string `json:"configured,omitempty"` // how its raft.peers differs from the members; empty if it does not
	// States are the sender's states after some of its newest entries, hashed as HashVersion says.
	States      []stateClaim `json:"states,omitempty"`
	HashVersion uint32       `json:"hash_version,omitempty"`
	// Silent are DEAs that the sender does not hear. The receiver's reply says whether it does.
	Silent [][]byte `json:"silent,omitempty"`

	futureMessage
}

// reply answers a message. It shows the sender that the link works, long before TCP would notice that it does not, and
// a leader who follows it. A reply that refuses the message ends the connection.
type reply struct {
	Refused  string `json:"refused,omitempty"`  // why the message was refused; then only Stranger counts besides
	Stranger bool   `json:"stranger,omitempty"` // the receiver does not know the sender as a member
	Follows  bool   `json:"follows,omitempty"`  // the receiver follows the sender in its term
	Term     uint64 `json:"term"`               // the receiver's
	From     string `json:"from,omitempty"`     // the receiver; empty if its version is older than this field
	// Members are the ids of the members that a receiver knows which does not know the sender, with commas in between.
	Members string `json:"members,omitempty"`
	// Hearing answers Silent; nil if the message had none, or if the receiver's version is older than the question.
	Hearing *hearingReply `json:"ears,omitempty"`
}

const (
	maxText   = 1 << 10 // bytes of one text
	maxNumber = 1 << 53 // of an index or a term: a million a second for 285 years
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
	if len(out.Refused) > maxText || out.Term > maxNumber || len(out.Members) > maxPeers*(limits.MaxNodeID+1) {
		return reply{}, errors.New("a peer's reply: a text or a number is out of range")
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

// decodeMessage reads a message's JSON and refuses what is out of range. It ignores unknown fields.
func decodeMessage(body []byte) (message, error) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return message{}, fmt.Errorf("a peer's message: %w", err)
	}
	if max(m.Term, m.Clock) > maxNumber {
		return message{}, fmt.Errorf("a peer's message: term is %d and clock %d, they must be between 0 and %d",
			m.Term, m.Clock, int64(maxNumber))
	}
	if m.Time < 0 || m.Time > raftfsm.MaxTime {
		return message{}, fmt.Errorf("a peer's message: time is %d, it must be between 0 and %d", m.Time, raftfsm.MaxTime)
	}
	if m.ClockTold < 0 || m.ClockTold > raftfsm.MaxTime {
		return message{}, fmt.Errorf("a peer's message: clock_told is %d, it must be between 0 and %d", m.ClockTold, raftfsm.MaxTime)
	}
	if err := limits.NodeID(m.From); err != nil {
		return message{}, fmt.Errorf("a peer's message: from %w", err)
	}
	switch m.State {
	case stateLeader, stateFollower, stateCandidate:
	default:
		return message{}, fmt.Errorf("a peer's message: state %.40q is none of leader, follower, candidate", m.State)
	}
	if len(m.Disk) > maxText || len(m.Configured) > maxText || len(m.Voters) > maxText {
		return message{}, fmt.Errorf("a peer's message: a text is longer than %d bytes", maxText)
	}
	if err := checkServers(m.Members); err != nil {
		return message{}, fmt.Errorf("a peer's message: members: %w", err)
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
			{"snapshot_format", int64(i.SnapshotFormat), maxKinds},
			{"desired_read_began", int64(i.DesiredReadBegan), int64(raftfsm.MaxTime)}, {"desired_read_ended", int64(i.DesiredReadEnded), int64(raftfsm.MaxTime)},
			{"desired_read_apps", int64(i.DesiredReadApps), math.MaxInt32}, {"hears", int64(i.HeardDEAs), math.MaxInt32},
			{"nats_proved_ms", int64(i.NATSProved), maxAgo}, {"handed_over_ms", int64(i.HandedOver), maxAgo},
			{"handing_over_ms", int64(i.HandingOver), maxAgo},
		} {
			if n.value < 0 || n.value > n.most {
				return message{}, fmt.Errorf("a peer's message: %s is %d, it must be between 0 and %d",
					n.name, n.value, n.most)
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
