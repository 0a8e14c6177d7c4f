package router

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"
)

// The headers that a router adds.
const (
	HeaderApp       = "X-CF-ApplicationID" // to the instance: its app
	HeaderInstance  = "X-CF-InstanceID"    // to the instance: its private_instance_id
	HeaderRequestID = "X-Vcap-Request-Id"  // to the instance and to the user
	HeaderError     = "X-Cf-RouterError"   // to the user: why the router itself answered
)

// The values of HeaderError.
const (
	ErrorUnknownRoute = "unknown_route"    // 404: no route for the name
	ErrorEndpoint     = "endpoint_failure" // 502: no endpoint took the request
)

// proxy carries requests to the endpoints of the table.
type proxy struct {
	table     *table
	attempts  int
	transport *http.Transport
	counters  struct {
		requests, answered, unknown, failed, left, retries atomic.Uint64
	}
}

func newProxy(t *table, attempts int) *proxy {
	return &proxy{table: t, attempts: attempts, transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: -1}).DialContext,
		MaxIdleConns:        1000,
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     10 * time.Second,
		DisableCompression:  true,
	}}
}

// handler serves the users.
func (p *proxy) handler() http.Handler {
	reverse := &httputil.ReverseProxy{
		Transport: p,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = nameOf(r.In) // RoundTrip replaces it with an endpoint
			r.Out.Header.Set(HeaderRequestID, newID())
		},
		ModifyResponse: func(res *http.Response) error {
			p.counters.answered.Add(1)
			res.Header.Set(HeaderRequestID, res.Request.Header.Get(HeaderRequestID))
			return nil
		},
		ErrorHandler: p.refuse,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.counters.requests.Add(1)
		reverse.ServeHTTP(w, r)
	})
}

// newID makes an id that is not a secret.
func newID() string { return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) }

// nameOf is the name that a request is for.
func nameOf(r *http.Request) string {
	name := r.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	return strings.ToLower(name)
}

// errUnknownRoute: the table has no endpoint for the name.
var errUnknownRoute = errors.New("no route")

// RoundTrip sends a request to an endpoint of its name, and to another one if the connection fails.
func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	name, body := r.URL.Host, r.Body
	for attempt := 1; ; attempt++ {
		e, ok := p.table.pick(name, time.Now())
		if !ok {
			return nil, errUnknownRoute
		}
		try := r.Clone(r.Context())
		try.URL.Host = e.addr
		try.Header.Set(HeaderInstance, e.instance)
		try.Header.Set(HeaderApp, e.app)
		if body != nil && body != http.NoBody {
			try.Body = keptOpen{body} // the transport closes a body even if it could not connect
		}
		res, err := p.transport.RoundTrip(try)
		if err == nil {
			return res, nil
		}
		if r.Context().Err() != nil || !mayRepeat(err, r) {
			return nil, err
		}
		p.table.fail(name, e.addr, time.Now())
		if attempt >= p.attempts {
			return nil, err
		}
		p.counters.retries.Add(1)
	}
}

// mayRepeat reports whether another endpoint may be tried after an error: no connection was made, or the request changes
// nothing and has no body. An instance that was killed breaks off what it has begun.
func mayRepeat(err error, r *http.Request) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.Body == nil || r.Body == http.NoBody)
}

// keptOpen is a request's body that outlives an attempt.
type keptOpen struct{ io.Reader }

func (keptOpen) Close() error { return nil }

// refuse answers a request that reached no endpoint.
func (p *proxy) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, reason := http.StatusBadGateway, ErrorEndpoint
	text := fmt.Sprintf("Registered endpoint failed to handle the request (%.200s).", err)
	switch {
	case errors.Is(err, errUnknownRoute):
		p.counters.unknown.Add(1)
		status, reason = http.StatusNotFound, ErrorUnknownRoute
		text = fmt.Sprintf("Requested route (%.253q) does not exist.", nameOf(r))
	case r.Context().Err() != nil: // the user left, or the router ends
		p.counters.left.Add(1)
	default:
		p.counters.failed.Add(1)
	}
	w.Header().Set(HeaderError, reason)
	http.Error(w, fmt.Sprintf("%d %s: %s", status, http.StatusText(status), text), status)
}
