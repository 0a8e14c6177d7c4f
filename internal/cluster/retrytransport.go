package cluster

import (
	"errors"
	"io"

	"github.com/hashicorp/raft"
)

// maxPool is the number of unused connections that raft keeps to each peer.
const maxPool = 3

// retryTransport is raft's transport. It sends a request again over another connection if the first one was silent for
// too long.
type retryTransport struct{ *raft.NetworkTransport }

func retry(ask func() error) (err error) {
	for range maxPool + 1 { // all connections of the pool, and a new one
		if err = ask(); !errors.Is(err, errQuiet) {
			break
		}
	}
	return err
}

// AppendEntries sends entries, or a heartbeat.
func (t *retryTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return retry(func() error { return t.NetworkTransport.AppendEntries(id, target, args, resp) })
}

// RequestVote asks a peer for its vote.
func (t *retryTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return retry(func() error { return t.NetworkTransport.RequestVote(id, target, args, resp) })
}

// RequestPreVote asks a peer whether it would vote for this node.
func (t *retryTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return retry(func() error { return t.NetworkTransport.RequestPreVote(id, target, args, resp) })
}

// InstallSnapshot sends a snapshot. If the connection was silent for too long, nothing was read from data.
func (t *retryTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return retry(func() error { return t.NetworkTransport.InstallSnapshot(id, target, args, resp, data) })
}

// TimeoutNow asks a peer to stand for election at once.
func (t *retryTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return retry(func() error { return t.NetworkTransport.TimeoutNow(id, target, args, resp) })
}
