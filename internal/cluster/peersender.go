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

// peerSender is the goroutine that tells one peer.
type peerSender struct {
	peer    Peer
	changed notify.Signal // there is news
	urgent  notify.Signal // somebody waits for an answer
	cancel  context.CancelFunc
}

// tell keeps a connection to one peer and sends this node's message over it.
func (ps *peerStatus) keepSending(ctx context.Context, t *peerSender) {
	backoff := statusEvery
	for ctx.Err() == nil {
		began := time.Now()
		err := ps.exchange(ctx, t)
		if ctx.Err() != nil {
			return
		}
		ps.noteContact(t.peer.ID, err)
		urgent := t.urgent.C()
		if version := (*frameVersionError)(nil); errors.As(err, &version) {
			ps.node.log.log(slog.LevelWarn, t.peer.ID, "a peer speaks another version of the messages between peers", "peer", t.peer.ID, "address", t.peer.Address, "error", err)
			urgent, backoff = nil, maxBackoff // to ask again at once would not help
		} else {
			ps.node.log.log(slog.LevelInfo, t.peer.ID, "cannot tell a peer how this node is", "peer", t.peer.ID, "address", t.peer.Address, "error", err)
		}
		if time.Since(began) > 2*replyWithin {
			backoff = statusEvery // it had worked
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
		backoff = min(2*backoff, maxBackoff)
	}
}

func (ps *peerStatus) exchange(ctx context.Context, t *peerSender) error {
	conn, err := ps.node.port.dial(t.peer.Address, replyWithin, carriesStatus)
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
		questions := ps.openLeaseQuestions() // before the message is made: the reply is then newer than each of them
		silent := ps.nextHearingPart(t.peer.ID)
		m := ps.messageTo(t.peer.ID)
		m.Silent = silent.deas
		if err := writeMessage(conn, m); err != nil {
			return err
		}
		r, err := readReply(conn)
		if err != nil {
			return err
		}
		if err := ps.takeReply(t.peer.ID, r, questions, silent); err != nil {
			return err
		}
		ps.noteContact(t.peer.ID, nil)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.urgent.C():
			continue
		case <-time.After(statusGap):
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.urgent.C():
		case <-ticker.C:
		case <-t.changed.C():
		}
	}
}

func (ps *peerStatus) takeReply(id string, r reply, questions []*leaseQuestion, silent hearingPart) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.rejectedBy[id] = r.Stranger
	switch {
	case r.Stranger:
		return fmt.Errorf("%s says that this node is no member of its cluster", id)
	case r.From != "" && r.From != id:
		return fmt.Errorf("%s answers there", r.From)
	case r.Refused != "":
		return fmt.Errorf("%s refuses what this node says: %s", id, r.Refused)
	}
	for _, q := range questions {
		q.answer(id, r)
	}
	return ps.takeHearing(id, silent, r.Hearing)
}

// message is what this node tells the member named to. How far the log reaches is read last: a leader's message then
// covers everything that was committed before its term.
func (ps *peerStatus) messageTo(to string) message {
	n := ps.node
	m := message{From: n.opts.ID, States: n.states.claims(), HashVersion: raftfsm.HashVersion}
	if f, ok := n.Fault(); ok {
		f.Detail = f.Detail[:min(len(f.Detail), maxText/2)]
		m.Fault = &f
	}
	if err := n.stores.disk.complaint(); err != nil {
		m.Disk = err.Error()
		m.Disk = m.Disk[:min(len(m.Disk), maxText)]
	}
	ps.mu.Lock()
	if ps.info != nil {
		info := *ps.info
		m.Info = &info
	}
	ps.mu.Unlock()
	// After the info: what that says was applied is then of no later term than the message's.
	m.State, m.Term, m.Blank = n.stateWord(), n.raft.CurrentTerm(), n.logIsBlank()
	m.Last, m.Known = n.last(), n.positions.of(to)
	return m
}

// answer has a member told at once how this node is: it has just begun to speak, and may take part in no election
// with this node before it has heard this node, too.
func (ps *peerStatus) sendSoon(id string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if t := ps.senders[id]; t != nil {
		t.urgent.Notify()
	}
}
