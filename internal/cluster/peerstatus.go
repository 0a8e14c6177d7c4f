package cluster

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/app"
	"hm/internal/notify"
)

const (
	statusEvery = 250 * time.Millisecond // between two messages to a peer, if nothing changes
	statusGap   = 20 * time.Millisecond  // between two messages to a peer, at least
	staleAfter  = time.Second            // a member that sent no message for so long is unreachable
	replyWithin = time.Second            // time limit for a connection to a peer, and for each reply
	idleTimeout = 5 * time.Second        // time limit for a peer's next message
	maxBackoff  = time.Second            // between two attempts to connect to a peer

	maxRemovedBackoff = 10 * time.Second // the same of a node that was removed
)

// peerStatus exchanges status messages with the other members: it sends this node's status over one connection to each
// member, and keeps the newest message of each.
type peerStatus struct {
	node *Node

	mu             sync.Mutex    // guards the fields up to hearing; all maps but leaseQuestions are by member id
	info           *PeerInfo     // nil until SetInfo was called
	infoClock      *clockEpoch   // by which the times in info are
	infoSuspended  time.Duration // of this machine, as info was made
	latest         map[string]peerMessage
	rejectedBy     map[string]bool // whether the peer says that this node is not a member of its cluster
	told           toldServers     // while this node is joining
	senders        map[string]*peerSender
	contacts       map[string]contact
	began          time.Time
	leaseQuestions map[*leaseQuestion]struct{}
	hearing        *hearingQuestion // the newest; nil if none was ever asked

	answerHearing  atomic.Pointer[HearingFunc]
	renewInfo      atomic.Pointer[func(*PeerInfo)]
	changed        notify.Signal // this node's status changed: send it
	recheckJoining notify.Signal // a message arrived while this node is joining
	peerReads      notify.Signal // a peer reported how a read of the desired state ended
	ctx            context.Context
	cancel         context.CancelFunc
	wg             sync.WaitGroup
}

// peerMessage is the newest message of a peer.
type peerMessage struct {
	message message
	at      time.Time // with a monotonic reading
	began   app.Time  // DesiredReadBegan as the peer told it, in its own hm time
}

func newPeerStatus(n *Node) *peerStatus {
	ps := &peerStatus{
		node: n, began: time.Now(),
		latest: map[string]peerMessage{}, rejectedBy: map[string]bool{}, senders: map[string]*peerSender{},
		contacts: map[string]contact{}, leaseQuestions: map[*leaseQuestion]struct{}{},
		changed: notify.New(), recheckJoining: notify.New(), peerReads: notify.New(),
	}
	ps.ctx, ps.cancel = context.WithCancel(context.Background())
	return ps
}

func (ps *peerStatus) notifySenders() { ps.changed.Notify() }

// run keeps one sender for each other member, and compares this node with its peers after each change.
func (ps *peerStatus) run() {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	for {
		ps.node.checkMembers()
		ps.updateSenders()
		ps.node.checkJoining()
		ps.node.checkState()
		select {
		case <-ps.ctx.Done():
			ps.wg.Wait()
			return
		case <-ticker.C:
		case <-ps.recheckJoining.C():
		case <-ps.changed.C():
			ps.mu.Lock()
			for _, s := range ps.senders {
				s.changed.Notify()
			}
			ps.mu.Unlock()
		}
	}
}

// updateSenders starts and ends senders so that each other member has one.
func (ps *peerStatus) updateSenders() {
	n := ps.node
	members := n.servers()
	present := make(map[string]Peer, len(members))
	for _, m := range members {
		if string(m.ID) != n.opts.ID {
			present[string(m.ID)] = Peer{string(m.ID), string(m.Address)}
		}
	}
	n.port.setPeers(n.recognised(members))
	isPresent := func(id string) bool { _, ok := present[id]; return ok }
	n.positions.keep(isPresent)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id, s := range ps.senders {
		if present[id] != s.peer {
			s.cancel()
			delete(ps.senders, id)
		}
	}
	maps.DeleteFunc(ps.latest, func(id string, _ peerMessage) bool { return !isPresent(id) })
	maps.DeleteFunc(ps.contacts, func(id string, _ contact) bool { return !isPresent(id) })
	maps.DeleteFunc(ps.rejectedBy, func(id string, _ bool) bool { return !isPresent(id) })
	ps.node.states.keep(isPresent)
	for id, peer := range present {
		if ps.senders[id] == nil {
			s := &peerSender{peer: peer, changed: notify.New(), urgent: notify.New()}
			var ctx context.Context
			ctx, s.cancel = context.WithCancel(ps.ctx)
			ps.senders[id] = s
			ps.wg.Go(func() { ps.keepSending(ctx, s) })
		}
	}
}

// latestFrom gives the newest message of a member; false if there is none.
func (ps *peerStatus) latestFrom(id string) (peerMessage, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	m, ok := ps.latest[id]
	return m, ok
}

// isRejected reports whether some peer says that this node is not a member of its cluster.
func (ps *peerStatus) isRejected() bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, rejected := range ps.rejectedBy {
		if rejected {
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
	stateRemoved     = "removed"
)

// stateWord is this node's state as its peers are told.
func (n *Node) stateWord() string {
	switch s := n.raft.State(); {
	case n.stores.disk.stalled.Load(): // raft's own answer is as old as the write that hangs
		return stateFollower
	case s == raft.Leader:
		return stateLeader
	case s == raft.Candidate:
		return stateCandidate
	}
	return stateFollower
}
