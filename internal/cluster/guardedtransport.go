package cluster

import (
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// guardedTransport is raft's transport, through which this node takes part in no election that it must keep out of:
// while it is joining, and with a member that it has not yet compared memories with.
//
// While the disk is stalled it carries nothing. Raft's own goroutine is stuck in a write then, and cannot give up the
// leadership; but the peers elect another leader when they hear no more of this one, and whoever leads must see that
// this node takes nothing in.
type guardedTransport struct {
	*retryTransport
	join      *joining
	positions *peerPositions
	disk      *disk
	consumer  chan raft.RPC
	done      chan struct{}
	once      sync.Once
	wg        sync.WaitGroup
}

func newGuardedTransport(inner *retryTransport, join *joining, positions *peerPositions, disk *disk) *guardedTransport {
	t := &guardedTransport{retryTransport: inner, join: join, positions: positions, disk: disk, consumer: make(chan raft.RPC), done: make(chan struct{})}
	t.wg.Go(func() { t.forward(inner.Consumer()) })
	return t
}

// mayElect says why this node must keep out of elections with another; nil if it need not.
func (t *guardedTransport) mayElect(id string) error {
	if err := t.maySpeak(); err != nil {
		return err
	}
	if t.join.active.Load() {
		return errJoining
	}
	return t.positions.mayElect(id)
}

// mayStand says why this node must not stand for election with another's vote; nil if it may.
func (t *guardedTransport) mayStand(id string) error {
	if t.disk.tight.Load() {
		return errDiskTight
	}
	return t.mayElect(id)
}

// maySpeak says why this node must keep silent; nil if it need not.
func (t *guardedTransport) maySpeak() error {
	if t.disk.stalled.Load() {
		return errDiskStalled
	}
	return nil
}

func (t *guardedTransport) forward(from <-chan raft.RPC) {
	for {
		select {
		case rpc := <-from:
			stalled := t.disk.untilStalled()
			if id, ok := electionFrom(rpc.Command); ok {
				may := t.mayElect
				if _, stand := rpc.Command.(*raft.TimeoutNowRequest); stand {
					may = t.mayStand
				}
				if err := may(id); err != nil {
					rpc.Respond(nil, err)
					continue
				}
			}
			select {
			case t.consumer <- rpc:
			case <-stalled:
				t.refuse(rpc)
			case <-t.done:
				return
			}
		case <-t.done:
			return
		}
	}
}

// refuse answers a request that raft does not get to see. What follows the request on its connection is read away.
func (t *guardedTransport) refuse(rpc raft.RPC) {
	if rpc.Reader == nil {
		rpc.Respond(nil, errDiskStalled)
		return
	}
	t.wg.Go(func() {
		_, _ = io.Copy(io.Discard, rpc.Reader) // it ends with the connection at the latest
		rpc.Respond(nil, errDiskStalled)
	})
}

// Consumer gives raft the requests of its peers.
func (t *guardedTransport) Consumer() <-chan raft.RPC { return t.consumer }

// SetHeartbeatHandler has heartbeats answered past the consumer.
func (t *guardedTransport) SetHeartbeatHandler(answer func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		if err := t.maySpeak(); err != nil {
			rpc.Respond(nil, err)
			return
		}
		answer(rpc)
	})
}

// AppendEntries sends entries to a peer, or a heartbeat.
func (t *guardedTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := t.maySpeak(); err != nil {
		return err
	}
	return t.retryTransport.AppendEntries(id, target, args, resp)
}

// AppendEntriesPipeline opens a way to send entries to a peer without waiting for each answer.
func (t *guardedTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if err := t.maySpeak(); err != nil {
		return nil, err
	}
	p, err := t.retryTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return &guardedPipeline{p, t}, nil
}

// guardedPipeline is a pipeline that takes no more when the node must keep silent.
type guardedPipeline struct {
	raft.AppendPipeline
	trans *guardedTransport
}

// AppendEntries sends entries to the peer.
func (p *guardedPipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if err := p.trans.maySpeak(); err != nil {
		return nil, err
	}
	return p.AppendPipeline.AppendEntries(args, resp)
}

// InstallSnapshot sends a peer a snapshot.
func (t *guardedTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if err := t.maySpeak(); err != nil {
		return err
	}
	return t.retryTransport.InstallSnapshot(id, target, args, resp, data)
}

// RequestVote asks a peer for its vote.
func (t *guardedTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if err := t.mayStand(string(id)); err != nil {
		return err
	}
	return t.retryTransport.RequestVote(id, target, args, resp)
}

// RequestPreVote asks a peer whether it would vote for this node.
func (t *guardedTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if err := t.mayStand(string(id)); err != nil {
		return err
	}
	return t.retryTransport.RequestPreVote(id, target, args, resp)
}

// TimeoutNow has a peer ask for votes at once: leadership is handed over to it.
func (t *guardedTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	if err := t.mayElect(string(id)); err != nil {
		return err
	}
	return t.retryTransport.TimeoutNow(id, target, args, resp)
}

// Close ends the transport. It does not wait; wait does.
func (t *guardedTransport) Close() error {
	t.once.Do(func() { close(t.done) })
	return t.retryTransport.Close()
}

func (t *guardedTransport) wait() { t.wg.Wait() }

// electionFrom gives the id of the member that sent an election's request; false if the request is of another kind.
func electionFrom(command any) (id string, ok bool) {
	switch command.(type) {
	case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest, *raft.TimeoutNowRequest:
	default:
		return "", false
	}
	header := command.(raft.WithRPCHeader).GetRPCHeader()
	return string(header.ID), true
}
