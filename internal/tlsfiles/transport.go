package tlsfiles

import (
	"crypto/tls"
	"net/http"
	"sync"
)

// Transport sends HTTP requests over connections that are made with the configuration of a set. When that changes,
// requests go over new connections; those under way end on the old ones.
type Transport struct {
	set  *Set
	make func(*tls.Config) *http.Transport

	mu     sync.Mutex
	config *tls.Config // of inner
	inner  *http.Transport
}

// NewTransport makes a Transport. make makes what sends requests with a configuration; nil if the set is nil.
func NewTransport(set *Set, make func(*tls.Config) *http.Transport) *Transport {
	config := set.Config()
	return &Transport{set: set, make: make, config: config, inner: make(config)}
}

// RoundTrip sends one request.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.current().RoundTrip(r)
}

func (t *Transport) current() *http.Transport {
	config := t.set.Config()
	t.mu.Lock()
	defer t.mu.Unlock()
	if config != t.config {
		old := t.inner
		t.config, t.inner = config, t.make(config)
		old.CloseIdleConnections()
	}
	return t.inner
}

// CloseIdleConnections closes the connections that carry no request.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inner.CloseIdleConnections()
}
