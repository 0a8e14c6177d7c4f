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
type Ears struct {
	ID     string
	Counts bool            // it should hear every DEA at this moment
	Ago    []time.Duration // for how long it has not heard each of the DEAs; negative if too long to tell, or always
}

// HearsFunc tells for how long this node has not heard each of the DEAs, negative if too long to tell, and whether it
// should hear every DEA at this moment. It must be quick.
type HearsFunc func(deas []string) (ago []time.Duration, counts bool)

// AnswerEars has peers that ask be answered by fn. Until then, what this node says does not count.
func (n *Node) AnswerEars(fn HearsFunc) { n.gossip.hears.Store(&fn) }

// AskEars begins to ask every other voter of which there was word within a second for how long it has not heard each of
// the DEAs. It does not wait, and what was asked before is forgotten. deas must not be changed afterwards.
func (n *Node) AskEars(deas []string) {
	g := n.gossip
	q := &earsQuestion{deas: deas, of: map[string]*Ears{}}
	voters := n.voters()
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ears = q
	if len(deas) == 0 {
		return
	}
	for _, v := range voters {
		id := string(v.ID)
		if h, ok := g.heard[id]; v.ID == raft.ServerID(n.opts.ID) || !ok || now.Sub(h.at) > staleAfter {
			continue
		}
		if t := g.tells[id]; t != nil {
			q.of[id] = &Ears{ID: id}
			poke(t.asks)
		}
	}
}

// Ears are the answers to the newest question that are complete; all says that no more are awaited: what is left are
// voters of which there has been no word for a second.
func (n *Node) Ears() (answers []Ears, all bool) {
	g := n.gossip
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ears == nil {
		return nil, true
	}
	all = true
	now := time.Now()
	for id, e := range g.ears.of {
		switch {
		case len(e.Ago) == len(g.ears.deas):
			answers = append(answers, *e)
		case now.Sub(g.heard[id].at) <= staleAfter: // else it died after it was asked, most likely
			all = false
		}
	}
	return answers, all
}

// earsQuestion is one question and what has been answered. The gossip's mutex guards it; a complete answer stays as it is.
type earsQuestion struct {
	deas []string
	of   map[string]*Ears
}

// earsPart is the part of a question that goes out in one message; the zero value asks nothing.
type earsPart struct {
	q    *earsQuestion
	deas [][]byte
}

// openEars is what a peer is to be asked next.
func (g *gossip) openEars(id string) earsPart {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.ears
	if q == nil || q.of[id] == nil {
		return earsPart{}
	}
	part := earsPart{q: q}
	bytes := 0
	for _, dea := range q.deas[len(q.of[id].Ago):] {
		if bytes += len(dea); len(part.deas) == maxAsked || bytes > maxAskedBytes {
			break
		}
		part.deas = append(part.deas, []byte(dea))
	}
	return part
}

// earsReplied takes a peer's answer to a part of a question. g.mu must be held.
func (g *gossip) earsReplied(id string, part earsPart, r *earsReply) error {
	if len(part.deas) == 0 || part.q != g.ears {
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
		if t := g.tells[id]; t != nil {
			poke(t.asks)
		}
	}
	return nil
}

// earsReply answers a question about DEAs.
type earsReply struct {
	Counts bool    `json:"counts,omitempty"`
	Ago    []int64 `json:"ago"` // milliseconds; negative: too long to tell
}

// replyEars answers a peer's question.
func (g *gossip) replyEars(deas [][]byte) *earsReply {
	fn := g.hears.Load()
	if len(deas) == 0 {
		return nil
	}
	r := &earsReply{Ago: make([]int64, len(deas))}
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
func (r *earsReply) check() error {
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

// checkAsked looks at a question as it came.
func checkAsked(deas [][]byte) error {
	if len(deas) > maxAsked {
		return fmt.Errorf("it asks about %d DEAs, at most %d are allowed", len(deas), maxAsked)
	}
	bytes := 0
	for _, dea := range deas {
		if !actual.ValidDEA(dea) {
			return fmt.Errorf("it asks about %.40q, which is no DEA's id", dea)
		}
		bytes += len(dea)
	}
	if bytes > maxAskedBytes {
		return fmt.Errorf("the DEAs that it asks about take %d bytes, at most %d are allowed", bytes, maxAskedBytes)
	}
	return nil
}
