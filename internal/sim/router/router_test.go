package router

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/bus/bustest"
	"hm/internal/sim/wire"
)

const threshold = 200 * time.Millisecond

// startRouter runs a router with a short threshold on a NATS server.
func startRouter(t *testing.T, url string, edit func(*Options)) *Router {
	t.Helper()
	o := Options{
		Listen: "127.0.0.1:0", RegisterInterval: threshold / 6, StaleThreshold: threshold, PruneInterval: threshold / 4,
		Dial: func(name string) (*nats.Conn, error) {
			return nats.Connect(url, nats.Name(name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
				nats.ReconnectBufSize(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0))
		},
	}
	if edit != nil {
		edit(&o)
	}
	r, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// tell registers n routes once.
func tell(t *testing.T, nc *nats.Conn, n int) {
	t.Helper()
	for i := range n {
		if err := nc.Publish(wire.SubjectRouterRegister, wire.MustJSON(route("i", uint16(i+1), "a"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (r *Router) await(t *testing.T, what string, reached func(Status) bool) {
	t.Helper()
	bustest.Until(t, what, func() bool { return reached(r.Status()) })
}

func has(n int) func(Status) bool { return func(s Status) bool { return s.Endpoints == n } }

// TestRoutesOutliveAnOutageAndHaveAWholeThresholdAfterIt: nobody registers them again in this test.
func TestRoutesOutliveAnOutageAndHaveAWholeThresholdAfterIt(t *testing.T) {
	server := bustest.Run(t, nil)
	r := startRouter(t, server.URL(), nil)
	r.await(t, "NATS is up", func(s Status) bool { return s.NATS })
	tell(t, bustest.Client(t, server.URL()), 3)
	r.await(t, "three routes", has(3))
	server.Stop()
	time.Sleep(3 * threshold)
	if s := r.Status(); s.Endpoints != 3 || s.Stale != 3 || s.NATS || s.Outages != 1 {
		t.Errorf("during the outage: %+v", s)
	}
	returns := time.Now()
	server.Start(t, nil)
	r.await(t, "NATS is back", func(s Status) bool { return s.NATS })
	r.await(t, "the routes are pruned", has(0))
	if kept := time.Since(returns); kept < threshold {
		t.Errorf("the routes were kept for %s after the outage, less than the threshold of %s", kept, threshold)
	}
	if s := r.Status(); s.Pruned != 3 {
		t.Errorf("%+v", s)
	}
}

// TestRoutesOutliveManyShortOutages: none of them is as long as the threshold, but together they are.
func TestRoutesOutliveManyShortOutages(t *testing.T) {
	server := bustest.Run(t, nil)
	r := startRouter(t, server.URL(), nil)
	r.await(t, "NATS is up", func(s Status) bool { return s.NATS })
	tell(t, bustest.Client(t, server.URL()), 3)
	r.await(t, "three routes", has(3))
	for range 8 {
		server.Stop()
		time.Sleep(threshold / 4)
		server.Start(t, nil)
		r.await(t, "NATS is back", func(s Status) bool { return s.NATS })
	}
	if s := r.Status(); s.Endpoints != 3 || s.Pruned != 0 || s.Outages != 8 {
		t.Errorf("%+v", s)
	}
}

// TestRoutesOutliveALinkThatPassesNothing: the connection looks up, but the server is out of reach.
func TestRoutesOutliveALinkThatPassesNothing(t *testing.T) {
	server := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, server.Address())
	r := startRouter(t, proxy.URL(), nil)
	r.await(t, "NATS is up", func(s Status) bool { return s.NATS })
	tell(t, bustest.Client(t, server.URL()), 3)
	r.await(t, "three routes", has(3))
	proxy.BlackHole(true)
	r.await(t, "the router doubts the link", func(s Status) bool { return !s.NATS })
	time.Sleep(3 * threshold)
	if s := r.Status(); s.Endpoints != 3 || s.Pruned != 0 || s.Outages != 0 {
		t.Errorf("while nothing passes: %+v", s)
	}
	passes := time.Now()
	proxy.BlackHole(false)
	r.await(t, "the routes are pruned", has(0))
	if kept := time.Since(passes); kept < threshold {
		t.Errorf("the routes were kept for %s after that, less than the threshold of %s", kept, threshold)
	}
}

// TestRouterReadsWhatItHasHeardBeforeItPrunes: messages that wait to be read refresh their routes.
func TestRouterReadsWhatItHasHeardBeforeItPrunes(t *testing.T) {
	server := bustest.Run(t, nil)
	r := startRouter(t, server.URL(), func(o *Options) { o.PruneInterval = time.Hour })
	r.await(t, "NATS is up", func(s Status) bool { return s.NATS })
	nc := bustest.Client(t, server.URL())
	tell(t, nc, 1)
	r.await(t, "a route", has(1))
	r.cancel() // nobody reads any more but prune
	r.wg.Wait()
	time.Sleep(2 * threshold)
	tell(t, nc, 1)
	r.prune(t.Context())
	if s := r.Status(); s.Endpoints != 1 || s.Registered != 2 {
		t.Errorf("%+v", s)
	}
}

// TestRouterCountsWhatItCannotRead: bad messages change nothing (I10).
func TestRouterCountsWhatItCannotRead(t *testing.T) {
	server := bustest.Run(t, nil)
	r := startRouter(t, server.URL(), nil)
	r.await(t, "NATS is up", func(s Status) bool { return s.NATS })
	nc := bustest.Client(t, server.URL())
	for _, bad := range []string{"", "{", `{"uris":[]}`, `{"host":"a","port":1,"uris":["b"],"stale_threshold_in_seconds":"x"}`} {
		for _, subject := range []string{wire.SubjectRouterRegister, wire.SubjectRouterUnregister} {
			if err := nc.Publish(subject, []byte(bad)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.await(t, "eight bad messages", func(s Status) bool { return s.Malformed == 8 && s.Endpoints == 0 })
}

func TestRouterRefusesBadOptions(t *testing.T) {
	if _, err := Start(t.Context(), Options{Listen: "127.0.0.1:0", Attempts: 1000}); err == nil {
		t.Error("it started")
	}
}
