// Package cluster is the only owner of *raft.Raft, its stores and its transport. It offers them in hm's terms: Propose
// records, View the state, Now in hm time, Leadership, Members.
//
// A node promises:
//   - If Propose returns without an error, the records are on the disks of a majority and applied on this node (I5).
//   - A node that has no contact with a majority for LeaseTimeout stops leading. A process that was stalled may take
//     itself for the leader for a moment when it resumes. So call VerifyLease before an action on the outside (I1).
//   - A node that lost its disk takes part in no election until it has everything that it may have acknowledged (I8;
//     see joining).
//
// Files whose names begin with peer exchange status with the other nodes; with port, they serve the TCP port; with
// disk, checked and bolt, they store the log.
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
	waits  *peerWaits
	stats  counters
	growth *logGrowth
	// replayed is the newest entry that the log had when this process started.
	replayed        uint64
	replayedCommand uint64 // the newest of these that changes the record

	// For Propose and its two goroutines.
	queue   chan *proposal
	slots   chan struct{} // one value for each pending entry
	pending chan pendingEntry

	lead        atomic.Pointer[Leadership]
	leadChanged notify.Signal
	confirmed   atomic.Uint64 // newest term in which this node's own barrier was applied here
	transfers   atomic.Uint64 // leadership transfers begun
	restores    atomic.Uint64 // restores begun
	handingOver atomic.Int32  // leadership transfers under way
	diskChanges atomic.Uint64 // times that the disk stalled, responded again, filled up or got room again
	diskChanged notify.Signal // notifies watch of such a change

	peerStatus *peerStatus
	join       *joining
	positions  *peerPositions

	membership membership

	states  stateComparison
	healing string // what was damaged, if this node joins because of damage
	failure failure
	endRaft func() raft.Future // begins to shut raft down, once

	restoring chan struct{} // one value while a snapshot is restored
	raftCalls chan struct{} // one value for each call of askRaft under way
	closing   chan struct{} // closed first: nothing new begins
	halted    chan struct{} // closed when raft has ended: no further outcome will arrive
	delivered chan struct{} // closed when the last outcome was delivered
	wg        sync.WaitGroup
	closeOnce sync.Once
	haltOnce  sync.Once
	closeErr  error
}

// Open starts a node: it opens the stores in o.DataDir/raft, restores the newest snapshot, listens, and joins the
// cluster that o.Peers describes. It returns when the node runs, which is usually before there is a leader. An error
// that has a Remedy method says what to do about it; see Damage and DataDirError.
func Open(o Options) (_ *Node, err error) {
	o, err = o.complete()
	if err != nil {
		return nil, err
	}
	if o, err = o.recall(); err != nil {
		return nil, explainAccess(o.DataDir, err)
	}
	n := &Node{
		opts: o, clock: newClock(),
		log:   newSampledLog(o.Logger.With("module", "cluster")),
		queue: make(chan *proposal, maxQueued), slots: make(chan struct{}, maxPending), pending: make(chan pendingEntry, maxPending),
		leadChanged: notify.New(), raftCalls: make(chan struct{}, maxRaftCalls), restoring: make(chan struct{}, 1),
		diskChanged: notify.New(), closing: make(chan struct{}), halted: make(chan struct{}), delivered: make(chan struct{}),
	}
	n.failure.failed = make(chan struct{})
	n.waits = newPeerWaits(o.HeartbeatTimeout/2, n.leadsIn, n.replicatesTo)
	n.endRaft = sync.OnceValue(func() raft.Future {
		defer n.waits.end()
		return n.raft.Shutdown()
	})
	n.lead.Store(&Leadership{Since: time.Now()})
	n.fsm = raftfsm.NewFSM(n.applied)
	n.membership.file, n.membership.changed, n.membership.changing = o.known, notify.New(), make(chan struct{}, 1)

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
	n.noteVersion()
	return n, nil
}

// transportTimeout bounds one exchange between two nodes, and the connecting before it. It must be long enough to write
// a batch of full entries to a slow disk. It must be short enough to notice a dead link soon: a peer counts as missing
// until the exchange ends, even if the link works again before.
func transportTimeout(o Options) time.Duration { return max(2*time.Second, 4*o.ElectionTimeout) }

