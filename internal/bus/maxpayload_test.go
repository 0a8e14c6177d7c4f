package bus

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hm/internal/bus/bustest"
)

// TestMaxPayloadReloaded: a reload makes max_payload smaller, of which a server tells nobody. The first message that is too
// large ends the connection. The next one finds the limit.
func TestMaxPayloadReloaded(t *testing.T) {
	srv := bustest.Run(t, nil)
	l, _ := open(t, Options{Servers: []string{srv.URL()}})
	bustest.Until(t, "the link is up", up(l))
	srv.Reload(t, func(o *server.Options) { o.MaxPayload = 100 })
	large := make([]byte, 200)
	if err := l.Publish(within(t, time.Minute), "a", large); !errors.Is(err, ErrUnknown) {
		t.Errorf("the first message: %v, want ErrUnknown", err)
	}
	bustest.Until(t, "the link is back", func() bool { s := l.State(); return s.Up && s.Outages == 1 })
	if err := l.Publish(within(t, time.Minute), "a", large); !errors.Is(err, ErrRefused) {
		t.Errorf("the next message: %v, want ErrRefused", err)
	}
	if n := l.MaxPayload(); n != 100 {
		t.Errorf("the limit is %d", n)
	}
	if err := l.Answer(Msg{Subject: "q", Reply: "r"}, large); err == nil {
		t.Error("an answer that is too large was sent")
	}
	if s := l.State(); !s.Up || s.Outages != 1 {
		t.Errorf("the link is %+v", s)
	}
}

// TestSlowConsumerIsAnOutage: the server closes the connection of a client that takes its messages too slowly.
func TestSlowConsumerIsAnOutage(t *testing.T) {
	srv := bustest.Run(t, func(o *server.Options) { o.MaxPending, o.WriteDeadline = 1<<20, 100*time.Millisecond })
	proxy := bustest.RunProxy(t, srv.Address())
	l, _ := open(t, Options{Servers: []string{proxy.URL()}, PingInterval: time.Minute})
	var in inbox
	if err := l.Subscribe("a", Limits{}, in.take); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", up(l))
	proxy.Throttle(10_000, 0)
	pub := bustest.Client(t, srv.URL())
	bustest.Until(t, "the link is down", func() bool {
		if err := pub.Publish("a", make([]byte, 256<<10)); err != nil {
			t.Fatal(err)
		}
		return srv.NumSlowConsumers() > 0
	})
	proxy.Throttle(0, 0)
	bustest.Until(t, "the link has noticed", func() bool { return l.State().Outages > 0 })
	bustest.Until(t, "the link is up again", up(l))
	bustest.Until(t, "messages arrive again", func() bool {
		if err := pub.Publish("a", []byte("after")); err != nil {
			t.Fatal(err)
		}
		return in.has("after")()
	})
}
