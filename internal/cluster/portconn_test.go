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

// pipeConn gives a connection of a cluster port over a pipe, and its other end.
func pipeConn(t *testing.T) (s *clusterPort, c *portConn, theirs net.Conn) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
	s = &clusterPort{
		log: newSampledLog(slog.New(slog.DiscardHandler)), requestTimeout: 4 * time.Second,
		conns: map[*portConn]struct{}{}, held: map[owner]int{}, reached: map[string]netip.Addr{},
	}
	s.setPeers(nil)
	c = s.newConn(ours)
	c.inbound = true
	return s, c, theirs
}

const smallRequest = "\x01\x81\xa4Term\x01"

func TestSilentConnectionsEnd(t *testing.T) {
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
				s, c, theirs := pipeConn(t)
				c.scanner = &requestScanner{}
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
					t.Errorf("the connection ends after %s, want %s", lasted, tt.lasts)
				}
				if got := s.refused.Load(); got != tt.refused {
					t.Errorf("%d connections were counted as refused, want %d", got, tt.refused)
				}
			})
		})
	}
}

// A peer that does not read its reply does not block raft's handler for ever.
func TestReplyThatThePeerDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := pipeConn(t)
		c.scanner = &requestScanner{}
		began := time.Now()
		if _, err := c.Write(make([]byte, 100)); err == nil || time.Since(began) != 4*time.Second {
			t.Errorf("the write ends after %s: %v", time.Since(began), err)
		}
	})
}

// Raft does not use a connection again that the other node may have closed: the request would be lost.
func TestSilentConnectionIsNotUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, theirs := pipeConn(t)
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
		t.Errorf("with %d silent connections in the pool, raft sent the request %d times: %v", maxPool, asked, err)
	}
}

// The memory of unanswered requests is bounded for each member, and for all strangers together.
func TestUnansweredRequestsAreBounded(t *testing.T) {
	s, _, _ := pipeConn(t)
	s.log = newSampledLog(slog.New(slog.DiscardHandler))
	conn := func(who owner) *portConn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = ours.Close(); _ = theirs.Close() })
		c := s.newConn(ours)
		c.owner = who
		return c
	}
	a, b, c := conn(owner{false, "10.0.0.1"}), conn(owner{false, "10.0.0.2"}), conn(owner{true, "certificate of hm-1"})
	for _, x := range []*portConn{a, c} {
		if err := s.hold(x, maxMemory); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.hold(b, 1); err == nil {
		t.Error("two strangers hold more than is allowed")
	}
	if err := s.hold(a, 0); err != nil || s.hold(b, maxMemory) != nil {
		t.Error("answered requests still count")
	}
	_, _, _ = b.Close(), c.Close(), a.Close()
	if len(s.held) != 0 {
		t.Errorf("after all were closed, %v is held", s.held)
	}
}
