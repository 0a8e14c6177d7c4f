package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// pipeStream gives a stream's connection over a pipe, and the other end of it.
func pipeStream(t *testing.T) (s *stream, c *streamConn, theirs net.Conn) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	s = &stream{
		log: newSampledLog(slog.New(slog.DiscardHandler)), requestTimeout: 4 * time.Second,
		conns: map[*streamConn]struct{}{}, held: map[owner]int{}, reached: map[string]netip.Addr{},
	}
	s.setPeers(nil)
	c = s.newConn(ours)
	c.inbound = true
	return s, c, theirs
}

const smallRequest = "\x01\x81\xa4Term\x01"

func TestQuietStreamsEnd(t *testing.T) {
	for _, tt := range []struct {
		name    string
		send    func(theirs net.Conn)
		lasts   time.Duration // until the stream is given up, after send
		refused uint64
	}{
		{"nothing is asked", func(net.Conn) {}, 2 * helloTimeout, 1},
		{"nothing more is asked", func(c net.Conn) { _, _ = c.Write([]byte(smallRequest)) }, quietIn, 0},
		{"half a request", func(c net.Conn) { _, _ = c.Write([]byte(smallRequest[:3])) }, 4 * time.Second, 1},
		{"a request by the byte", func(c net.Conn) {
			_, _ = c.Write([]byte("\x00\x8f\xa4Data\xc5\xff\xff"))
			for range 3 {
				time.Sleep(time.Second)
				_, _ = c.Write([]byte{0})
			}
		}, time.Second, 1},
		{"half a snapshot", func(c net.Conn) { _, _ = c.Write([]byte("\x02\x81\xa4Size\xd2\x10\x00\x00\x00abc")) }, stallTimeout, 1},
		{"a snapshot by the byte", func(c net.Conn) {
			_, _ = c.Write([]byte("\x02\x81\xa4Size\x7fabc"))
			time.Sleep(5 * time.Second)
			_, _ = c.Write([]byte{0})
		}, 3 * time.Second, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, c, theirs := pipeStream(t)
				c.meter = &meter{}
				ended := make(chan time.Time)
				go func() {
					buf := make([]byte, 4096)
					for {
						if _, err := c.Read(buf); err != nil {
							if !errors.Is(err, io.EOF) {
								t.Errorf("the error is %v, want the end", err)
							}
							ended <- time.Now()
							return
						}
					}
				}()
				tt.send(theirs)
				sent := time.Now()
				if lasted := (<-ended).Sub(sent); lasted != tt.lasts {
					t.Errorf("the stream is given up after %s, want %s", lasted, tt.lasts)
				}
				if got := s.refused.Load(); got != tt.refused {
					t.Errorf("%d connections were counted as refused, want %d", got, tt.refused)
				}
			})
		})
	}
}

// A peer that does not take its reply does not hold raft's handler for ever.
func TestReplyThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := pipeStream(t)
		c.meter = &meter{}
		began := time.Now()
		if _, err := c.Write(make([]byte, 100)); err == nil || time.Since(began) != 4*time.Second {
			t.Errorf("the write ends after %s: %v", time.Since(began), err)
		}
	})
}

// What raft kept for later is not used again when the other node may have closed it: the request would be lost.
func TestQuietStreamIsNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, theirs := pipeStream(t)
		c.inbound, c.quiet = false, true
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		for range 3 {
			time.Sleep(quietOut)
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(quietOut + time.Millisecond)
		if _, err := c.Write([]byte("x")); !errors.Is(err, errQuiet) {
			t.Errorf("after %s of silence: %v", quietOut, err)
		}
		_ = c.Close()
	})
	asked := 0
	if err := retry(func() error {
		if asked++; asked <= maxPool {
			return fmt.Errorf("flushing: %w", errQuiet)
		}
		return nil
	}); err != nil || asked != maxPool+1 {
		t.Errorf("with %d quiet streams in the pool, raft asked %d times: %v", maxPool, asked, err)
	}
}

