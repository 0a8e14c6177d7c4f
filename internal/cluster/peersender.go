package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"hm/internal/notify"
	"hm/raftfsm"
)

// peerSender belongs to the goroutine that sends this node's status to one peer.
type peerSender struct {
	peer    Peer
	changed notify.Signal // this node's status changed: send soon
	urgent  notify.Signal // somebody waits for the peer's reply: send at once
	cancel  context.CancelFunc
}

// keepSending connects to one peer again and again and exchanges messages with it, until ctx ends.
func (ps *peerStatus) keepSending(ctx context.Context, s *peerSender) {
	backoff := statusEvery
	for ctx.Err() == nil {
		began := time.Now()
		err := ps.exchange(ctx, s)
		if ctx.Err() != nil {
			return
		}
		ps.noteContact(s.peer.ID, err)
		urgent := s.urgent.C()
		if version := (*frameVersionError)(nil); errors.As(err, &version) {
			ps.node.log.log(slog.LevelWarn, s.peer.ID, "a peer uses another version of the messages between peers",
				"peer", s.peer.ID, "address", s.peer.Address, "error", err)
			urgent, backoff = nil, maxBackoff // another attempt at once would not help
		} else if ps.node.Removed() != "" {
			urgent, backoff = nil, maxRemovedBackoff // it has been logged
		} else {
			ps.node.log.log(slog.LevelInfo, s.peer.ID, "cannot send this node's status to a peer",
				"peer", s.peer.ID, "address", s.peer.Address, "error", err)
		}
		if time.Since(began) > 2*replyWithin {
			backoff = statusEvery // the connection had worked
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff/2 + rand.N(backoff/2)):
		case <-urgent:
			select {
			case <-ctx.Done():
			case <-time.After(statusGap):
			}
		}
		backoff = min(2*backoff, max(backoff, maxBackoff))
		if ps.node.Removed() == "" {
			backoff = min(backoff, maxBackoff)
		}
	}
}

// exchange opens one connection to a peer, sends messages over it and takes the replies, until something fails.
func (ps *peerStatus) exchange(ctx context.Context, s *peerSender) error {
	conn, err := ps.node.port.dial(s.peer.Address, replyWithin, carriesStatus)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	for {
		if err := conn.SetDeadline(time.Now().Add(replyWithin)); err != nil {
			return err
		}
		questions := ps.openLeaseQuestions() // before the message is made, so that the reply is newer than each of them
		part := ps.nextHearingPart(s.peer.ID)
		m := ps.messageTo(s.peer.ID)
		m.Silent = part.deas
		if err := writeMessage(conn, m); err != nil {
			return err
		}
		r, err := readReply(conn)
		if err != nil {
			return err
		}
		if err := ps.takeReply(s.peer.ID, r, questions, part); err != nil {
			return err
		}
		ps.noteContact(s.peer.ID, nil)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.urgent.C():
			continue
		case <-time.After(statusGap):
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.urgent.C():
		case <-ticker.C:
		case <-s.changed.C():
		}
	}
}

// takeReply takes a peer's reply to a message that carried the questions and part. An error ends the connection.
func (ps *peerStatus) takeReply(id string, r reply, questions []*leaseQuestion, part hearingPart) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.rejectedBy[id] = r.Stranger
	switch {
	case r.Stranger && r.From != "" && r.From != id:
		ps.rejectedBy[id] = false
		return fmt.Errorf("%s answers there", r.From)
	case r.Stranger:
		return fmt.Errorf("%s says that this node is not a member of its cluster", id)
	case r.From != "" && r.From != id:
		return fmt.Errorf("%s answers there", r.From)
	case r.Refused != "":
		return fmt.Errorf("%s refuses this node's message: %s", id, r.Refused)
	}
	for _, q := range questions {
		q.answer(id, r)
	}
	return ps.takeHearing(id, part, r.Hearing)
}

// messageTo makes this node's message to one member. How far the log reaches is read last: so a leader's message covers
// everything that was committed before its term.
func (ps *peerStatus) messageTo(to string) message {
	n := ps.node
	m := message{From: n.opts.ID, States: n.states.claims(), HashVersion: raftfsm.HashVersion, futureMessage: fromFuture}
	if f, ok := n.Fault(); ok {
		f.Detail = f.Detail[:min(len(f.Detail), maxText/2)]
		m.Fault = &f
	}
	if err := n.stores.disk.problem(); err != nil {
		m.Disk = err.Error()
		m.Disk = m.Disk[:min(len(m.Disk), maxText)]
	}
	ps.mu.Lock()
	if ps.info != nil {
		info := *ps.info
		if m.Info = &info; ps.infoClock != n.clock.epoch.Load() || n.Suspended()-ps.infoSuspended > smallOffset {
			m.Info = info.withoutTimes() // the clock was set back, or stood still, since
		}
	}
	ps.mu.Unlock()
	if renew := ps.renewInfo.Load(); renew != nil && m.Info != nil {
		(*renew)(m.Info)
	}
	clock := n.clock.reading()
	m.Clock, m.Time = clock.term, clock.now
	if m.Clock != 0 {
		m.ClockTold = clock.told
	}
	// After the info, so that the applied index in the info is not of a later term than the message's.
	m.Joining = n.join.active.Load() // before the term, which it then remembers
	m.Voters, m.Configured = n.voterMark(), n.Configured()
	if ps.mayNotKnow(to) {
		if servers, err := n.configuration(); err == nil && !n.logIsBlank() {
			m.Members = serversOf(servers)
		}
	}
	m.State, m.Term, m.Blank = n.stateWord(), n.raft.CurrentTerm(), n.logIsBlank()
	m.Last, m.Known = n.logEnd(), n.positions.of(to)
	return m
}

// mayNotKnow reports whether a member may not know who the members are: it is joining, or has sent nothing, or says that
// it does not know this node, because it has just lost its disk.
func (ps *peerStatus) mayNotKnow(id string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	last, ok := ps.latest[id]
	return !ok || last.message.Joining || ps.rejectedBy[id]
}

// sendNow sends this node's status to a member at once. A member that has just connected may take part in no election
// with this node before it has received this node's status.
func (ps *peerStatus) sendNow(id string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if s := ps.senders[id]; s != nil {
		s.urgent.Notify()
	}
}
