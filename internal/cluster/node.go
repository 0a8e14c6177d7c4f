// Package cluster is the only owner of *raft.Raft, its stores and its transport. It speaks the words of hm: Propose
// records, View the state, Now in hm time, Leadership, Members.
//
// What a node promises: a record whose Propose returned without an error is on the disks of a majority and is applied
// here (I5). A node that does not hear a majority for LeaseTimeout stops leading; one whose process was stalled may
// believe for the moment of waking that it still leads, so whoever is about to act on the outside asks VerifyLease
// first (I1). A node that lost its disk takes no part in elections until it holds again everything that it may ever
// have acknowledged (I8; see joining).
package cluster

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/app"
	"hm/internal/notify"
	"hm/raftfsm"
)

// Node is one member of the cluster. Its methods may be called from any goroutine.
type Node struct {
	opts   Options
	log    *sampledLog
	clock  *clock
	fsm    *raftfsm.FSM
	raft   *raft.Raft
	stores *stores
	port   *clusterPort
	trans  *guardedTransport
	stats  counters
	// replayed is the newest entry that the log held when this process began.
	replayed uint64

	// Propose and its two goroutines
	queue   chan *proposal
	slots   chan struct{} // one for each entry under way
	pending chan pendingEntry

	lead        atomic.Pointer[Leadership]
	leadChanged notify.Signal
	confirmed   atomic.Uint64 // newest term of which a barrier of this node's own was applied here
	transfers   atomic.Uint64 // leadership transfers begun
	stalls      atomic.Uint64 // times that the disk became stalled, or well again
	diskEvents  notify.Signal // watch is to look at once

	peerStatus *peerStatus
	join       *joining
	positions  *peerPositions

	states  stateComparison
	healing string // what was damaged, if this node joins because of that
	failure failure
	endRaft func() raft.Future // begins to end raft, once

	raftCalls chan struct{} // one for each question to raft under way
	closing   chan struct{} // closed first: nothing new is begun
	halted    chan struct{} // closed when raft has ended: no outcome will come any more
	landed    chan struct{} // closed when the last outcome was handed out
	wg        sync.WaitGroup
	closeOnce sync.Once
	haltOnce  sync.Once
	closeErr  error
}

// Open starts a node: it opens the stores under o.DataDir/raft, restores the newest snapshot, listens, and joins the
// cluster that o.Peers describes. It returns as soon as the node runs, mostly before there is a leader.
func Open(o Options) (_ *Node, err error) {
	o, err = o.complete()
	if err != nil {
		return nil, err
	}
	n := &Node{
		opts: o, clock: newClock(),
		log:   newSampledLog(o.Logger.With("module", "cluster")),
		queue: make(chan *proposal, maxQueued), slots: make(chan struct{}, maxPending), pending: make(chan pendingEntry, maxPending),
		leadChanged: notify.New(), raftCalls: make(chan struct{}, maxQuestions),
		diskEvents: notify.New(), closing: make(chan struct{}), halted: make(chan struct{}), landed: make(chan struct{}),
	}
	n.failure.failed = make(chan struct{})
	n.endRaft = sync.OnceValue(func() raft.Future { return n.raft.Shutdown() })
	n.lead.Store(&Leadership{Since: time.Now()})
	n.fsm = raftfsm.NewFSM(n.applied)

	if n.port, err = listen(o, n.log); err != nil {
		return nil, err
	}
	if n.stores, err = openStores(o, n.log); err != nil {
		_ = n.port.Close()
		return nil, explainAccess(o.DataDir, err)
	}
	if err := n.start(); err != nil {
		if n.trans != nil {
			_ = n.trans.Close()
		}
		_ = n.port.Close()
		return nil, explainAccess(o.DataDir, errors.Join(err, n.stores.close()))
	}
	return n, nil
}

// transportTimeout bounds one exchange between two nodes, and the dialling before it. It must leave time for a batch
// of full entries to reach a slow disk, and yet end soon after a link went dead, or the peer would be missed for
// long after the link healed.
func transportTimeout(o Options) time.Duration { return max(2*time.Second, 4*o.ElectionTimeout) }

// maxAppend is how many entries go to a follower in one message: times MaxEntry, at most 16 MiB.
const maxAppend = 32

