package cluster

import (
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"

	"hm/actual"
)

// What is asked of a peer in one message. More goes out in several, one behind the other.
const (
	maxAsked      = 1024     // DEAs
	maxAskedBytes = 16 << 10 // of their ids
)

// Ears is what one voter says of DEAs that it was asked about.
type PeerHearing struct {
	ID     string
	Counts bool            // it should hear every DEA at this moment
	Ago    []time.Duration // for how long it has not heard each of the DEAs; negative if too long to tell, or always
}

// HearingFunc tells for how long this node has not heard each of the DEAs, negative if too long to tell, and whether it
// should hear every DEA at this moment. It must be quick.
type HearingFunc func(deas []string) (ago []time.Duration, counts bool)

// AnswerPeers has peers that ask be answered by fn. Until then, what this node says does not count.
func (n *Node) AnswerPeers(fn HearingFunc) { n.peerStatus.answerHearing.Store(&fn) }

// AskPeers begins to ask every other voter of which there was word within a second for how long it has not heard each of
// the DEAs. It does not wait, and what was asked before is forgotten. deas must not be changed afterwards.
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
		if h, ok := ps.latest[id]; v.ID == raft.ServerID(n.opts.ID) || !ok || now.Sub(h.at) > staleAfter {
			continue
		}
		if t := ps.senders[id]; t != nil {
			q.of[id] = &PeerHearing{ID: id}
			t.urgent.Notify()
		}
	}
}

// Ears are the answers to the newest question that are complete; all says that no more are awaited: what is left are
// voters of which there has been no word for a second.
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
		case now.Sub(ps.latest[id].at) <= staleAfter: // else it died after it was asked, most likely
			all = false
		}
	}
	return answers, all
}

// hearingQuestion is one question and what has been answered. The gossip's mutex guards it; a complete answer stays as it is.
type hearingQuestion struct {
	deas []string
	of   map[string]*PeerHearing
}

// hearingPart is the part of a question that goes out in one message; the zero value asks nothing.
type hearingPart struct {
	q    *hearingQuestion
	deas [][]byte
}

// nextHearingPart is what a peer is to be asked next.
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

// takeHearing takes a peer's answer to a part of a question. ps.mu must be held.
func (ps *peerStatus) takeHearing(id string, part hearingPart, r *hearingReply) error {
	if len(part.deas) == 0 || part.q != ps.hearing {
		return nil
	}
	e := part.q.of[id]
	if r == nil { // a peer of before there were such questions
		e.Counts, e.Ago = false, make([]time.Duration, len(part.q.deas))
		return nil
	}
	if len(r.Ago) != len(part.deas) {
		return fmt.Errorf("%s was asked about %d DEAs and answers for %d", id, len(part.deas), len(r.Ago))
	}
	e.Counts = r.Counts && (e.Counts || len(e.Ago) == 0)
	for _, ms := range r.Ago {
		e.Ago = append(e.Ago, time.Duration(ms)*time.Millisecond)
	}
	if len(e.Ago) < len(part.q.deas) {
		if t := ps.senders[id]; t != nil {
			t.urgent.Notify()
		}
	}
	return nil
}

// hearingReply answers a question about DEAs.
type hearingReply struct {
	Counts bool    `json:"counts,omitempty"`
	Ago    []int64 `json:"ago"` // milliseconds; negative: too long to tell
}

// hearingReplyTo answers a peer's question.
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

// check looks at an answer as it came.
func (r *hearingReply) check() error {
	if r == nil {
		return nil
	}
	if len(r.Ago) > maxAsked {
		return fmt.Errorf("it answers for %d DEAs, at most %d are allowed", len(r.Ago), maxAsked)
	}
	for _, ms := range r.Ago {
		if ms < -1 || ms > math.MaxInt32 {
			return fmt.Errorf("ago is %d: -1 to %d is its range", ms, math.MaxInt32)
		}
	}
	return nil
}

// checkHearingQuestion looks at a question as it came.
func checkHearingQuestion(deas [][]byte) error {
	if len(deas) > maxAsked {
		return fmt.Errorf("it urgent about %d DEAs, at most %d are allowed", len(deas), maxAsked)
	}
	bytes := 0
	for _, dea := range deas {
		if !actual.ValidDEA(dea) {
			return fmt.Errorf("it urgent about %.40q, which is no DEA's id", dea)
		}
		bytes += len(dea)
	}
	if bytes > maxAskedBytes {
		return fmt.Errorf("the DEAs that it urgent about take %d bytes, at most %d are allowed", bytes, maxAskedBytes)
	}
	return nil
}
