package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// addressBook finds a member's address. The address in raft.peers counts before the recorded one, so that a member can
// move by a change of raft.peers.
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
