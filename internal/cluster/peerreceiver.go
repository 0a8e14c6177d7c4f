package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"hm/raftfsm"
)

// receive takes the messages of one connection and replies to each. The port closes the connection when it returns.
func (ps *peerStatus) receive(conn net.Conn) {
	n := ps.node
	r := bufio.NewReader(conn)
	for first := true; ; first = false {
		if err := conn.SetDeadline(time.Now().Add(idleTimeout)); err != nil {
			return
		}
		m, err := readMessage(r)
		if err == nil {
			if err = ps.takeChecked(conn, m); err == nil && first {
				ps.sendNow(m.From)
			}
		}
		if err != nil {
			ps.sendRefusal(conn, err)
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && ps.ctx.Err() == nil {
				n.stats.badMessages.Add(1)
				n.log.log(slog.LevelWarn, "message", "closed a peer's connection", "remote", conn.RemoteAddr().String(), "error", err)
			}
			return
		}
		answer := ps.reply(m)
		answer.Hearing = ps.hearingReplyTo(m.Silent)
		if writeReply(conn, answer) != nil {
			return
		}
	}
}

// takeChecked takes a message if the certificate of its connection names the sender, or if there is no TLS.
func (ps *peerStatus) takeChecked(conn net.Conn, m message) error {
	c, ok := conn.(*portConn)
	if ok && c.cert != nil {
		if err := ps.node.port.speaksFor(c.cert, m.From); err != nil {
			return err
		}
	}
	err := ps.takeMessage(m, time.Now())
	if ok && err == nil {
		c.proven.Store(true)
	}
	return err
}

// sendRefusal tells a peer why what it sent was refused. The connection ends either way.
func (ps *peerStatus) sendRefusal(conn net.Conn, why error) {
	if errors.Is(why, io.EOF) || errors.Is(why, net.ErrClosed) {
		return
	}
	text := why.Error()
	r := reply{Refused: text[:min(len(text), maxText/2)], Stranger: errors.Is(why, errStranger), From: ps.node.opts.ID}
	if servers, err := ps.node.configuration(); err == nil && r.Stranger {
		r.Members = strings.Join(idsOf(servers), ",")
	}
	_ = writeReply(conn, r)
}

// reply says whether this node follows the sender. The term is read first, because a node that moves to a later term
// forgets its leader before it takes the new term. A joining node may have followed another node and have forgotten it,
// so it never says that it follows.
func (ps *peerStatus) reply(m message) reply {
	n := ps.node
	r := reply{From: n.opts.ID, Term: n.raft.CurrentTerm()}
	_, leader := n.raft.LeaderWithID()
	r.Follows = r.Term == m.Term && string(leader) == m.From && !n.join.active.Load()
	return r
}

var errStranger = errors.New("the sender is not another member of this cluster")

// takeMessage keeps a message of a member and passes its parts on to whoever compares them.
func (ps *peerStatus) takeMessage(m message, now time.Time) error {
	if m.From == ps.node.opts.ID || !ps.node.isMember(m.From) && !ps.node.isAddedBy(m) {
		return fmt.Errorf("a message from %s: %w", m.From, errStranger)
	}
	ps.node.stats.messages.Add(1)
	if states, err := checkClaims(m.States); err == nil && m.HashVersion == raftfsm.HashVersion {
		ps.node.states.take(m.From, states, now)
	}
	ps.followClock(m)
	ps.mu.Lock()
	last := ps.latest[m.From]
	ps.mu.Unlock()
	told := peerMessage{at: now}
	if m.Info != nil {
		told.began = m.Info.DesiredReadBegan
		ps.toOwnTime(&m, last)
	}
	ps.dropFalseNumbers(&m)
	told.message = m
	ps.node.positions.update(m.From, m.Last, m.Known)
	if has := ps.node.logEnd(); has.less(m.Known) {
		ps.node.rejoin(m.From, has, m.Known)
	}
	if ps.node.join.active.Load() {
		ps.mu.Lock()
		ps.takeMembers(m, now)
		ps.mu.Unlock()
		ps.node.hearTerm(m)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	before := last.message.Info
	ps.latest[m.From] = told
	ps.rejectedBy[m.From] = false // whoever sends messages takes this node for a member
	if m.Info != nil && (before == nil || before.DesiredReadBegan != m.Info.DesiredReadBegan || before.DesiredReadError != m.Info.DesiredReadError) {
		ps.peerReads.Notify()
	}
	if ps.node.join.active.Load() {
		ps.recheckJoining.Notify() // this may be the message that ends the joining
	}
	return nil
}
