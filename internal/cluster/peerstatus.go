package cluster

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/notify"
)

const (
	statusEvery = 250 * time.Millisecond
	statusGap   = 20 * time.Millisecond // between two messages, however often there is news
	staleAfter  = time.Second           // a member that was not heard for so long is unreachable
	replyWithin = time.Second           // for a peer to acknowledge a message, and to be dialled
	idleTimeout = 5 * time.Second       // for a peer to send its next message
	maxBackoff  = time.Second
)

// gossip tells every member how this node is and keeps what they tell: one outgoing connection to each.
type peerStatus struct {
	node *Node

	mu             sync.Mutex
	info           *PeerInfo
	latest         map[string]peerMessage
	rejectedBy     map[string]bool        // peers that say that this node is no member of their cluster
	senders        map[string]*peerSender // by id
	contacts       map[string]contact     // by id
	began          time.Time
	leaseQuestions map[*leaseQuestion]struct{}
	hearing        *hearingQuestion // the newest; nil: none was ever asked
	answerHearing  atomic.Pointer[HearingFunc]

	changed        notify.Signal // there is news to tell
	recheckJoining notify.Signal // there is news about peers, and this node is joining
	peerReads      notify.Signal // a peer told how a read of the desired state ended
	ctx            context.Context
	cancel         context.CancelFunc
	wg             sync.WaitGroup
}

// peerMessage is the newest message of a peer.
type peerMessage struct {
	message message
	at      time.Time // with a monotonic reading
}

func newPeerStatus(n *Node) *peerStatus {
	ps := &peerStatus{node: n, latest: map[string]peerMessage{}, rejectedBy: map[string]bool{}, senders: map[string]*peerSender{}, contacts: map[string]contact{}, began: time.Now(), leaseQuestions: map[*leaseQuestion]struct{}{}, changed: notify.New(), recheckJoining: notify.New(), peerReads: notify.New()}
	ps.ctx, ps.cancel = context.WithCancel(context.Background())
	return ps
}

func (ps *peerStatus) notifySenders() { ps.changed.Notify() }

// run keeps one peerSender for each other member, whoever is one at the time.
func (ps *peerStatus) run() {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	for {
		ps.updateSenders()
		ps.node.judgeJoining()
		ps.node.judgeState()
		select {
		case <-ps.ctx.Done():
			ps.wg.Wait()
			return
		case <-ticker.C:
		case <-ps.recheckJoining.C():
		case <-ps.changed.C():
			ps.mu.Lock()
			for _, t := range ps.senders {
				t.changed.Notify()
			}
			ps.mu.Unlock()
		}
	}
}

// follow starts and ends senders, so that they are those of the present members.
func (ps *peerStatus) updateSenders() {
	members, err := ps.node.configuration()
	if err != nil {
		return
	}
	book := addressBook(ps.node.opts.Peers)
	present := make(map[string]Peer, len(members))
	peers := slices.Clone(ps.node.opts.Peers)
	for _, m := range members {
		if p := (Peer{string(m.ID), book.of(m)}); !slices.Contains(peers, p) {
			peers = append(peers, p)
		}
		if string(m.ID) != ps.node.opts.ID {
			present[string(m.ID)] = Peer{string(m.ID), book.of(m)}
		}
	}
	ps.node.port.setPeers(peers)
	ps.node.positions.keep(func(id string) bool { _, ok := present[id]; return ok })
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id, t := range ps.senders {
		if present[id] != t.peer {
			t.cancel()
			delete(ps.senders, id)
		}
	}
	for id := range ps.latest {
		if _, ok := present[id]; !ok {
			delete(ps.latest, id)
		}
	}
	for id := range ps.contacts {
		if _, ok := present[id]; !ok {
			delete(ps.contacts, id)
		}
	}
	for id, peer := range present {
		if ps.senders[id] == nil {
			t := &peerSender{peer: peer, changed: notify.New(), urgent: notify.New()}
			var ctx context.Context
			ctx, t.cancel = context.WithCancel(ps.ctx)
			ps.senders[id] = t
			ps.wg.Go(func() { ps.keepSending(ctx, t) })
		}
	}
}

func (ps *peerStatus) latestFrom(id string) (peerMessage, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	h, ok := ps.latest[id]
	return h, ok
}

func (ps *peerStatus) isRejected() bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, rejectedBy := range ps.rejectedBy {
		if rejectedBy {
			return true
		}
	}
	return false
}

func (ps *peerStatus) close() { ps.cancel() }

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
