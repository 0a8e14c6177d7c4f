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
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"hm/internal/app"
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
	stream *stream
	trans  *guardedTransport
	stats  counters
	// replayed is the newest entry that the log held when this process began.
	replayed uint64

	// Propose and its two goroutines
	queue   chan *proposal
	slots   chan struct{} // one for each entry under way
	flights chan flight

	lead        atomic.Pointer[Leadership]
	leadChanged chan struct{}
	confirmed   atomic.Uint64 // newest term of which a barrier of this node's own was applied here
	transfers   atomic.Uint64 // leadership transfers begun
	stalls      atomic.Uint64 // times that the disk became stalled, or well again
	looks       chan struct{} // watch is to look at once

	gossip *gossip
	join   *joining
	memory *memory

	states  stateWatch
	healing string // what was damaged, if this node joins because of that
	failure failure
	endRaft func() raft.Future // begins to end raft, once

	asking    chan struct{} // one for each question to raft under way
	closing   chan struct{} // closed first: nothing new is begun
	halted    chan struct{} // closed when raft has ended: no outcome will come any more
	landed    chan struct{} // closed when the last outcome was handed out
	wg        sync.WaitGroup
	closeOnce sync.Once
	haltOnce  sync.Once
	closeErr  error
}

type counters struct{ proposals, entries, bytes, messages, badMessages, badNumbers atomic.Uint64 }

// Stats are running totals since Open.
type Stats struct {
	Proposals    uint64 // calls of Propose that were let in
	Entries      uint64 // entries that they became, on this node as leader
	EntryBytes   uint64
	Refused      uint64 // connections on the cluster port that were closed for what they sent or did not send
	PeerMessages uint64 // messages of peers taken in
	BadMessages  uint64 // messages of peers that were refused
	BadNumbers   uint64 // numbers in messages of peers that were passed over, as they cannot be true
}

// Stats gives the running totals.
func (n *Node) Stats() Stats {
	return Stats{
		Proposals: n.stats.proposals.Load(), Entries: n.stats.entries.Load(), EntryBytes: n.stats.bytes.Load(),
		Refused: n.stream.refused.Load(), PeerMessages: n.stats.messages.Load(), BadMessages: n.stats.badMessages.Load(),
		BadNumbers: n.stats.badNumbers.Load(),
	}
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
		queue: make(chan *proposal, maxQueued), slots: make(chan struct{}, maxInFlight), flights: make(chan flight, maxInFlight),
		leadChanged: make(chan struct{}, 1), asking: make(chan struct{}, maxQuestions),
		looks: make(chan struct{}, 1), closing: make(chan struct{}), halted: make(chan struct{}), landed: make(chan struct{}),
	}
	n.failure.failed = make(chan struct{})
	n.endRaft = sync.OnceValue(func() raft.Future { return n.raft.Shutdown() })
	n.lead.Store(&Leadership{Since: time.Now()})
	n.fsm = raftfsm.NewFSM(n.applied)

	if n.stream, err = listen(o, n.log); err != nil {
		return nil, err
	}
	if n.stores, err = openStores(o, n.log); err != nil {
		_ = n.stream.Close()
		return nil, err
	}
	if err := n.start(); err != nil {
		if n.trans != nil {
			_ = n.trans.Close()
		}
		_ = n.stream.Close()
		return nil, errors.Join(err, n.stores.close())
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
	n.memory = recallMemory(n.stores.dir, n.log)
	n.trans = newGuardedTransport(&freshTransport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.stream, MaxPool: maxPool, Timeout: transportTimeout(o), Logger: conf.Logger,
		ServerAddressProvider: addressBook(o.Peers), MsgpackUseNewTimeFormat: true,
	})}, n.join, n.memory, n.stores.disk)
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
	n.gossip = newGossip(n)
	n.stream.serve(n.gossip.receive)
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
	n.wg.Go(n.batch)
	go n.land()
	n.wg.Go(func() { n.watch(observations) })
	n.wg.Go(n.gossip.run)
	n.wg.Go(func() { n.memory.run(n.gossip.ctx) })
	return nil
}

