package router

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hm/internal/sim/wire"
)

// proxied is a proxy with a table, served over HTTP.
type proxied struct {
	t *testing.T
	*proxy
	server *httptest.Server
}

func newProxied(t *testing.T) *proxied {
	table := newTable(time.Minute)
	p := &proxied{t: t, proxy: newProxy(table, 3)}
	p.server = httptest.NewServer(p.handler())
	t.Cleanup(p.transport.CloseIdleConnections)
	t.Cleanup(p.server.Close)
	return p
}

// endpoint runs an instance that answers with its name.
func (p *proxied) endpoint(name string) *httptest.Server {
	p.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, name+" "+r.Header.Get(HeaderInstance)+" "+r.Header.Get(HeaderApp)+" "+r.Host+" "+string(body))
	}))
	p.t.Cleanup(s.Close)
	p.add(name, s.Listener.Addr().String())
	return s
}

func (p *proxied) add(name, addr string) {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	p.table.register(wire.Route{App: "app-" + name, URIs: []string{"a.test"}, Host: host, Port: uint16(n),
		Instance: "id-" + name}, time.Now())
}

// refusing gives an address that refuses connections.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *proxied) ask(method, host, body string) (status int, reason, text string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.server.URL+"/x", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Host = host
	res, err := p.server.Client().Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get(HeaderError), string(b)
}

func TestRequestReachesTheInstance(t *testing.T) {
	p := newProxied(t)
	p.endpoint("one")
	for _, host := range []string{"a.test", "A.Test", "a.test:8080"} {
		if status, _, text := p.ask("POST", host, "payload"); status != 200 || text != "one id-one app-one "+host+" payload" {
			t.Errorf("%s: %d %q", host, status, text)
		}
	}
	if status, reason, _ := p.ask("GET", "b.test", ""); status != 404 || reason != ErrorUnknownRoute {
		t.Errorf("an unknown name: %d %q", status, reason)
	}
	c := &p.counters
	if c.requests.Load() != 4 || c.answered.Load() != 3 || c.unknown.Load() != 1 {
		t.Errorf("requests %d, answered %d, unknown %d", c.requests.Load(), c.answered.Load(), c.unknown.Load())
	}
}

// TestAnotherEndpointIsTried: a request whose connection is refused goes to another endpoint, with its body; after three
// endpoints it fails.
func TestAnotherEndpointIsTried(t *testing.T) {
	p := newProxied(t)
	p.add("dead-1", refusing(t))
	p.add("dead-2", refusing(t))
	p.endpoint("one")
	for range 3 {
		if status, _, text := p.ask("POST", "a.test", "payload"); status != 200 || !strings.HasSuffix(text, "payload") {
			t.Errorf("%d %q", status, text)
		}
	}
	if n := p.counters.retries.Load(); n != 2 {
		t.Errorf("%d retries, want 2: an endpoint that failed is passed over", n)
	}
	for i := range 3 {
		p.add("dead-"+strconv.Itoa(3+i), refusing(t))
	}
	p.table.unregister(wire.Route{URIs: []string{"a.test"}, Host: "127.0.0.1", Port: portOf(t, p, "id-one")})
	if status, reason, _ := p.ask("GET", "a.test", ""); status != 502 || reason != ErrorEndpoint {
		t.Errorf("only dead endpoints: %d %q", status, reason)
	}
	if n := p.counters.failed.Load(); n != 1 {
		t.Errorf("%d failed", n)
	}
}

func portOf(t *testing.T, p *proxied, instance string) uint16 {
	t.Helper()
	for _, r := range p.table.all("", 100, time.Now()) {
		if r.Instance == instance {
			u, _ := url.Parse("http://" + r.Address)
			n, _ := strconv.Atoi(u.Port())
			return uint16(n)
		}
	}
	t.Fatalf("no route of %s", instance)
	return 0
}

// TestARequestThatMayHaveWorkedIsNotRepeated: an instance that breaks a connection off may have done what a POST asks, so
// only a GET is tried elsewhere.
func TestARequestThatMayHaveWorkedIsNotRepeated(t *testing.T) {
	p := newProxied(t)
	var taken atomic.Int64
	broken := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		taken.Add(1)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(broken.Close)
	p.add("broken", broken.Listener.Addr().String())
	p.endpoint("one")
	if status, reason, _ := p.ask("POST", "a.test", "payload"); status != 502 || reason != ErrorEndpoint || taken.Load() != 1 {
		t.Errorf("a POST: %d %q, taken %d times", status, reason, taken.Load())
	}
	for range 2 {
		if status, _, text := p.ask("GET", "a.test", ""); status != 200 {
			t.Errorf("a GET: %d %q", status, text)
		}
	}
}