// What requests keep in memory until they are answered is bounded for each owner, and for all strangers together.
func TestUnansweredRequestsAreBounded(t *testing.T) {
	s, _, _ := pipeStream(t)
	s.log = newSampledLog(slog.New(slog.DiscardHandler))
	conn := func(who owner) *streamConn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
		c := s.newConn(ours)
		c.owner = who
		return c
	}
	a, b, c := conn(owner{false, "10.0.0.1"}), conn(owner{false, "10.0.0.2"}), conn(owner{true, "certificate of hm-1"})
	for _, x := range []*streamConn{a, c} {
		if err := s.hold(x, maxMemory); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.hold(b, 1); err == nil {
		t.Error("two strangers hold more than is allowed")
	}
	if err := s.hold(a, 0); err != nil || s.hold(b, maxMemory) != nil {
		t.Error("what was answered still counts")
	}
	_, _, _ = b.Close(), c.Close(), a.Close()
	if len(s.held) != 0 {
		t.Errorf("after all were closed, %v is held", s.held)
	}
}

func TestWhoMakesRoom(t *testing.T) {
	s, _, _ := pipeStream(t)
	member, one, two := owner{true, "10.0.0.1"}, owner{false, "10.9.9.1"}, owner{false, "10.9.9.2"}
	add := func(who owner, settled, proven bool, active time.Duration) *streamConn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
		c := s.newConn(ours)
		c.inbound, c.owner, c.settled = true, who, settled
		c.proven.Store(proven)
		c.active.Store(int64(active))
		s.conns[c] = struct{}{}
		return c
	}
	room := func(c *streamConn) *streamConn { return s.makeRoom(c, 2, 2, 3) }
	proven := add(member, true, true, time.Second)
	idle := add(member, true, false, time.Hour)
	if got := room(add(member, true, false, 0)); got != idle {
		t.Error("a connection that asked nothing yet must make room before one that did")
	}
	if got := room(add(member, true, false, time.Minute)); got == proven || got == nil {
		t.Error("a member's proven connection made room while there was another")
	}
	if room(add(one, false, false, 0)) != nil || room(add(one, false, false, time.Minute)) != nil {
		t.Error("strangers made room while there was place")
	}
	if got := room(add(one, false, false, time.Hour)); got == nil || got.active.Load() != 0 {
		t.Error("the address that has as many as allowed must close the one that is silent for longest")
	}
	if room(add(two, false, false, time.Hour)) != nil {
		t.Error("a stranger was closed while there was place")
	}
	if got := room(add(two, false, false, 2*time.Hour)); got == nil || got.owner != one {
		t.Error("all strangers together are too many: the one that is silent for longest makes room")
	}
	old, young := add(owner{true, "10.0.0.2"}, true, true, 0), add(owner{true, "10.0.0.2"}, true, true, 0)
	old.opened = old.opened.Add(-time.Hour)
	old.active.Store(int64(time.Minute)) // and nothing since
	if got := room(add(owner{true, "10.0.0.2"}, true, false, 0)); got != old || young.evicted {
		t.Error("a connection that was opened just now made room before one that is silent for an hour")
	}
	if proven.evicted {
		t.Error("strangers elsewhere cost a member its connection")
	}
}

func TestOwnerOfAnAddress(t *testing.T) {
	s, _, _ := pipeStream(t)
	s.setPeers([]Peer{{"a", "10.0.0.1:7140"}, {"b", "[fd00::1]:7140"}, {"c", "hm-c.internal:7140"}})
	from := func(ip string) owner {
		return s.ownerOf(net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 9)))
	}
	for ip, want := range map[string]owner{
		"10.0.0.1": {true, "10.0.0.1"}, "::ffff:10.0.0.1": {true, "10.0.0.1"}, "fd00::1": {true, "fd00::1"}, "fd00::2": {false, "fd00::/64"},
		"10.0.0.3": {false, "10.0.0.3"}, "2001:db8::1:2": {false, "2001:db8::/64"},
	} {
		if got := from(ip); got != want {
			t.Errorf("%s counts for %v, want %v", ip, got, want)
		}
	}
	s.noteReached("hm-c.internal:7140", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 3), Port: 7140})
	if got := from("10.0.0.3"); !got.member {
		t.Errorf("where a member was reached counts for %v", got)
	}
}
