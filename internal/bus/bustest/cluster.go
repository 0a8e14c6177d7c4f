package bustest

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// RunCluster starts n servers that are one NATS cluster, for the length of the test. advertise gives each server's address
// as it tells clients of the others; nil: its own.
func RunCluster(t testing.TB, n int, advertise func(i int) string) []*Server {
	t.Helper()
	ports := FreePorts(t, 2*n) // fixed, so that a server finds its peers again after a restart
	var servers []*Server
	for i := range n {
		var routes []*url.URL
		for k := range n {
			if k != i {
				routes = append(routes, &url.URL{Scheme: "nats-route", Host: fmt.Sprintf("127.0.0.1:%d", ports[n+k])})
			}
		}
		servers = append(servers, Run(t, func(o *server.Options) {
			o.ServerName, o.Port = fmt.Sprintf("nats-%d", i), ports[i]
			o.Routes = routes
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[n+i], PoolSize: -1,
				ConnectRetries: 1000, ConnectBackoff: false}
			if advertise != nil {
				o.ClientAdvertise = advertise(i)
			}
		}))
	}
	AwaitRoutes(t, servers...)
	return servers
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
