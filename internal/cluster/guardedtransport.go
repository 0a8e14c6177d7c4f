package cluster

import (
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// guardedTransport is raft's transport. While this node is joining, it keeps the node out of elections and from following
// a leader that may have been deposed. It keeps the node out of elections with a member with which it has not yet compared
// log positions.
//
// While the disk is stalled it sends and accepts nothing. Raft's main goroutine waits for a write then and cannot give
// up the leadership. But the peers elect another leader when this node is silent, and a leader sees that this node
// stores nothing.
type guardedTransport struct {
	*retryTransport
	join      *joining
	positions *peerPositions
	disk      *disk
	readable  func(id raft.ServerID, snapshot io.Reader) (io.Reader, error) // see Node.readableBy
	lost      func(id string) bool                                          // whether nothing may be taken from a node
	consumer  chan raft.RPC
	done      chan struct{}
	once      sync.Once
	wg        sync.WaitGroup
}

func newGuardedTransport(inner *retryTransport, join *joining, positions *peerPositions, disk *disk, lost func(id string) bool) *guardedTransport {
	t := &guardedTransport{retryTransport: inner, join: join, positions: positions, disk: disk, lost: lost, consumer: make(chan raft.RPC), done: make(chan struct{})}
	t.wg.Go(func() { t.forward(inner.Consumer()) })
	return t
}

// mayElect gives the reason why this node must not take part in an election with another; nil if it may.
func (t *guardedTransport) mayElect(id string) error {
	if err := t.maySend(); err != nil {
		return err
	}
	if t.lost(id) {
		return errLostMember
	}
	if t.join.active.Load() {
		return errJoining
	}
	return t.positions.mayElect(id)
}

// mayStand gives the reason why this node must not stand for election with another's vote; nil if it may.
func (t *guardedTransport) mayStand(id string) error {
	if t.disk.tight.Load() {
		return errDiskTight
	}
	return t.mayElect(id)
}

// maySend gives the reason why this node must not send anything; nil if it may.
func (t *guardedTransport) maySend() error {
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
			} else if err := t.mayFollow(rpc.Command); err != nil {
				t.refuse(rpc, err)
				continue
			}
			select {
			case t.consumer <- rpc:
			case <-stalled:
				t.refuse(rpc, errDiskStalled)
			case <-t.done:
				return
			}
		case <-t.done:
			return
		}
	}
}

// mayFollow gives the reason why this node must not take what a leader sends; nil if it may, or if the request is of
// another kind.
func (t *guardedTransport) mayFollow(command any) error {
	term := uint64(0)
	switch c := command.(type) {
	case *raft.AppendEntriesRequest:
		term = c.Term
	case *raft.InstallSnapshotRequest:
		term = c.Term
	default:
		return nil
	}
	if t.lost(string(command.(raft.WithRPCHeader).GetRPCHeader().ID)) {
		return errLostMember
	}
	return t.join.mayFollow(term)
}

// refuse answers a request that raft does not see. It also reads a body that follows the request on its connection.
func (t *guardedTransport) refuse(rpc raft.RPC, why error) {
	if rpc.Reader == nil {
		rpc.Respond(nil, why)
		return
	}
	t.wg.Go(func() {
		_, _ = io.Copy(io.Discard, rpc.Reader) // ends when the connection does, at the latest
		rpc.Respond(nil, why)
	})
}

// Consumer gives raft the requests of its peers.
func (t *guardedTransport) Consumer() <-chan raft.RPC { return t.consumer }

// SetHeartbeatHandler sets the function that answers heartbeats, which do not go through the consumer.
func (t *guardedTransport) SetHeartbeatHandler(answer func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		err := t.maySend()
		if err == nil {
			err = t.mayFollow(rpc.Command)
		}
		if err != nil {
			rpc.Respond(nil, err)
			return
		}
		answer(rpc)
	})
}

// AppendEntries sends entries to a peer, or a heartbeat.
func (t *guardedTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := t.maySend(); err != nil {
		return err
	}
	return t.retryTransport.AppendEntries(id, target, args, resp)
}

// AppendEntriesPipeline opens a way to send entries to a peer without waiting for each answer.
func (t *guardedTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if err := t.maySend(); err != nil {
		return nil, err
	}
	p, err := t.retryTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return &guardedPipeline{p, t}, nil
}

// guardedPipeline is a pipeline that sends nothing while the node must not.
type guardedPipeline struct {
	raft.AppendPipeline
	trans *guardedTransport
}

// AppendEntries sends entries to the peer.
func (p *guardedPipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if err := p.trans.maySend(); err != nil {
		return nil, err
	}
	return p.AppendPipeline.AppendEntries(args, resp)
}

// InstallSnapshot sends a peer a snapshot.
func (t *guardedTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if err := t.maySend(); err != nil {
		return err
	}
	data, err := t.readable(id, data)
	if err != nil {
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

// TimeoutNow makes a peer stand for election at once: leadership is handed over to it.
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
