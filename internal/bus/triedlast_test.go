package bus

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"hm/internal/bus/bustest"
)

// TestSilentServerIsTriedLast: a server that does not answer costs a whole timeout. It is tried again only after the
// others.
func TestSilentServerIsTriedLast(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections, and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var dialled atomic.Int64
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			dialled.Add(1)
			defer c.Close()
		}
	}()
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	l, _ := open(t, Options{Servers: []string{ln.Addr().String(), proxy.URL()}, PingInterval: 10 * time.Second})
	bustest.Until(t, "the link is up at the second server", up(l))
	for n := range uint64(3) {
		proxy.Cut()
		bustest.Until(t, "the link is up again", func() bool { s := l.State(); return s.Up && s.Outages == n+1 })
	}
	if n := dialled.Load(); n != 1 {
		t.Errorf("the silent server was dialled %d times, want once", n)
	}
}
