package config

import (
	"net"
	"slices"
	"strconv"

	"hm/internal/config/limits"
)

// VarzAddress is the address at which collectors reach /varz of this node. listening is where it is served:
// compat.varz.listen with the real port. On a wildcard the host is that of the cluster port, which is on this machine
// for certain; api.advertise may name a proxy on another one, so it counts only if that is loopback.
func (c Config) VarzAddress(listening string) string {
	host, port, err := limits.HostPort(listening)
	if err != nil || !limits.Wildcard(host) {
		return listening
	}
	for _, address := range []string{c.RaftAddress(), c.API.Advertise} {
		if known, _, err := limits.HostPort(address); err == nil && !limits.Wildcard(known) && !limits.Loopback(address) {
			return net.JoinHostPort(known, strconv.Itoa(port))
		}
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// ComponentIndex is the number of this node among the components of its type: its position in raft.peers, or 0.
func (c Config) ComponentIndex() int {
	peers, _ := c.Raft.PeerList()
	return max(0, slices.IndexFunc(peers, func(p Peer) bool { return p.ID == c.Node.ID }))
}

// unreachableVarz reports whether the node announces an address on loopback, although collectors are on other machines:
// NATS is on another one.
func (c Config) unreachableVarz() bool {
	return c.Compat.Varz.Listen != "" && limits.Loopback(c.VarzAddress(c.Compat.Varz.Listen)) &&
		slices.ContainsFunc(c.NATS.Servers, func(s string) bool {
			u, err := limits.NATSServer(s)
			return err == nil && !limits.Loopback(u.Host)
		})
}
