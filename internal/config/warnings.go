package config

import (
	"cmp"
	"net"
	"net/url"
	"slices"

	"hm/internal/config/limits"
)

// Warnings lists what is allowed but probably not meant, in the order of the keys. They say nothing useful about a
// configuration that Validate refuses.
func (c Config) Warnings() Problems {
	warnings := append(c.apiWarnings(), c.readableCredentials()...)
	if c.unreachableVarz() {
		warnings = append(warnings, Problem{Key: "compat.varz.listen", Value: c.Compat.Varz.Listen,
			Want: "an address that other machines reach, since nats.servers are other machines: the node announces " +
				"this one to the collectors there"})
	}
	return warnings
}

// readableCredentials warns of credentials that whoever is on the network's path can read.
func (c Config) readableCredentials() Problems {
	u, err := url.Parse(c.Commands.CCURL)
	if err != nil || c.Commands.Protocol != ProtocolHTTP || c.Commands.CCPassword == "" || u.Scheme != "http" ||
		limits.Loopback(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))) {
		return nil
	}
	return Problems{{Key: "commands.cc_url", Value: c.Commands.CCURL,
		Want: "an https:// URL, since commands.cc_password is sent there: whoever is on the way can read it, and command in hm's name"}}
}

func (c Config) apiWarnings() (warnings Problems) {
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
