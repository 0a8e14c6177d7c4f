package api

import (
	"net/http"
	"strconv"
	"time"
)

// Basis says which recorded state an answer is about.
type Basis struct {
	Index  uint64    `json:"index"`  // Raft index of the newest entry in the recorded state that was read
	AgeMS  int64     `json:"age_ms"` // time since the node last heard from the leader; 0 on the leader, -1 if it never did
	Leader string    `json:"leader"` // node id; empty if none is known
	Node   string    `json:"node"`   // the node that answered
	At     Timestamp `json:"at"`     // when it answered, by its wall clock
}

// The headers that carry a basis, the gate, and the pages of a list.
const (
	headerIndex  = "X-Hm-Index"
	headerAge    = "X-Hm-Age-Ms"
	headerLeader = "X-Hm-Leader"
	headerNode   = "X-Hm-Node"
	headerAt     = "X-Hm-At"
	headerGate   = "X-Hm-Gate"  // "open", or the gate's reasons with commas between
	headerTotal  = "X-Hm-Total" // items in the whole list, where that is known
	headerCursor = "X-Hm-Next-Cursor"
)

func (b Basis) setHeaders(h http.Header) {
	h.Set(headerIndex, strconv.FormatUint(b.Index, 10))
	h.Set(headerAge, strconv.FormatInt(b.AgeMS, 10))
	h.Set(headerLeader, b.Leader)
	h.Set(headerNode, b.Node)
	h.Set(headerAt, b.At.String())
}

// basisOf reads a basis from the headers of an answer. Missing fields stay zero.
func basisOf(h http.Header) Basis {
	b := Basis{Leader: h.Get(headerLeader), Node: h.Get(headerNode)}
	b.Index, _ = strconv.ParseUint(h.Get(headerIndex), 10, 64)
	b.AgeMS, _ = strconv.ParseInt(h.Get(headerAge), 10, 64)
	if at, err := time.Parse(time.RFC3339Nano, h.Get(headerAt)); err == nil {
		b.At = Timestamp{at}
	}
	return b
}