// watchDisk stops the node when its disk has failed for good.
func (n *Node) watchDisk() {
	select {
	case <-n.stores.disk.failed:
		n.fail(fmt.Errorf("node.data_dir: the disk failed: %w", n.stores.disk.trouble()))
	case <-n.halted:
	}
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

// diskChanged is called when the disk is about to be stalled, or well again. Whoever was leader must show anew that it
// is. It must not block.
func (n *Node) diskChanged() {
	n.stalls.Add(1)
	n.confirmed.Store(0)
	poke(n.looks)
}

// DiskTrouble says for how long the disk has taken nothing in, and why; 0 and nil if it does.
func (n *Node) DiskTrouble() (stalled time.Duration, err error) {
	return n.stores.disk.stalledFor(), n.stores.disk.trouble()
}

// Close ends the node: proposals under way get up to two election timeouts to land, a leader hands over, then
// everything stops, and Close returns when it has. If the disk does not answer, nothing is handed over, and Close
// returns an error after two election timeouts; what is stuck then ends with the write that it waits for. It may be
// called again.
func (n *Node) Close() error { return n.close(true) }

func (n *Node) close(graceful bool) error {
	n.closeOnce.Do(func() {
		close(n.closing)
		if graceful && !n.stores.disk.stalled.Load() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*n.opts.ElectionTimeout)
			release(n.slots, fill(ctx, n.slots))
			if n.raft.State() == raft.Leader && len(n.voters()) > 1 {
				if err := n.transfer(ctx); err != nil {
					n.log.log(slog.LevelInfo, "", "closing as leader without a hand-over", "error", err)
				}
			}
			// Raft forgets to answer what it was asked when it is shut down: let nothing be under way then.
			fill(ctx, n.slots)
			fill(ctx, n.asking)
			cancel()
		}
		// Shutting raft down waits for exchanges with peers; closing the connections ends those at once.
		raftEnded := n.endRaft()
		n.stores.disk.close()
		n.trans.CloseStreams()
		closed := n.stream.Close()
		n.gossip.close()
		ended := make(chan error, 1)
		go func() { ended <- errors.Join(closed, n.end(raftEnded)) }()
		n.closeErr = n.awaitEnd(ended)
	})
	return n.closeErr
}

// end waits until everything has stopped, and closes the stores.
func (n *Node) end(raftEnded raft.Future) error {
	err := n.waitRaft(raftEnded)
	n.haltOnce.Do(func() { close(n.halted) })
	select {
	case <-n.landed:
	case <-time.After(n.opts.ElectionTimeout): // waits for an answer that raft forgot
	}
	n.trans.wait()
	n.wg.Wait()
	n.stream.wait()
	return errors.Join(err, n.closeStores())
}

// awaitEnd waits for end, but not without a bound: a write that hangs cannot be called off.
func (n *Node) awaitEnd(ended <-chan error) error {
	began := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-ticker.C:
		}
		trouble := n.stores.disk.trouble()
		lasted := time.Since(began)
		switch {
		case trouble != nil && lasted > 2*n.opts.ElectionTimeout:
		case lasted > closeWithin:
			trouble = fmt.Errorf("something in %s has not ended after %s", n.stores.dir, lasted.Round(time.Second))
		default:
			continue
		}
		n.haltOnce.Do(func() { close(n.halted) })
		_ = n.trans.Close()
		return fmt.Errorf("closing gave up: %w", trouble)
	}
}

// closeWithin bounds the wait for what does not go through raft.db: snapshots and small files.
const closeWithin = 20 * time.Second

// fill takes every place of a semaphore, which shows that nothing holds one any more, and gives how many it got
// before ctx ended.
func fill(ctx context.Context, places chan struct{}) (taken int) {
	for taken < cap(places) {
		select {
		case places <- struct{}{}:
			taken++
		case <-ctx.Done():
			return taken
		}
	}
	return taken
}

func release(places chan struct{}, n int) {
	for range n {
		<-places
	}
}
