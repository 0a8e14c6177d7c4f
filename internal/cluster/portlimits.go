package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Limits on incoming connections. Connections that this node opens do not count, so that nobody can keep a node from
// its peers. When a limit is reached, the connection that is least likely to be a member's is closed for the new one.
const (
	// Connections that have not sent their first byte yet.
	maxStrangers     = 128 // from all addresses that are not a member's
	maxStrangersFrom = 32  // from one address

	// Connections that have.
	maxOthers     = 64 // from all addresses that are not a member's; raft reserves 256 KiB for each
	maxOthersFrom = 16 // from one address that is not a member's
	maxOfMember   = 64 // of one member; a member needs fewer than ten

	maxMemory = 4 * maxRequest // bytes of unanswered requests, for each member and for all others together
)

// A handshake takes about half a millisecond of a processor, whoever asks for it. So those from addresses that are not a
// member's take turns: 100 a second, and a few more at once.
const (
	strangersAtOnce = 16
	turnLasts       = 160 * time.Millisecond
)

// awaitTurn waits until the handshake of a connection may begin. Members do not wait, and without TLS nobody does. The
// wait is short, because only maxStrangers can wait.
func (s *clusterPort) awaitTurn(c *portConn) error {
	if s.tls == nil || c.owner.member {
		return nil
	}
	select {
	case s.turns <- struct{}{}:
		time.AfterFunc(turnLasts, func() { <-s.turns })
		return nil
	case <-c.gone:
	case <-s.ctx.Done():
	}
	return net.ErrClosed
}

// owner is who a connection counts for: with TLS the member that its certificate names, otherwise the address that it
// comes from.
type owner struct {
	member bool
	name   string
}

var errNoRoom = errors.New("closed to make room for another connection")

// admit registers an accepted connection that has not sent its first byte yet.
func (s *clusterPort) admit(conn net.Conn) (*portConn, error) {
	c := s.newConn(conn)
	c.inbound, c.gone = true, make(chan struct{})
	c.owner = s.ownerOf(conn.RemoteAddr())
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		return nil, net.ErrClosed
	}
	closed := s.makeRoom(c, maxStrangersFrom, maxStrangersFrom, maxStrangers)
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.refuseEvicted(closed)
	return c, nil
}

// identify counts a connection for its owner after it has sent its certificate and its first byte. It fails if the
// connection was closed meanwhile.
func (s *clusterPort) identify(c *portConn) error {
	who := c.owner
	if ids := s.named(c.cert); len(ids) > 0 {
		who = owner{true, "certificate of " + ids[0]}
	}
	s.mu.Lock()
	if c.evicted {
		s.mu.Unlock()
		return net.ErrClosed // refuseEvicted has counted it
	}
	c.owner, c.identified = who, true
	closed := s.makeRoom(c, maxOfMember, maxOthersFrom, maxOthers)
	s.mu.Unlock()
	s.refuseEvicted(closed)
	return nil
}

// makeRoom closes another connection if c exceeds the limit of its owner, or of all that are not members. It gives the
// closed connection; nil if there is room. The caller holds s.mu.
func (s *clusterPort) makeRoom(c *portConn, ofMember, ofOther, ofOthers int) (closed *portConn) {
	own, others := 0, 0
	var worstOwn, worstOther *portConn
	for d := range s.conns {
		if d == c || !d.inbound || d.evicted || d.identified != c.identified {
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
	close(closed.gone)
	closed.cut() // its reader closes it then
	return closed
}

// inbound counts the connections that others opened.
func (s *clusterPort) inbound() (ofMembers, ofOthers, unsaid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		switch {
		case !c.inbound || c.evicted:
		case !c.identified:
			unsaid++
		case c.owner.member:
			ofMembers++
		default:
			ofOthers++
		}
	}
	return ofMembers, ofOthers, unsaid
}

func (s *clusterPort) refuseEvicted(c *portConn) {
	if c != nil {
		s.refuse(c, errNoRoom)
	}
}

// lessLikely gives the one of two connections that is less likely to be a member's: the one that has not sent a whole
// request or message yet, or else the one that has been silent for longer.
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

// hold sets the bytes of c's unanswered requests, which raft's decoder keeps in memory. It refuses an increase beyond
// maxMemory for the owner.
func (s *clusterPort) hold(c *portConn, bytes int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	account := c.owner
	if !account.member {
		account = owner{} // all of them together
	}
	held := s.held[account] - c.held + bytes
	if held > maxMemory && bytes > c.held {
		return fmt.Errorf("unanswered requests have %d bytes, at most %d are allowed", held, maxMemory)
	}
	c.held = bytes
	if held == 0 {
		delete(s.held, account)
	} else {
		s.held[account] = held
	}
	return nil
}

// ownerOf gives the owner of a connection without a certificate, by its remote address. All addresses of one IPv6
// network of 64 bits are one owner, because one host can have any number of them.
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

// noteReached keeps the IP address at which a member was reached: raft.peers may have a name instead.
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
	s.log.log(slog.LevelWarn, "refused", "refused a connection on the cluster port",
		"remote", c.RemoteAddr().String(), "error", err)
}
