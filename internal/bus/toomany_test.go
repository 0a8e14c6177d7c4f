package bus

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"hm/internal/bus/bustest"
)

// TestTooManySubscriptionsIsNoLink: the server's error does not name the subject, so the link is not up. A link that
// looks healthy but misses messages would be worse.
func TestTooManySubscriptionsIsNoLink(t *testing.T) {
	srv := bustest.Run(t, func(o *server.Options) { o.MaxSubs = 1 })
	l, log := open(t, Options{Servers: []string{srv.URL()}})
	for _, subject := range []string{"a", "b"} {
		if err := l.Subscribe(subject, Limits{}, func(Msg) {}); err != nil {
			t.Fatal(err)
		}
	}
	srv.Restart(t, nil)
	bustest.Until(t, "the log reports it", func() bool {
		return strings.Contains(log.String(), "make the subscriptions: nats: server maximum subscriptions exceeded")
	})
	if l.State().Up {
		t.Error("the link is up")
	}
	srv.Restart(t, func(o *server.Options) { o.MaxSubs = 0 })
	bustest.Until(t, "the link is up", up(l))
}
