//go:build !race

package browsertest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// frontDoor is one address in front of several nodes, as a load balancer is. It leads to one node at a time.
type frontDoor struct {
	t      testing.TB
	url    string
	target atomic.Pointer[url.URL]
}

// openFrontDoor opens a front door that leads to a node. It is closed when the test ends.
func openFrontDoor(t testing.TB, node string) *frontDoor {
	t.Helper()
	d := &frontDoor{t: t}
	d.leadTo(node)
	server := httptest.NewServer(&httputil.ReverseProxy{
		FlushInterval: -1, // events must not wait
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(d.target.Load())
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	d.url = server.URL
	return d
}

func (d *frontDoor) leadTo(node string) {
	d.t.Helper()
	target, err := url.Parse(node)
	if err != nil {
		d.t.Fatal(err)
	}
	d.target.Store(target)
}