func (n *Node) start() error {
	o := n.opts
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(o.ID)
	conf.HeartbeatTimeout = o.HeartbeatTimeout
	conf.ElectionTimeout = o.ElectionTimeout
	conf.LeaderLeaseTimeout = o.LeaseTimeout
	conf.SnapshotInterval = o.SnapshotInterval
	conf.SnapshotThreshold = o.SnapshotThreshold
	conf.TrailingLogs = o.trailingLogs
	conf.MaxAppendEntries = maxAppend
	conf.NoLegacyTelemetry = true
	conf.ShutdownOnRemove = false // a removed node stays up as a follower of nobody, and says so
	conf.Logger = n.log.forRaft()

	var err error
	if n.join, err = n.stores.joining(o); err != nil {
		return err
	}
	if n.join.active.Load() {
		n.healing = healing(n.join.marker)
	}
	n.stores.disk.changed = n.diskChanged
	n.positions = loadPeerPositions(n.stores.dir, n.log)
	n.trans = newGuardedTransport(&retryTransport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.port, MaxPool: maxPool, Timeout: transportTimeout(o), Logger: conf.Logger,
		ServerAddressProvider: addressBook(o.Peers), MsgpackUseNewTimeFormat: true,
	})}, n.join, n.positions, n.stores.disk)
	if err := n.stores.found(o.Peers, o.Logger); err != nil {
		return err
	}
	if n.replayed, err = n.stores.log.LastIndex(); err != nil {
		return fmt.Errorf("node.data_dir: reading the end of the log in %s: %w", n.stores.dir, err)
	}
	if err := n.newRaft(conf); err != nil {
		return err
	}
	if err := n.checkMembership(); err != nil {
		ended := n.raft.Shutdown()
		n.stores.disk.close()
		_ = ended.Error() // the error to tell is the one at hand
		return err
	}
	n.peerStatus = newPeerStatus(n)
	n.port.serve(n.peerStatus.receive)
	if o.exposed() != "" && !o.TLS.Enabled() {
		o.Logger.Warn("raft.insecure is true: the cluster port is open beyond loopback without TLS, and whoever can reach it can change the record",
			"module", "cluster", "listen", o.Listen, "advertise", o.Advertise)
	}
	observations := make(chan raft.Observation, 16)
	n.raft.RegisterObserver(raft.NewObserver(observations, false, func(ob *raft.Observation) bool {
		switch ob.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	}))
	n.wg.Go(func() { n.stores.disk.watch(n.halted) })
	n.wg.Go(n.watchDisk)
	n.wg.Go(n.replaceLostSnapshots)
	n.wg.Go(n.batch)
	go n.land()
	n.wg.Go(func() { n.watch(observations) })
	n.wg.Go(n.peerStatus.run)
	n.wg.Go(func() { n.positions.run(n.peerStatus.ctx) })
	return nil
}

// checkMembership refuses a data directory that belongs to somebody else, and tells of a configuration that differs
// from what the log says, which counts.
func (n *Node) checkMembership() error {
	members, err := n.configuration()
	if err != nil {
		return err
	}
	logged := make(map[string]bool, len(members))
	for _, m := range members {
		logged[string(m.ID)] = true
	}
	differs := len(members) != len(n.opts.Peers)
	for _, p := range n.opts.Peers {
		differs = differs || !logged[p.ID]
	}
	if !logged[n.opts.ID] {
		return fmt.Errorf("%s records a cluster of %v, of which node.id %s is no member: the directory belongs to another node, or this one was removed",
			n.stores.dir, memberIDs(members), n.opts.ID)
	}
	if differs {
		n.opts.Logger.Warn("raft.peers differs from the members that the log records; the log counts",
			"module", "cluster", "recorded", memberIDs(members), "configured", len(n.opts.Peers))
	}
	return nil
}

// applied runs on the goroutine that applies entries.
func (n *Node) applied(a raftfsm.Applied) {
	if a.Restored {
		n.states.reset()
		n.clock.applied(n.fsm.View().Time(), a.Term)
	} else if a.Result.Err == nil {
		n.clock.applied(a.Entry.At, a.Term)
	}
	if !a.Restored {
		n.states.applied(a.Index, a.Hash)
	}
	if n.opts.OnApply != nil {
		a.Replayed = a.Index <= n.replayed
		n.opts.OnApply(a)
	}
}

// View gives the newest applied state, frozen. It costs microseconds after an entry was applied and nothing else.
func (n *Node) View() *raftfsm.State { return n.fsm.View() }

// Now gives hm time: the time of the newest applied entry plus the monotonic time since it was applied here. Before
// the first entry it is the wall clock's. It never goes back while the node runs, except from the wall clock to the
// log's time at the first entry. Time in which no node ran does not count.
func (n *Node) Now() app.Time { return n.clock.now() }
