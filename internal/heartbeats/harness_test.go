package heartbeats

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hm/actual"
	"hm/actual/feed"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
	"hm/internal/tcpproxy"
	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

func TestMain(m *testing.M) {
	patience = 3 * time.Second
	os.Exit(m.Run())
}

// sink keeps the heartbeats that a node has taken.
type sink struct {
	mu      sync.Mutex
	newest  map[string]feed.Digest // by DEA
	digests map[feed.Digest]bool   // the same
	taken   []string               // the DEA and the number of instances of each decoded heartbeat
	repeats int
	garbled []string
}

func (s *sink) Unchanged(d feed.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.digests[d] {
		s.repeats++
	}
	return s.digests[d]
}

func (s *sink) Heartbeat(hb actual.Heartbeat, d feed.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		s.newest, s.digests = map[string]feed.Digest{}, map[feed.Digest]bool{}
	}
	delete(s.digests, s.newest[hb.DEA])
	s.newest[hb.DEA], s.digests[d] = d, true
	s.taken = append(s.taken, fmt.Sprintf("%s/%d", hb.DEA, len(hb.Instances)))
}

func (s *sink) Garbled(dea, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.garbled = append(s.garbled, dea)
}

// Exit does nothing: it never comes this way.
func (s *sink) Exit(actual.Exit) {}

// Updated does nothing: it never comes this way.
func (s *sink) Updated(app.GUID) {}

func (s *sink) all() (taken []string, repeats int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.taken), s.repeats
}

// node is the part of a node that takes heartbeats: a real feed, whose NATS is away.
type node struct {
	sink   sink
	posts  *feed.Posts
	relays *feed.Posts
}

func newNode(t testing.TB) *node {
	t.Helper()
	link, err := bus.Open(bus.Options{Servers: []string{"nats://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{}
	f, err := feed.Open(link, &n.sink, time.Second, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); _ = link.Close() })
	n.posts, n.relays = f.Posts(&n.sink), f.Posts(&n.sink)
	return n
}

// secured is an endpoint with TLS, and what its clients need.
type secured struct {
	*Server
	node *node
	ca   *tlstest.Authority
	log  *lockedBuffer
}

func serve(t testing.TB, change func(*Options)) *secured {
	t.Helper()
	s := &secured{node: newNode(t), ca: tlstest.New(t), log: &lockedBuffer{}}
	cert, key := s.ca.Issue("node", nil)
	o := Options{Listen: "127.0.0.1:0", TLS: TLS{cert, key, s.ca.CA}, Posts: s.node.posts, Period: 10 * time.Second,
		Logger: slog.New(slog.NewTextHandler(s.log, nil))}
	if change != nil {
		change(&o)
	}
	var err error
	if s.Server, err = Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client makes a client with a certificate of its own, and with a connection of its own.
func (s *secured) client(t testing.TB) *http.Client {
	cert, key := s.ca.Issue("dea", nil)
	return clientWith(t, s.config(t, cert, key))
}

func (s *secured) config(t testing.TB, cert, key string) *tls.Config {
	t.Helper()
	c, err := tlsfiles.Client(tlsfiles.File{Key: "ca", Path: s.ca.CA}, tlsfiles.File{Key: "cert", Path: cert}, tlsfiles.File{Key: "key", Path: key})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func clientWith(t testing.TB, c *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: c, MaxConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func (s *secured) url() string { return "https://" + s.Addr() + Path }

// post posts a body and gives the status.
func (s *secured) post(t testing.TB, c *http.Client, body []byte) int {
	t.Helper()
	resp, err := c.Post(s.url(), "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("the answer has the body %q, %v", rest, err)
	}
	return resp.StatusCode
}

// beat is a heartbeat of a DEA with n instances.
func beat(dea string, n int) []byte {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(`{"cc_partition":"default","droplet":"10000000-0000-4000-8000-%012d","version":"20000000-0000-4000-8000-%012d",`+
			`"instance":"%032x","index":%d,"state":"RUNNING","state_timestamp":1404260398.123}`, i/4, i/4, i+1, i%4)
	}
	return []byte(`{"droplets":[` + strings.Join(entries, ",") + `],"dea":"` + dea + `"}`)
}

// peerNode takes what a Relay tells, over a connection that the test can disturb.
type peerNode struct {
	*node
	listener net.Listener
	proxy    *tcpproxy.Proxy
	bodies   atomic.Bool // it records what it hears
}

func servePeer(t testing.TB, wait time.Duration) *peerNode {
	t.Helper()
	p := &peerNode{node: newNode(t)}
	var err error
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.proxy = startProxy(t, p.listener.Addr().String())
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _ = Taker{Posts: p.relays, Bodies: p.bodies.Load, Wait: wait}.ServePeer(ctx, conn) })
		}
	})
	t.Cleanup(func() { cancel(); _ = p.listener.Close(); serving.Wait() })
	return p
}

// startProxy starts a proxy with the system's own buffers, so that a heartbeat fits.
func startProxy(t testing.TB, target string) *tcpproxy.Proxy {
	t.Helper()
	p, err := tcpproxy.Start(tcpproxy.Options{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// peers reaches peerNodes, through their proxies.
type peers []*peerNode

func (p peers) IDs() (ids []string) {
	for i := range p {
		ids = append(ids, fmt.Sprint(i))
	}
	return ids
}

func (p peers) Dial(ctx context.Context, id string) (net.Conn, error) {
	var i int
	_, _ = fmt.Sscan(id, &i)
	return (&net.Dialer{}).DialContext(ctx, "tcp", p[i].proxy.Addr())
}

// relayTo starts a relay and waits until it is connected.
func relayTo(t testing.TB, wait time.Duration, to ...*peerNode) *Relay {
	t.Helper()
	r := NewRelay(peers(to), wait, nil)
	t.Cleanup(r.Close)
	bustest.Until(t, "the relay is connected", func() bool { return r.Connected() == len(to) })
	return r
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
