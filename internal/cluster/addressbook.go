package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// addressBook gives the configured address of a member precedence over the recorded one, so that a member may move
// by a change of raft.peers.
type addressBook []Peer

// ServerAddr finds a member's address for raft.
func (b addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	for _, p := range b {
		if p.ID == string(id) {
			return raft.ServerAddress(p.Address), nil
		}
	}
	return "", fmt.Errorf("raft.peers does not name %s", id)
}

func (b addressBook) of(s raft.Server) string {
	if address, err := b.ServerAddr(s.ID); err == nil {
		return string(address)
	}
	return string(s.Address)
}
