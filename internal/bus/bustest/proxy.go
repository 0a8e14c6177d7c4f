package bustest

import (
	"testing"

	"hm/internal/tcpproxy"
)

// Proxy is a proxy in front of a NATS server.
type Proxy struct{ *tcpproxy.Proxy }

// RunProxy starts a proxy to target (host:port) for the length of the test. It holds little of what a client sends, so
// that a client soon notices when nothing passes.
func RunProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := tcpproxy.Start(tcpproxy.Options{Target: target, ClientBuffer: 4096})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &Proxy{p}
}

// URL is the proxy's address for clients.
func (p *Proxy) URL() string { return "nats://" + p.Addr() }

// BlackHole makes the proxy pass no bytes and close nothing, or ends that.
func (p *Proxy) BlackHole(on bool) {
	mode := tcpproxy.Pass
	if on {
		mode = tcpproxy.Hold
	}
	p.Set(mode)
}
