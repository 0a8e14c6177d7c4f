package cluster

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestWhichConnectionMakesRoom(t *testing.T) {
	s, _, _ := pipeConn(t)
	member, one, two := owner{true, "10.0.0.1"}, owner{false, "10.9.9.1"}, owner{false, "10.9.9.2"}
	add := func(who owner, identified, proven bool, active time.Duration) *portConn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
		c := s.newConn(ours)
		c.inbound, c.gone, c.owner, c.identified = true, make(chan struct{}), who, identified
		c.proven.Store(proven)
		c.active.Store(int64(active))
		s.conns[c] = struct{}{}
		return c
	}
	room := func(c *portConn) *portConn { return s.makeRoom(c, 2, 2, 3) }
	proven := add(member, true, true, time.Second)
	idle := add(member, true, false, time.Hour)
	if got := room(add(member, true, false, 0)); got != idle {
		t.Error("a connection without a request must make room before one with a request")
	}
	if got := room(add(member, true, false, time.Minute)); got == proven || got == nil {
		t.Error("a member's proven connection made room although there was another one")
	}
	if room(add(one, false, false, 0)) != nil || room(add(one, false, false, time.Minute)) != nil {
		t.Error("a stranger made room although there was room")
	}
	if got := room(add(one, false, false, time.Hour)); got == nil || got.active.Load() != 0 {
		t.Error("the connection that was silent for longest must make room for another one of its address")
	}
	if room(add(two, false, false, time.Hour)) != nil {
		t.Error("a stranger was closed although there was room")
	}
	if got := room(add(two, false, false, 2*time.Hour)); got == nil || got.owner != one {
		t.Error("when all strangers together are too many, the one that was silent for longest must make room")
	}
	old, young := add(owner{true, "10.0.0.2"}, true, true, 0), add(owner{true, "10.0.0.2"}, true, true, 0)
	old.opened = old.opened.Add(-time.Hour)
	old.active.Store(int64(time.Minute)) // and nothing since
	if got := room(add(owner{true, "10.0.0.2"}, true, false, 0)); got != old || young.evicted {
		t.Error("a new connection made room before one that was silent for an hour")
	}
	if proven.evicted {
		t.Error("strangers made a member lose its connection")
	}
}

func TestOwnerOfAnAddress(t *testing.T) {
	s, _, _ := pipeConn(t)
	s.setPeers([]Peer{{"a", "10.0.0.1:7140"}, {"b", "[fd00::1]:7140"}, {"c", "hm-c.internal:7140"}})
	from := func(ip string) owner {
		return s.ownerOf(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 9)))
	}
	for ip, want := range map[string]owner{
		"10.0.0.1": {true, "10.0.0.1"}, "::ffff:10.0.0.1": {true, "10.0.0.1"}, "fd00::1": {true, "fd00::1"}, "fd00::2": {false, "fd00::/64"},
		"10.0.0.3": {false, "10.0.0.3"}, "2001:db8::1:2": {false, "2001:db8::/64"},
	} {
		if got := from(ip); got != want {
			t.Errorf("the owner of %s is %v, want %v", ip, got, want)
		}
	}
	s.noteReached("hm-c.internal:7140", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 3), Port: 7140})
	if got := from("10.0.0.3"); !got.member {
		t.Errorf("the owner of a member's address is %v", got)
	}
}

func TestStrangersAreLimited(t *testing.T) {
	c := startCluster(t, 1, nil)
	n := c.leader()
	for range maxStrangers + 20 {
		conn, err := net.Dial("tcp", c.opts[0].Listen)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	eventually(t, "every connection was accepted or refused", func() bool {
		return n.Stats().Refused+uint64(n.port.strangers()) >= maxStrangers+20
	})
	if got := n.port.strangers(); got > maxStrangersFrom {
		t.Errorf("%d strangers of one address are connected, at most %d are allowed", got, maxStrangersFrom)
	}
	if _, err := n.Propose(bounded(t), dea(1)); err != nil {
		t.Error(err)
	}
}

// Strangers open more connections than the port accepts. The leader still reaches its followers, and a restarted
// follower comes back.
func TestStrangersTakeNoMembersPlace(t *testing.T) {
	c := startCluster(t, 3, nil)
	c.propose(dea(1))
	lead := c.leader()
	var mu sync.Mutex
	held := map[net.Conn]bool{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
		for conn := range held {
			_ = conn.Close()
		}
	})
	defer end()
	for i := range 700 {
		// From the members' own address and from two others; saying nothing, or that they speak to raft.
		from := &net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i%3))}}
		conn, err := from.Dial("tcp", lead.opts.Listen)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_, _ = conn.Write([]byte{carriesRaft})
		}
		held[conn] = true
	}
	wg.Go(func() { // and each that is closed comes again
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			conn, err := net.DialTimeout("tcp", lead.opts.Listen, time.Second)
			if err != nil {
				continue
			}
			_, _ = conn.Write([]byte{carriesRaft})
			mu.Lock()
			held[conn] = true
			mu.Unlock()
		}
	})
	at := (c.index(lead) + 1) % 3
	conn, err := lead.port.dial(c.opts[at].Listen, patience, carriesStatus)
	if err != nil {
		t.Fatalf("with 700 strangers on its port the leader cannot reach a peer: %v", err)
	}
	_ = conn.Close()
	lead.port.mu.Lock()
	inbound := 0
	for c := range lead.port.conns {
		if c.inbound && !c.evicted {
			inbound++
		}
	}
	lead.port.mu.Unlock()
	if most := maxStrangers + 2*maxStrangersFrom + maxOthers + maxOfMember; inbound > most {
		t.Errorf("%d connections are open, at most %d are allowed", inbound, most)
	}
	c.kill(at)
	n := c.start(at)
	eventually(t, "the follower that was restarted follows", func() bool { return n.Leadership().LeaderID != "" })
	c.propose(dea(2))
	c.converged()
	end()
}
