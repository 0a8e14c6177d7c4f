package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
)

// How many connections may come in at a time. Those that this node opens itself do not count: no stranger can keep a
// node from reaching its peers. Where there is no place left, the connection that is least likely to be a member's
// makes room for the new one.
const (
	maxStrangers     = 128 // connections that have not yet said what they carry, from addresses that are no member's
	maxStrangersFrom = 32  // those from one address, or from one member's

	maxOthers     = 64 // streams from addresses that are no member's: raft sets 256 KiB aside for each
	maxOthersFrom = 16
	maxOfMember   = 64 // streams of one member, or from its address: a member needs fewer than ten
	maxMemory     = 4 * maxRequest
)

// owner is who a connection counts for: with TLS the member that its certificate names, else the address that it
// comes from.
type owner struct {
	member bool
	name   string
}

var errNoRoom = errors.New("closed to make room for another connection")

// admit takes an accepted connection into the stream's books, as a stranger.
func (s *clusterPort) admit(conn net.Conn) (*portConn, error) {
	c := s.newConn(conn)
	c.inbound = true
	c.owner = s.ownerOf(conn.RemoteAddr())
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		return nil, net.ErrClosed
	}
	closed := s.makeRoom(c, maxStrangersFrom, maxStrangersFrom, maxStrangers)
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.logEvicted(closed)
	return c, nil
}

// settle makes a stream of a stranger that has said what it carries. It fails if the connection was closed meanwhile.
func (s *clusterPort) settle(c *portConn) error {
	who := c.owner
	if ids := s.named(c.cert); len(ids) > 0 {
		who = owner{true, "certificate of " + ids[0]}
	}
	s.mu.Lock()
	if c.evicted {
		s.mu.Unlock()
		return net.ErrClosed // that was counted
	}
	c.owner, c.settled = who, true
	closed := s.makeRoom(c, maxOfMember, maxOthersFrom, maxOthers)
	s.mu.Unlock()
	s.logEvicted(closed)
	return nil
}

// makeRoom closes a connection in favour of c where c's owner, or everybody who is no member, has as many as allowed,
// and gives it. s.mu is held.
func (s *clusterPort) makeRoom(c *portConn, ofMember, ofOther, ofOthers int) (closed *portConn) {
	own, others := 0, 0
	var worstOwn, worstOther *portConn
	for d := range s.conns {
		if d == c || !d.inbound || d.evicted || d.settled != c.settled {
			continue
		}
		if d.owner == c.owner {
			own++
			worstOwn = lessLikely(worstOwn, d)
		}
		if !d.owner.member {
			others++
			worstOther = lessLikely(worstOther, d)
		}
	}
	limit := ofOther
	if c.owner.member {
		limit = ofMember
	}
	switch {
	case own >= limit:
		closed = worstOwn
	case !c.owner.member && others >= ofOthers:
		closed = worstOther
	default:
		return nil
	}
	closed.evicted = true
	closed.cut() // whoever reads from it closes it then
	return closed
}

func (s *clusterPort) logEvicted(c *portConn) {
	if c != nil {
		s.refuse(c, errNoRoom)
	}
}

// lessLikely gives the one of two connections that is less likely to be a member's: it has not sent a whole request or
// message yet, or has been silent for longer.
func lessLikely(a, b *portConn) *portConn {
	switch {
	case a == nil:
		return b
	case a.proven.Load() != b.proven.Load():
		if a.proven.Load() {
			return b
		}
		return a
	case !a.lastActive().After(b.lastActive()):
		return a
	}
	return b
}

// hold counts bytes of requests that are not answered yet, which raft's decoder keeps in memory, and refuses those
// that would be too many for their owner.
func (s *clusterPort) hold(c *portConn, bytes int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	account := c.owner
	if !account.member {
		account = owner{} // all of them together
	}
	held := s.held[account] - c.held + bytes
	if held > maxMemory && bytes > c.held {
		return fmt.Errorf("unanswered requests of %d bytes: at most %d are allowed", held, maxMemory)
	}
	c.held = bytes
	if held == 0 {
		delete(s.held, account)
	} else {
		s.held[account] = held
	}
	return nil
}

// ownerOf tells whom a connection from an address counts for, as long as it has shown no certificate. All addresses of
// one IPv6 network of 64 bits are one: a stranger has as many as he likes.
func (s *clusterPort) ownerOf(remote net.Addr) owner {
	from, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return owner{}
	}
	ip := from.Addr().Unmap().WithZone("")
	if s.isMemberAddress(ip) {
		return owner{true, ip.String()}
	}
	if ip.Is6() {
		network, _ := ip.Prefix(64)
		return owner{false, network.String()}
	}
	return owner{false, ip.String()}
}

// isMemberAddress reports whether raft.peers names the address, or this node has reached a member there.
func (s *clusterPort) isMemberAddress(ip netip.Addr) bool {
	for _, p := range s.peers() {
		if host, _, err := net.SplitHostPort(p.Address); err == nil {
			if known, err := netip.ParseAddr(host); err == nil && known.Unmap().WithZone("") == ip {
				return true
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.reached {
		if known == ip {
			return true
		}
	}
	return false
}

// noteReached keeps the address at which a member was reached, which may be given by name.
func (s *clusterPort) noteReached(address string, remote net.Addr) {
	if at, err := netip.ParseAddrPort(remote.String()); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, known := s.reached[address]; known || len(s.reached) < 2*maxPeers {
			s.reached[address] = at.Addr().Unmap().WithZone("")
		}
	}
}

func (s *clusterPort) refuse(c net.Conn, err error) {
	s.refused.Add(1)
	s.log.log(slog.LevelWarn, "refused", "refused a connection on the cluster port", "remote", c.RemoteAddr().String(), "error", err)
}
