package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"hm/internal/config/limits"
)

// Peer is one node of the cluster.
type Peer struct {
	ID      string
	Address string // host:port
}

// PeerList parses raft.peers. An empty list stands for a single node. Otherwise the list must have 1, 3 or 5 nodes, each
// with its own id and address; with raft.join any number. An error completes the sentence "want ...".
func (r Raft) PeerList() ([]Peer, error) {
	list := make([]Peer, 0, len(r.Peers))
	ids, addresses := map[string]bool{}, map[string]bool{}
	for _, s := range r.Peers {
		p, err := parsePeer(s)
		if err != nil {
			return nil, err
		}
		if ids[p.ID] || addresses[p.Address] {
			return nil, fmt.Errorf("unique ids and addresses: the id or the address of %s occurs twice", s)
		}
		ids[p.ID], addresses[p.Address] = true, true
		list = append(list, p)
	}
	switch len(list) {
	case 0, 1, 3, 5:
		return list, nil
	}
	if r.Join {
		return list, nil
	}
	return nil, fmt.Errorf("1, 3 or 5 nodes, not %d: with an even number the cluster survives no more failures "+
		"than with one node less", len(list))
}

func parsePeer(s string) (Peer, error) {
	id, address, ok := strings.Cut(s, "=")
	if !ok || limits.NodeID(id) != nil {
		return Peer{}, errors.New("id=host:port")
	}
	if _, _, err := limits.Reachable(address); err != nil {
		return Peer{}, errors.New("id=host:port")
	}
	return Peer{id, address}, nil
}

// RaftAddress is where the peers reach this node.
func (c Config) RaftAddress() string {
	if c.Raft.Advertise != "" {
		return c.Raft.Advertise
	}
	return c.Raft.Listen
}

// APIAddress is the address at which other machines reach the API of this node. listening is where the API listens:
// api.listen with the real port. The result is empty if only this machine can reach the API. It is for people and their
// tools; the nodes do not use it between themselves.
func (c Config) APIAddress(listening string) string {
	if c.API.Advertise != "" {
		return c.API.Advertise
	}
	host, port, err := limits.HostPort(listening)
	raftHost, _, raftErr := limits.HostPort(c.RaftAddress())
	switch {
	case err == nil && raftErr == nil && limits.Wildcard(host):
		return net.JoinHostPort(raftHost, strconv.Itoa(port))
	case limits.Loopback(listening) && !limits.Loopback(c.RaftAddress()):
		return ""
	}
	return listening
}
