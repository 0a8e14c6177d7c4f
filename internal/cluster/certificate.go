package cluster

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// setPeers sets the members and their addresses.
func (s *clusterPort) setPeers(peers []Peer) {
	peers = slices.Clone(peers)
	s.members.Store(&peers)
}

func (s *clusterPort) peers() []Peer { return *s.members.Load() }

func (s *clusterPort) idOf(address string) (id string, ok bool) {
	for _, p := range s.peers() {
		if p.Address == address {
			return p.ID, true
		}
	}
	return "", false
}

// named lists the members that a certificate names.
func (s *clusterPort) named(cert *x509.Certificate) (ids []string) {
	if cert == nil {
		return nil
	}
	peers := s.peers()
	for _, p := range peers {
		if names(cert, p.ID, peers) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// speaksFor refuses a certificate that does not name the member. The CA signs the certificates of all members, so its
// signature alone would let one member act for another.
func (s *clusterPort) speaksFor(cert *x509.Certificate, id string) error {
	return speaks(cert, id, s.peers())
}

// speaksForPeer is speaksFor for a node that may not be a member yet.
func (s *clusterPort) speaksForPeer(cert *x509.Certificate, p Peer) error {
	peers := slices.DeleteFunc(slices.Clone(s.peers()), func(have Peer) bool { return have.ID == p.ID })
	return speaks(cert, p.ID, append(peers, p))
}

func speaks(cert *x509.Certificate, id string, peers []Peer) error {
	if names(cert, id, peers) {
		return nil
	}
	return fmt.Errorf("the certificate does not name the node %.80q that uses it: its DNS names are %.200q, its IP addresses %.200q; "+
		"it must have the id as a DNS name, or the host of the node's address if no other node has the same host",
		id, cert.DNSNames, fmt.Sprint(cert.IPAddresses))
}

// speaksForSomeone refuses a certificate that names no member: what has no sender of its own, as a forwarded request,
// must come from one of them. There is nothing to refuse without TLS.
func (s *clusterPort) speaksForSomeone(cert *x509.Certificate) error {
	if cert == nil || len(s.named(cert)) > 0 {
		return nil
	}
	return fmt.Errorf("the certificate names no member of this cluster: its DNS names are %.200q, its IP addresses %.200q",
		cert.DNSNames, fmt.Sprint(cert.IPAddresses))
}

// names reports whether a certificate names a member: by the member's id as a DNS name, or by the host of its address
// if no other member has this host. Names with a wildcard and the common name do not count.
func names(cert *x509.Certificate, id string, peers []Peer) bool {
	if id == "" {
		return false
	}
	if hasName(cert, id) {
		return true
	}
	host := ""
	for _, p := range peers {
		if p.ID == id {
			host = hostOf(p)
		}
	}
	for _, p := range peers {
		if p.ID != id && hostOf(p) == host {
			return false
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return slices.ContainsFunc(cert.IPAddresses, func(have net.IP) bool {
			addr, ok := netip.AddrFromSlice(have)
			return ok && addr.Unmap() == ip.Unmap().WithZone("")
		})
	}
	return host != "" && hasName(cert, host)
}

func hasName(cert *x509.Certificate, name string) bool {
	return slices.ContainsFunc(cert.DNSNames, func(have string) bool { return strings.EqualFold(have, name) })
}

// hostOf is the host of a member's address, in a form that can be compared.
func hostOf(p Peer) string {
	host, _, _ := net.SplitHostPort(p.Address)
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(host)
}
