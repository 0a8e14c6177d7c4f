package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"hm/raftfsm"
)

const (
	tellEvery   = 250 * time.Millisecond
	tellGap     = 20 * time.Millisecond // between two messages, however often there is news
	staleAfter  = time.Second           // a member that was not heard for so long is unreachable
	replyWithin = time.Second           // for a peer to acknowledge a message, and to be dialled
	idleTimeout = 5 * time.Second       // for a peer to send its next message
	maxBackoff  = time.Second
)

// gossip tells every member how this node is and keeps what they tell: one outgoing connection to each.
type gossip struct {
	node *Node

	mu    sync.Mutex
	info  *PeerInfo
	heard map[string]heard
	shuns map[string]bool    // peers that say that this node is no member of their cluster
	tells map[string]*teller // by id
	reach map[string]reach   // by id
	began time.Time
	asked map[*question]struct{}
	ears  *earsQuestion // the newest; nil: none was ever asked
	hears atomic.Pointer[HearsFunc]

	pokes  chan struct{} // there is news to tell
	judge  chan struct{} // there is news about peers, and this node is joining
	reads  chan struct{} // a peer told how a read of the desired state ended
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// heard is the newest message of a peer.
type heard struct {
	message message
	at      time.Time // with a monotonic reading
}

// teller is the goroutine that tells one peer.
type teller struct {
	peer   Peer
	pokes  chan struct{} // there is news
	asks   chan struct{} // somebody waits for an answer
	cancel context.CancelFunc
}

func newGossip(n *Node) *gossip {
	g := &gossip{node: n, heard: map[string]heard{}, shuns: map[string]bool{}, tells: map[string]*teller{}, reach: map[string]reach{}, began: time.Now(), asked: map[*question]struct{}{}, pokes: make(chan struct{}, 1), judge: make(chan struct{}, 1), reads: make(chan struct{}, 1)}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// SetInfo replaces what this node tells its peers, and tells them soon.
func (n *Node) SetInfo(info PeerInfo) {
	g := n.gossip
	g.mu.Lock()
	changed := g.info == nil || *g.info != info
	g.info = &info
	g.mu.Unlock()
	if changed {
		g.poke()
	}
}

// PeerReads says, for one who waits, that a peer has told how a read of the desired state ended.
func (n *Node) PeerReads() <-chan struct{} { return n.gossip.reads }

func (g *gossip) poke() { poke(g.pokes) }

// poke leaves word in a channel that holds one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps one teller for each other member, whoever is one at the time.
func (g *gossip) run() {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for {
		g.follow()
		g.node.judgeJoining()
		g.node.judgeState()
		select {
		case <-g.ctx.Done():
			g.wg.Wait()
			return
		case <-ticker.C:
		case <-g.judge:
		case <-g.pokes:
			g.mu.Lock()
			for _, t := range g.tells {
				poke(t.pokes)
			}
			g.mu.Unlock()
		}
	}
}

// follow starts and ends tellers, so that they are those of the present members.
func (g *gossip) follow() {
	members, err := g.node.configuration()
	if err != nil {
		return
	}
	book := addressBook(g.node.opts.Peers)
	present := make(map[string]Peer, len(members))
	peers := slices.Clone(g.node.opts.Peers)
	for _, m := range members {
		if p := (Peer{string(m.ID), book.of(m)}); !slices.Contains(peers, p) {
			peers = append(peers, p)
		}
		if string(m.ID) != g.node.opts.ID {
			present[string(m.ID)] = Peer{string(m.ID), book.of(m)}
		}
	}
	g.node.stream.setPeers(peers)
	g.node.memory.keep(func(id string) bool { _, ok := present[id]; return ok })
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, t := range g.tells {
		if present[id] != t.peer {
			t.cancel()
			delete(g.tells, id)
		}
	}
	for id := range g.heard {
		if _, ok := present[id]; !ok {
			delete(g.heard, id)
		}
	}
	for id := range g.reach {
		if _, ok := present[id]; !ok {
			delete(g.reach, id)
		}
	}
	for id, peer := range present {
		if g.tells[id] == nil {
			t := &teller{peer: peer, pokes: make(chan struct{}, 1), asks: make(chan struct{}, 1)}
			var ctx context.Context
			ctx, t.cancel = context.WithCancel(g.ctx)
			g.tells[id] = t
			g.wg.Go(func() { g.tell(ctx, t) })
		}
	}
}

// tell keeps a connection to one peer and sends this node's message over it.
func (g *gossip) tell(ctx context.Context, t *teller) {
	backoff := tellEvery
	for ctx.Err() == nil {
		began := time.Now()
		err := g.tellOver(ctx, t)
		if ctx.Err() != nil {
			return
		}
		g.told(t.peer.ID, err)
		asks := t.asks
		if version := (*frameVersionError)(nil); errors.As(err, &version) {
			g.node.log.log(slog.LevelWarn, t.peer.ID, "a peer speaks another version of the messages between peers", "peer", t.peer.ID, "address", t.peer.Address, "error", err)
			asks, backoff = nil, maxBackoff // to ask again at once would not help
		} else {
			g.node.log.log(slog.LevelInfo, t.peer.ID, "cannot tell a peer how this node is", "peer", t.peer.ID, "address", t.peer.Address, "error", err)
		}
		if time.Since(began) > 2*replyWithin {
			backoff = tellEvery // it had worked
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff/2 + rand.N(backoff/2)):
		case <-asks:
			select {
			case <-ctx.Done():
			case <-time.After(tellGap):
			}
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (g *gossip) tellOver(ctx context.Context, t *teller) error {
	conn, err := g.node.stream.dial(t.peer.Address, replyWithin, streamPeers)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for {
		if err := conn.SetDeadline(time.Now().Add(replyWithin)); err != nil {
			return err
		}
		questions := g.openQuestions() // before the message is made: the reply is then newer than each of them
		silent := g.openEars(t.peer.ID)
		m := g.message(t.peer.ID)
		m.Silent = silent.deas
		if err := writeMessage(conn, m); err != nil {
			return err
		}
		r, err := readReply(conn)
		if err != nil {
			return err
		}
		if err := g.replied(t.peer.ID, r, questions, silent); err != nil {
			return err
		}
		g.told(t.peer.ID, nil)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.asks:
			continue
		case <-time.After(tellGap):
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.asks:
		case <-ticker.C:
		case <-t.pokes:
		}
	}
}

func (g *gossip) replied(id string, r reply, questions []*question, silent earsPart) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shuns[id] = r.Stranger
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
	return g.earsReplied(id, silent, r.Ears)
}

// message is what this node tells the member named to. How far the log reaches is read last: a leader's message then
// covers everything that was committed before its term.
func (g *gossip) message(to string) message {
	n := g.node
	m := message{From: n.opts.ID, States: n.states.claims(), HashVersion: raftfsm.HashVersion}
	if f, ok := n.Fault(); ok {
		f.Detail = f.Detail[:min(len(f.Detail), maxText/2)]
		m.Fault = &f
	}
	if err := n.stores.disk.complaint(); err != nil {
		m.Disk = err.Error()
		m.Disk = m.Disk[:min(len(m.Disk), maxText)]
	}
	g.mu.Lock()
	if g.info != nil {
		info := *g.info
		m.Info = &info
	}
	g.mu.Unlock()
	// After the info: what that says was applied is then of no later term than the message's.
	m.State, m.Term, m.Blank = n.stateWord(), n.raft.CurrentTerm(), n.logIsBlank()
	m.Last, m.Known = n.last(), n.memory.of(to)
	return m
}

// receive takes in the messages that come over one connection. The stream closes the connection when it returns.
func (g *gossip) receive(conn net.Conn) {
	n := g.node
	r := bufio.NewReader(conn)
	for first := true; ; first = false {
		if err := conn.SetDeadline(time.Now().Add(idleTimeout)); err != nil {
			return
		}
		m, err := readMessage(r)
		if err == nil {
			if err = g.takeFrom(conn, m); err == nil && first {
				g.answer(m.From)
			}
		}
		if err != nil {
			g.sayRefused(conn, err)
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && g.ctx.Err() == nil {
				n.stats.badMessages.Add(1)
				n.log.log(slog.LevelWarn, "message", "closed a peer's connection", "remote", conn.RemoteAddr().String(), "error", err)
			}
			return
		}
		answer := g.reply(m)
		answer.Ears = g.replyEars(m.Silent)
		if writeReply(conn, answer) != nil {
			return
		}
	}
}

// takeFrom takes in a message, unless it names a sender whom the connection's certificate does not name.
func (g *gossip) takeFrom(conn net.Conn, m message) error {
	c, ok := conn.(*streamConn)
	if ok && c.cert != nil {
		if err := g.node.stream.speaksFor(c.cert, m.From); err != nil {
			return err
		}
	}
	err := g.take(m, time.Now())
	if ok && err == nil {
		c.proven.Store(true)
	}
	return err
}

// sayRefused tells a peer why what it sent was refused. The connection ends either way.
func (g *gossip) sayRefused(conn net.Conn, why error) {
	if errors.Is(why, io.EOF) || errors.Is(why, net.ErrClosed) {
		return
	}
	text := why.Error()
	_ = writeReply(conn, reply{Refused: text[:min(len(text), maxText/2)], Stranger: errors.Is(why, errStranger)})
}

// reply says whether this node follows the sender. The term is read first: a node that goes over to a later term
// forgets its leader before it takes up the term. A joining node may have followed another and not know it.
func (g *gossip) reply(m message) reply {
	n := g.node
	r := reply{From: n.opts.ID, Term: n.raft.CurrentTerm()}
	_, leader := n.raft.LeaderWithID()
	r.Follows = r.Term == m.Term && string(leader) == m.From && !n.join.active.Load()
	return r
}

var errStranger = errors.New("the sender is no other member of this cluster")

func (g *gossip) take(m message, now time.Time) error {
	if !g.node.isMember(m.From) || m.From == g.node.opts.ID {
		return fmt.Errorf("a message from %s: %w", m.From, errStranger)
	}
	g.node.stats.messages.Add(1)
	if told, err := checkClaims(m.States); err == nil && m.HashVersion == raftfsm.HashVersion {
		g.node.states.take(m.From, told, now)
	}
	g.judgeInfo(&m)
	g.node.memory.heard(m.From, m.Last, m.Known)
	if has := g.node.last(); has.less(m.Known) {
		g.node.rejoin(m.From, has, m.Known)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.heard[m.From].message.Info
	g.heard[m.From] = heard{m, now}
	if m.Info != nil && (before == nil || before.DesiredReadBegan != m.Info.DesiredReadBegan || before.DesiredReadError != m.Info.DesiredReadError) {
		poke(g.reads)
	}
	if g.node.join.active.Load() {
		poke(g.judge) // it may be the message that was waited for
	}
	return nil
}

// answer has a member told at once how this node is: it has just begun to speak, and may take part in no election
// with this node before it has heard this node, too.
func (g *gossip) answer(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.tells[id]; t != nil {
		poke(t.asks)
	}
}

func (g *gossip) heardFrom(id string) (heard, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h, ok := g.heard[id]
	return h, ok
}

func (g *gossip) isShunned() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, shuns := range g.shuns {
		if shuns {
			return true
		}
	}
	return false
}

func (g *gossip) close() { g.cancel() }

const (
	stateLeader      = "leader"
	stateFollower    = "follower"
	stateCandidate   = "candidate"
	stateUnreachable = "unreachable"
)

func (n *Node) stateWord() string {
	switch s := n.raft.State(); {
	case n.stores.disk.stalled.Load(): // raft's own word is as old as the write that hangs
		return stateFollower
	case s == raft.Leader:
		return stateLeader
	case s == raft.Candidate:
		return stateCandidate
	}
	return stateFollower
}
