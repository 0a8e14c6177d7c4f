package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// guardedTransport is raft's transport, through which this node takes part in no election that it must keep out of:
// while it is joining, and with a member that it has not yet compared memories with.
type guardedTransport struct {
	*raft.NetworkTransport
	join     *joining
	memory   *memory
	consumer chan raft.RPC
	done     chan struct{}
	once     sync.Once
	wg       sync.WaitGroup
}

func newGuardedTransport(inner *raft.NetworkTransport, join *joining, memory *memory) *guardedTransport {
	t := &guardedTransport{NetworkTransport: inner, join: join, memory: memory, consumer: make(chan raft.RPC), done: make(chan struct{})}
	t.wg.Go(func() { t.forward(inner.Consumer()) })
	return t
}

// mayElect says why this node must keep out of elections with another; nil if it need not.
func (t *guardedTransport) mayElect(id string) error {
	if t.join.active.Load() {
		return errJoining
	}
	return t.memory.mayElect(id)
}

func (t *guardedTransport) forward(from <-chan raft.RPC) {
	for {
		select {
		case rpc := <-from:
			if id, ok := electionFrom(rpc.Command); ok {
				if err := t.mayElect(id); err != nil {
					rpc.Respond(nil, err)
					continue
				}
			}
			select {
			case t.consumer <- rpc:
			case <-t.done:
				return
			}
		case <-t.done:
			return
		}
	}
}

// Consumer gives raft the requests of its peers.
func (t *guardedTransport) Consumer() <-chan raft.RPC { return t.consumer }

// RequestVote asks a peer for its vote.
func (t *guardedTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if err := t.mayElect(string(id)); err != nil {
		return err
	}
	return t.NetworkTransport.RequestVote(id, target, args, resp)
}

// RequestPreVote asks a peer whether it would vote for this node.
func (t *guardedTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if err := t.mayElect(string(id)); err != nil {
		return err
	}
	return t.NetworkTransport.RequestPreVote(id, target, args, resp)
}

// TimeoutNow has a peer ask for votes at once: leadership is handed over to it.
func (t *guardedTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	if err := t.mayElect(string(id)); err != nil {
		return err
	}
	return t.NetworkTransport.TimeoutNow(id, target, args, resp)
}

// Close ends the transport. It does not wait; wait does.
func (t *guardedTransport) Close() error {
	t.once.Do(func() { close(t.done) })
	return t.NetworkTransport.Close()
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