// maxAppend is the number of entries in one message to a follower: with MaxEntry bytes each, at most 16 MiB.
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
	conf.ShutdownOnRemove = false // a removed node goes on as a follower without a leader, and says so
	conf.Logger = n.log.forRaft()

	var err error
	if n.join, err = n.stores.joining(o); err != nil {
		return err
	}
	if n.join.active.Load() {
		n.healing = healing(n.join.marker)
	}
	n.stores.disk.changed = n.noteDiskChange
	n.positions = loadPeerPositions(n.stores.dir, n.log)
	n.trans = newGuardedTransport(&retryTransport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.port, MaxPool: maxPool, Timeout: transportTimeout(o), Logger: conf.Logger,
		MsgpackUseNewTimeFormat: true,
	})}, n.join, n.positions, n.stores.disk, n.isLost)
	n.trans.readable = n.readableBy
	if err := n.stores.initialize(o, o.Logger); err != nil {
		return err
	}
	if n.replayed, err = n.stores.log.LastIndex(); err != nil {
		return fmt.Errorf("node.data_dir: reading the end of the log in %s: %w", n.stores.dir, err)
	}
	n.replayedCommand = lastCommand(n.stores.log, n.replayed)
	if err := n.newRaft(conf); err != nil {
		return err
	}
	if err := n.checkOwnership(); err != nil {
		ended := n.endRaft()
		n.stores.disk.close()
		_ = ended.Error() // err is the cause
		return err
	}
	n.peerStatus = newPeerStatus(n)
	n.port.serve(n.peerStatus.receive)
	if o.exposed() != "" && !o.TLS.Enabled() {
		o.Logger.Warn("raft.insecure is true: the cluster port is open beyond loopback without TLS, so everybody who can reach it can change the record",
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
	n.wg.Go(n.compactStore)
	n.wg.Go(n.replaceLostSnapshots)
	n.wg.Go(n.snapshotBySize)
	n.wg.Go(n.batch)
	go n.deliver()
	n.wg.Go(func() { n.watch(observations) })
	n.wg.Go(n.peerStatus.run)
	n.wg.Go(n.tendMembers)
	n.wg.Go(func() { n.positions.run(n.peerStatus.ctx) })
	n.startFuture()
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
		n.stores.snapshots.tooNew.Store(nil) // it follows again
		n.states.applied(a.Index, a.Hash)
	}
	if n.opts.OnApply != nil {
		a.Replayed = a.Index <= n.replayed
		n.opts.OnApply(a)
	}
}

// View gives the newest applied state, frozen. The first call after an entry takes microseconds, further calls nothing.
func (n *Node) View() *raftfsm.State { return n.fsm.View() }

// Now gives hm time: the time of the newest applied entry plus the monotonic time since it was applied here. Before the
// first entry it is the wall clock's time. A follower sets it by its leader's, so it may go back on a node that does not
// lead; it never does on a leader. Time in which no node ran does not count.
func (n *Node) Now() app.Time { return n.clock.now() }

// Replaying reports whether this node still has to apply entries that its log had when it was started. It cannot know that
// they are committed before a leader says so, and until then its record is older than the one that it had.
func (n *Node) Replaying() bool { return n.View().Index() < n.replayedCommand }

// lastCommand gives the newest entry up to last that changes the record; 0 if the log has none, or if it cannot be read,
// which raft will find, too.
func lastCommand(log raft.LogStore, last uint64) uint64 {
	first, err := log.FirstIndex()
	for i := last; err == nil && i >= max(first, 1); i-- {
		var l raft.Log
		if err = log.GetLog(i, &l); err == nil && l.Type == raft.LogCommand {
			return i
		}
	}
	return 0
}

// KnowsTime reports whether this node has led, or has set its clock by a leader's, since it was started. Until then Now is
// behind by the time since the newest entry was stamped, which may be hours.
func (n *Node) KnowsTime() bool { return n.clock.ofTerm.Load() != 0 }
