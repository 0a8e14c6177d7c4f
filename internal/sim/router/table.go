package router

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"hm/internal/sim/wire"
)

// maxEndpoints bounds the table against a flood of messages.
const maxEndpoints = 1_000_000

// endpoint is one instance's address under one name.
type endpoint struct {
	addr     string // host:port
	app      string
	instance string
	heard    time.Time     // when it was registered last, or when NATS came back
	stale    time.Duration // its own threshold, 0 for the router's
	failedAt time.Time     // when a connection failed last; zero: it works, as far as is known
}

// pool is the endpoints of one name, which take turns.
type pool struct {
	endpoints []*endpoint
	next      int
}

// table is the routes. It is safe for concurrent use. All its methods take the time.
type table struct {
	threshold  time.Duration // of an endpoint without its own
	retryAfter time.Duration // how long an endpoint that failed is passed over

	mu    sync.Mutex
	pools map[string]*pool
	count int // endpoints
}

func newTable(threshold time.Duration) *table {
	return &table{threshold: threshold, retryAfter: threshold / 4, pools: map[string]*pool{}}
}

func addrOf(r wire.Route) string { return net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port))) }

// register adds a route or refreshes it. It returns false if the table is full.
func (t *table) register(r wire.Route, now time.Time) bool {
	addr := addrOf(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, uri := range r.URIs {
		p := t.pools[uri]
		var e *endpoint
		if p != nil {
			if i := p.find(addr); i >= 0 {
				e = p.endpoints[i]
			}
		}
		if e == nil {
			if t.count >= maxEndpoints {
				return false
			}
			if p == nil {
				p = &pool{}
				t.pools[uri] = p
			}
			e = &endpoint{addr: addr}
			p.endpoints = append(p.endpoints, e)
			t.count++
		}
		if e.instance != r.Instance { // another instance has got the port
			e.failedAt = time.Time{}
		}
		e.app, e.instance, e.heard = r.App, r.Instance, now
		e.stale = time.Duration(r.StaleSeconds) * time.Second
	}
	return true
}

// unregister removes a route. A late message about an earlier instance does not remove the one that has its port now.
func (t *table) unregister(r wire.Route) {
	addr := addrOf(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, uri := range r.URIs {
		p := t.pools[uri]
		if p == nil {
			continue
		}
		i := p.find(addr)
		if i < 0 || (r.Instance != "" && r.Instance != p.endpoints[i].instance) {
			continue
		}
		p.endpoints = slices.Delete(p.endpoints, i, i+1)
		t.count--
		if len(p.endpoints) == 0 {
			delete(t.pools, uri)
		}
	}
}

func (p *pool) find(addr string) int {
	return slices.IndexFunc(p.endpoints, func(e *endpoint) bool { return e.addr == addr })
}

// pick chooses the next endpoint of a name. Those that failed a short while ago are passed over, unless all did.
func (t *table) pick(uri string, now time.Time) (e endpoint, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pools[uri]
	if p == nil {
		return endpoint{}, false
	}
	n := len(p.endpoints)
	for i := range n {
		at := (p.next + i) % n
		if e := p.endpoints[at]; e.failedAt.IsZero() || now.Sub(e.failedAt) > t.retryAfter {
			p.next = (at + 1) % n
			return *e, true
		}
	}
	for _, e := range p.endpoints {
		e.failedAt = time.Time{}
	}
	at := p.next % n
	p.next = (at + 1) % n
	return *p.endpoints[at], true
}

// fail says that a connection to an endpoint failed.
func (t *table) fail(uri, addr string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.pools[uri]; p != nil {
		if i := p.find(addr); i >= 0 {
			p.endpoints[i].failedAt = now
		}
	}
}

// staleAt reports whether an endpoint was not registered for its threshold.
func (t *table) staleAt(e *endpoint, now time.Time) bool {
	limit := t.threshold
	if e.stale > 0 {
		limit = min(limit, e.stale)
	}
	return now.Sub(e.heard) > limit
}

// prune removes the stale endpoints, and returns how many.
func (t *table) prune(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.count
	for uri, p := range t.pools {
		had := len(p.endpoints)
		p.endpoints = slices.DeleteFunc(p.endpoints, func(e *endpoint) bool { return t.staleAt(e, now) })
		t.count -= had - len(p.endpoints)
		if len(p.endpoints) == 0 {
			delete(t.pools, uri)
		}
	}
	return before - t.count
}

// freshen gives every endpoint a whole threshold from now on.
func (t *table) freshen(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pools {
		for _, e := range p.endpoints {
			e.heard = now
		}
	}
}

// size counts the names, the endpoints, and those of them that are stale.
func (t *table) size(now time.Time) (names, endpoints, stale int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pools {
		for _, e := range p.endpoints {
			if t.staleAt(e, now) {
				stale++
			}
		}
	}
	return len(t.pools), t.count, stale
}

// Route is one endpoint of one name, as it is shown.
type Route struct {
	URI      string    `json:"uri"`
	Address  string    `json:"address"`
	App      string    `json:"app"`
	Instance string    `json:"instance"`
	Heard    time.Time `json:"heard"`
	Stale    bool      `json:"stale"`
	Failed   bool      `json:"failed"`
}

// all gives at most n endpoints of names after the given one, or all, sorted by name and address. The endpoints of a
// name stay together, so that there may be more than n.
func (t *table) all(after string, n int, now time.Time) []Route {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for uri := range t.pools {
		if uri > after {
			names = append(names, uri)
		}
	}
	slices.Sort(names)
	routes := []Route{}
	for _, uri := range names {
		if len(routes) >= n {
			break
		}
		from := len(routes)
		for _, e := range t.pools[uri].endpoints {
			routes = append(routes, Route{URI: uri, Address: e.addr, App: e.app, Instance: e.instance,
				Heard: e.heard.UTC(), Stale: t.staleAt(e, now), Failed: !e.failedAt.IsZero()})
		}
		slices.SortFunc(routes[from:], func(a, b Route) int { return cmp.Compare(a.Address, b.Address) })
	}
	return routes
}
