package bustest

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// RunCluster starts n servers that are one NATS cluster, for the length of the test. advertise gives the address of a
// server that it tells its clients; nil: its own. Each server reaches server i through the proxy routes[i].
func RunCluster(t testing.TB, n int, advertise func(i int) string) (servers []*Server, routes []*Proxy) {
	t.Helper()
	ports := FreePorts(t, 2*n) // fixed, so that a server finds its peers again after a restart
	for i := range n {
		routes = append(routes, RunProxy(t, fmt.Sprintf("127.0.0.1:%d", ports[n+i])))
	}
	for i := range n {
		var peers []*url.URL
		for k := range n {
			if k != i {
				peers = append(peers, &url.URL{Scheme: "nats-route", Host: routes[k].Addr()})
			}
		}
		servers = append(servers, Run(t, func(o *server.Options) {
			o.ServerName, o.Port, o.Routes = fmt.Sprintf("nats-%d", i), ports[i], peers
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[n+i], Advertise: routes[i].Addr(), PoolSize: -1}
			o.LameDuckDuration, o.LameDuckGracePeriod = 3*time.Second, 2*time.Second
			if advertise != nil {
				o.ClientAdvertise = advertise(i)
			}
		}))
	}
	AwaitRoutes(t, servers...)
	return servers, routes
}

// AwaitRoutes waits until each of the servers has a route to every other one.
func AwaitRoutes(t testing.TB, servers ...*Server) {
	t.Helper()
	Until(t, "the servers have routes to each other", func() bool {
		for _, s := range servers {
			if s.NumRoutes() < len(servers)-1 {
				return false
			}
		}
		return true
	})
}
