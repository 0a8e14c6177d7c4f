package cluster

import (
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"

	"hm/actual"
)

// Limits of the question in one message. A longer question is asked in several messages, one after the other.
const (
	maxAsked      = 1024     // DEAs
	maxAskedBytes = 16 << 10 // of their ids
)

// PeerHearing is what one voter answers about the DEAs that it was asked about.
type PeerHearing struct {
	ID     string          // of the voter
	Counts bool            // the voter's link is up: its answer counts
	Ago    []time.Duration // how long ago it heard each DEA; negative if never, or too long ago to tell
}

// HearingFunc says how long ago this node heard each of the DEAs, negative if never or too long ago to tell, and
// whether this node can hear every DEA now. It must be quick.
type HearingFunc func(deas []string) (ago []time.Duration, counts bool)

// AnswerPeers makes fn answer the questions of peers about DEAs. Until then this node's answers do not count.
func (n *Node) AnswerPeers(fn HearingFunc) { n.peerStatus.answerHearing.Store(&fn) }

// AskPeers asks every other voter that sent a message within the last second how long ago it heard each of the DEAs. It
// does not wait: PeerAnswers gives the answers. A new question replaces the one before. The caller must not change deas
// afterwards.
func (n *Node) AskPeers(deas []string) {
	ps := n.peerStatus
	q := &hearingQuestion{deas: deas, of: map[string]*PeerHearing{}}
	voters := n.voters()
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.hearing = q
	if len(deas) == 0 {
		return
	}
	for _, v := range voters {
		id := string(v.ID)
		if m, ok := ps.latest[id]; v.ID == raft.ServerID(n.opts.ID) || !ok || now.Sub(m.at) > staleAfter {
			continue
		}
		if s := ps.senders[id]; s != nil {
			q.of[id] = &PeerHearing{ID: id}
			s.urgent.Notify()
		}
	}
}

// PeerAnswers gives the complete answers to the newest question. all says that no further answer is expected: the
// voters that have not answered have sent no message for a second.
func (n *Node) PeerAnswers() (answers []PeerHearing, all bool) {
	ps := n.peerStatus
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.hearing == nil {
		return nil, true
	}
	all = true
	now := time.Now()
	for id, e := range ps.hearing.of {
		switch {
		case len(e.Ago) == len(ps.hearing.deas):
			answers = append(answers, *e)
		case now.Sub(ps.latest[id].at) <= staleAfter: // else it most likely died after it was asked
			all = false
		}
	}
	return answers, all
}

// hearingQuestion is one question with its answers so far. peerStatus.mu guards it. A complete answer does not change.
type hearingQuestion struct {
	deas []string
	of   map[string]*PeerHearing // by the voters that are asked
}

// hearingPart is the part of a question that one message carries; the zero value asks nothing.
type hearingPart struct {
	q    *hearingQuestion
	deas [][]byte
}

// nextHearingPart is what a peer is asked next.
func (ps *peerStatus) nextHearingPart(id string) hearingPart {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	q := ps.hearing
	if q == nil || q.of[id] == nil {
		return hearingPart{}
	}
	part := hearingPart{q: q}
	bytes := 0
	for _, dea := range q.deas[len(q.of[id].Ago):] {
		if bytes += len(dea); len(part.deas) == maxAsked || bytes > maxAskedBytes {
			break
		}
		part.deas = append(part.deas, []byte(dea))
	}
	return part
}

// takeHearing takes a peer's answer to a part of a question. The caller holds ps.mu.
func (ps *peerStatus) takeHearing(id string, part hearingPart, r *hearingReply) error {
	if len(part.deas) == 0 || part.q != ps.hearing {
		return nil
	}
	e := part.q.of[id]
	if r == nil { // the peer's version does not know such questions
		e.Counts, e.Ago = false, make([]time.Duration, len(part.q.deas))
		return nil
	}
	if len(r.Ago) != len(part.deas) {
		return fmt.Errorf("%s was asked about %d DEAs and answered for %d", id, len(part.deas), len(r.Ago))
	}
	e.Counts = r.Counts && (e.Counts || len(e.Ago) == 0)
	for _, ms := range r.Ago {
		e.Ago = append(e.Ago, time.Duration(ms)*time.Millisecond)
	}
	if len(e.Ago) < len(part.q.deas) {
		if s := ps.senders[id]; s != nil {
			s.urgent.Notify()
		}
	}
	return nil
}

// hearingReply answers a question about DEAs.
type hearingReply struct {
	Counts bool    `json:"counts,omitempty"`
	Ago    []int64 `json:"ago"` // milliseconds; negative: never, or too long ago to tell
}

// hearingReplyTo answers a peer's question; nil if it asked none.
func (ps *peerStatus) hearingReplyTo(deas [][]byte) *hearingReply {
	fn := ps.answerHearing.Load()
	if len(deas) == 0 {
		return nil
	}
	r := &hearingReply{Ago: make([]int64, len(deas))}
	for i := range r.Ago {
		r.Ago[i] = -1
	}
	if fn == nil {
		return r
	}
	ids := make([]string, len(deas))
	for i, dea := range deas {
		ids[i] = string(dea)
	}
	var ago []time.Duration
	ago, r.Counts = (*fn)(ids)
	for i := range min(len(ago), len(r.Ago)) {
		if ago[i] >= 0 {
			r.Ago[i] = min(ago[i].Milliseconds(), math.MaxInt32)
		}
	}
	return r
}

// check refuses an answer that is out of range.
func (r *hearingReply) check() error {
	if r == nil {
		return nil
	}
	if len(r.Ago) > maxAsked {
		return fmt.Errorf("it answers for %d DEAs, at most %d are allowed", len(r.Ago), maxAsked)
	}
	for _, ms := range r.Ago {
		if ms < -1 || ms > math.MaxInt32 {
			return fmt.Errorf("ago is %d, it must be between -1 and %d", ms, math.MaxInt32)
		}
	}
	return nil
}

// checkHearingQuestion refuses a question that is out of range.
func checkHearingQuestion(deas [][]byte) error {
	if len(deas) > maxAsked {
		return fmt.Errorf("it asks about %d DEAs, at most %d are allowed", len(deas), maxAsked)
	}
	bytes := 0
	for _, dea := range deas {
		if !actual.ValidDEA(dea) {
			return fmt.Errorf("it asks about %.40q, which is not a valid DEA id", dea)
		}
		bytes += len(dea)
	}
	if bytes > maxAskedBytes {
		return fmt.Errorf("the DEAs that it asks about take %d bytes, at most %d are allowed", bytes, maxAskedBytes)
	}
	return nil
}
