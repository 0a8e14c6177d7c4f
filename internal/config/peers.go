package config

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// Peer is one node of the cluster.
type Peer struct {
	ID      string
	Address string // host:port
}

// PeerList reads raft.peers. It fails unless they make a cluster of 1, 3 or 5 nodes, each with an id and an
// address of its own, or there are none, which stands for a single node.
func (r Raft) PeerList() ([]Peer, error) {
	list := make([]Peer, 0, len(r.Peers))
	ids, addresses := map[string]bool{}, map[string]bool{}
	for _, s := range r.Peers {
		p, err := parsePeer(s)
		if err != nil {
			return nil, err
		}
		if ids[p.ID] || addresses[p.Address] {
			return nil, fmt.Errorf("ids and addresses that differ: %s is there twice", s)
		}
		ids[p.ID], addresses[p.Address] = true, true
		list = append(list, p)
	}
	switch len(list) {
	case 0, 1, 3, 5:
		return list, nil
	}
	return nil, fmt.Errorf("1, 3 or 5 nodes, not %d: an even number survives no more failures than one node fewer", len(list))
}

func parsePeer(s string) (Peer, error) {
	id, address, ok := strings.Cut(s, "=")
	if !ok || !validName(id, 64) || !reachable(address) {
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

// APIURL is the base URL under which the peers reach this node's API.
func (c Config) APIURL() string {
	address := c.API.Advertise
	if address == "" {
		address = c.API.Listen
		if host, port, ok := splitAddress(address); ok && wildcard(host) {
			if raftHost, _, ok := splitAddress(c.RaftAddress()); ok {
				address = net.JoinHostPort(raftHost, fmt.Sprint(port))
			}
		}
	}
	if c.API.TLS.Cert != "" {
		return "https://" + address
	}
	return "http://" + address
}
