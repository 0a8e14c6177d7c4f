package cluster

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// awaitingTransport is raft's transport. While a leader's heartbeats to a peer fail, entries and snapshots for that peer
// wait for the next heartbeat that succeeds.
//
// Raft waits longer after each failure to send entries, up to 10 s, and does not notice meanwhile that the peer is back.
// Until then the peer counts for no commit. But raft's heartbeats to the same peer go on, more than once in each
// HeartbeatTimeout. So a request that would fail waits here instead, and raft counts one failure for all that time.
//
// A request that has waited is not sent. Raft makes it anew after some milliseconds, from the newest snapshot or with the
// newest entries. It sends all entries that were there when it began one after the other, but later ones only in parts
// of maxAppend, each after a pause, if nobody writes.
//
// A peer that refuses heartbeats counts as one that they do not reach: it refuses entries for the same reasons (see
// guardedTransport). A peer that takes heartbeats and refuses entries is not waited for, and raft's own backoff applies.
//
// Nothing here answers in the place of a peer. A wait is no contact, so the leader's lease does not depend on it.
type awaitingTransport struct {
	*guardedTransport
	waits *peerWaits
}

// AppendEntries sends entries to a peer, or a heartbeat.
func (t awaitingTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	peer := Peer{string(id), string(target)}
	if isHeartbeat(args) {
		err := t.guardedTransport.AppendEntries(id, target, args, resp)
		t.waits.note(peer, args.Term, err)
		return err
	}
	if err := t.waits.await(peer, args.Term, nil); err != nil {
		return err
	}
	return t.guardedTransport.AppendEntries(id, target, args, resp)
}

// InstallSnapshot sends a peer a snapshot. It closes the snapshot before it waits, so that the space of a removed one
// becomes free.
func (t awaitingTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	peer := Peer{string(id), string(target)}
	closeData := func() {
		if c, ok := data.(io.Closer); ok {
			_ = c.Close() // it was only read; raft closes it again
		}
	}
	if err := t.waits.await(peer, args.Term, closeData); err != nil {
		return err
	}
	return t.guardedTransport.InstallSnapshot(id, target, args, resp, data)
}

// isHeartbeat reports whether a request is a heartbeat, as raft's transport of the receiver decides it.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return len(a.Entries) == 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && a.LeaderCommitIndex == 0
}

// peerWaits knows which peers the heartbeats of this leader do not reach, and holds what waits for them.
//
// Raft's goroutine for a peer does nothing else while it waits here. It must take notice when the leadership or the
// membership ends, and raft does not end its heartbeats before it does. So each wait looks for that by itself.
//
// The goroutine must also answer a handover of the leadership to its peer. A second handover waits for the answer to the
// first one without a time limit, and raft accepts no entry meanwhile. So nothing waits for a peer that is away when a
// handover begins, or within handoverSettles after it.
type peerWaits struct {
	every    time.Duration          // how often a wait looks whether it still has a reason
	leads    func(term uint64) bool // whether this node leads in a term
	isMember func(Peer) bool        // whether the leader sends to a peer

	mu       sync.Mutex
	term     uint64            // the newest in which this node led, as far as it has sent something
	away     map[Peer]*absence // the peers that the last heartbeat of the term did not reach
	handover time.Time         // when the newest handover of the term began
	ended    bool
}

// absence is the time in which heartbeats to one peer fail.
type absence struct {
	over   chan struct{} // closed when nothing waits for the peer any more
	closed bool
}

func (a *absence) end() {
	if !a.closed {
		a.closed = true
		close(a.over)
	}
}

// handoverSettles is the time in which raft's goroutine for a peer that heartbeats reach answers a handover.
const handoverSettles = time.Minute

// Why a request that waited is not sent.
var (
	errTryAgain      = errors.New("the peer was away: the request is made anew")
	errNoLongerLeads = errors.New("this node no longer leads in the term of the request")
	errRaftEnds      = errors.New("raft is being shut down")
)

func newPeerWaits(every time.Duration, leads func(uint64) bool, isMember func(Peer) bool) *peerWaits {
	return &peerWaits{every: every, leads: leads, isMember: isMember, away: map[Peer]*absence{}}
}

// note takes the outcome of a heartbeat.
func (w *peerWaits) note(p Peer, term uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isNewest(term) {
		return
	}
	a := w.away[p]
	switch {
	case err == nil && a != nil:
		a.end()
		delete(w.away, p)
	case err != nil && a == nil && w.isMember(p):
		a = &absence{over: make(chan struct{})}
		if time.Since(w.handover) < handoverSettles {
			a.end()
		}
		w.away[p] = a
	}
}

// isNewest reports whether no request of a later term was sent. The caller holds w.mu.
func (w *peerWaits) isNewest(term uint64) bool {
	if term > w.term {
		w.endWaits()
		clear(w.away)
		w.term, w.handover = term, time.Time{}
	}
	return term == w.term
}

func (w *peerWaits) endWaits() {
	for _, a := range w.away {
		a.end()
	}
}

// await returns nil if a request of a term may be sent to a peer. Otherwise it waits until raft may try again, and
// returns an error. It calls waiting, unless that is nil, before it waits.
func (w *peerWaits) await(p Peer, term uint64, waiting func()) error {
	for waited := false; ; waited = true {
		over, err := w.reason(p, term)
		switch {
		case err != nil:
			return err
		case over == nil && waited:
			return errTryAgain
		case over == nil:
			return nil
		case !waited && waiting != nil:
			waiting()
		}
		select {
		case <-over:
		case <-time.After(w.every):
		}
	}
}

// reason gives what a request waits for; nil if it may be sent now.
func (w *peerWaits) reason(p Peer, term uint64) (over <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	newest := w.isNewest(term)
	a := w.away[p]
	switch {
	case w.ended:
		return nil, errRaftEnds
	case !newest:
		return nil, errNoLongerLeads
	case a == nil || a.closed:
		return nil, nil
	case !w.leads(term):
		return nil, errNoLongerLeads
	case !w.isMember(p): // raft sends a removed member its removal once, if it can
		a.end()
		delete(w.away, p)
		return nil, nil
	}
	return a.over, nil
}

// handoverBegins ends the waits: see peerWaits.
func (w *peerWaits) handoverBegins() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handover = time.Now()
	w.endWaits()
}

// end ends the waits for good.
func (w *peerWaits) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.endWaits()
}

// leadsIn reports whether raft leads in a term. It may be asked before newRaft has returned.
func (n *Node) leadsIn(term uint64) bool {
	r := n.stores.log.raft.Load()
	return r == nil || r.State() == raft.Leader && r.CurrentTerm() == term
}

// replicatesTo reports whether raft sends entries to a peer while it leads.
func (n *Node) replicatesTo(p Peer) bool {
	r := n.stores.log.raft.Load()
	return r == nil || slices.ContainsFunc(r.GetConfiguration().Configuration().Servers, func(s raft.Server) bool {
		return Peer{string(s.ID), string(s.Address)} == p
	})
}
