package bus

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"hm/internal/bus/bustest"
)

// TestAnnouncedServersAreNotUsed: a NATS cluster tells its clients the addresses of all its servers. Clients may not be
// able to reach these; then each costs the time of a dial, and with wrong credentials another at every attempt.
func TestAnnouncedServersAreNotUsed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
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
			c.Close()
		}
	}()
	servers, _ := bustest.RunCluster(t, 2, func(int) string { return ln.Addr().String() })
	l, log := open(t, Options{Servers: []string{servers[0].URL()}, Username: "hm", Password: "right"})
	bustest.Until(t, "the link is up", up(l))
	servers[0].Stop()
	bustest.Until(t, "the link is down", down(l))
	servers[0].Start(t, func(o *server.Options) { o.Username, o.Password = "hm", "other" })
	bustest.AwaitRoutes(t, servers...)
	bustest.Until(t, "the server has refused the link", func() bool { return strings.Contains(log.String(), "correct nats.username") })
	before := servers[0].Refused()
	bustest.Until(t, "the server has refused the link more often", func() bool { return servers[0].Refused() > before })
	servers[0].Restart(t, func(o *server.Options) { o.Password = "right" })
	bustest.Until(t, "the link is up again", up(l))
	if n := dialled.Load(); n != 0 {
		t.Errorf("the announced address was dialled %d times", n)
	}
}
