package config

import (
	"slices"

	"hm/internal/config/limits"
)

// Warnings lists what is allowed but probably not meant, in the order of the keys. They say nothing useful about a
// configuration that Validate refuses.
func (c Config) Warnings() Problems {
	var warnings Problems
	peers, err := c.Raft.PeerList()
	elsewhere := slices.ContainsFunc(peers, func(p Peer) bool { return !limits.Loopback(p.Address) })
	if err != nil || len(peers) < 2 || !elsewhere {
		return nil
	}
	const why = "since raft.peers are other machines: people and tools there read this address in the status of any node, " +
		"and cannot reach the API of this node"
	switch address := c.APIAddress(c.API.Listen); {
	case address == "":
		warnings = append(warnings, Problem{Key: "api.listen", Value: c.API.Listen,
			Want: "an address of this machine, with authentication, " + why})
	case limits.Loopback(address):
		warnings = append(warnings, Problem{Key: "api.advertise", Value: c.API.Advertise,
			Want: "an address that other machines reach, " + why})
	}
	return warnings
}
