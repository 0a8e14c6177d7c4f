package component

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"hm/internal/api"
	"hm/internal/basicauth"
	"hm/internal/bus"
	"hm/internal/maxconns"
	"hm/internal/notify"
	"hm/internal/sampled"
)

// The types of component.
const (
	HealthManager = "HealthManager" // the Ruby Health Manager
	HM9000        = "HM9000"        // HM9000 until January 2016
)

const (
	logEvery     = 10 * time.Second // how often a kind of event that outsiders cause is logged
	closeTimeout = 5 * time.Second
)

// Options configure a Component.
type Options struct {
	Type  string // HealthManager or HM9000
	Index int    // of this node among the components of its type

	Listen             string // host:port of /varz and /healthz; port 0: a free one
	Username, Password string // for basic authentication; both empty: random ones
	// Address gives the address at which collectors reach the one that Listen became; nil: the same one.
	Address func(listening string) string

	Link    Link
	Figures func() api.Figures
	// ReadTook gives how long the newest complete read of the desired state by this node took; 0: there was none.
	ReadTook func() time.Duration
	// Users asks how many users the Cloud Controller has, every UsersEvery; nil: that is not known.
	Users      func(context.Context) (int, error)
	UsersEvery time.Duration

	Logger *slog.Logger
}

// Link is the part of a NATS link that a Component uses: *bus.Link.
type Link interface {
	Subscribe(subject string, limits bus.Limits, fn func(bus.Msg)) error
	Answer(m bus.Msg, data []byte) error
	Publish(ctx context.Context, subject string, data []byte) error
}

// Component is one running component. Its methods are safe for concurrent use.
type Component struct {
	opts  Options
	self  identity
	auth  basicauth.Credentials
	log   *sampled.Log
	began time.Time

	listener net.Listener
	http     *http.Server
	varz     varzCache
	users    users
	counts   counts

	ctx     context.Context // ended by Close
	end     context.CancelFunc
	served  sync.WaitGroup
	closing sync.Once
	closed  error

	announce notify.Signal

	mu          sync.Mutex // guards what follows, and sends on discover
	connections connections
	stopped     bool
	discover    chan bus.Msg // questions to answer
}

// Open listens for collectors and begins to answer on NATS. It announces the component once Follow tells it of a
// connection. The caller must close the component before the link.
func Open(o Options) (*Component, error) {
	if o.Type != HealthManager && o.Type != HM9000 {
		return nil, fmt.Errorf("component type %.40q is neither %s nor %s", o.Type, HealthManager, HM9000)
	}
	if o.Address == nil {
		o.Address = func(listening string) string { return listening }
	}
	if o.ReadTook == nil {
		o.ReadTook = func() time.Duration { return 0 }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Username == "" && o.Password == "" {
		o.Username, o.Password = randomHex(), randomHex()
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for collectors on compat.varz.listen %s: %w", o.Listen, err)
	}
	now := time.Now()
	c := &Component{
		opts: o, log: sampled.New(o.Logger, logEvery, 1), began: now, auth: basicauth.New(o.Username, o.Password),
		self: identity{
			Type: o.Type, Index: o.Index, UUID: fmt.Sprintf("%d-%s", o.Index, randomHex()),
			Host: o.Address(l.Addr().String()), Credentials: [2]string{o.Username, o.Password}, Start: rubyTime(now),
		},
		listener: maxconns.Limit(l, maxConns), announce: notify.New(), discover: make(chan bus.Msg, maxDiscover),
	}
	c.ctx, c.end = context.WithCancel(context.Background())
	c.http = c.newHTTPServer()
	c.served.Go(c.serveHTTP)
	c.served.Go(c.answerDiscover)
	c.served.Go(c.announceAtConnections)
	if o.Users != nil {
		c.served.Go(c.keepUsers)
	}
	if err := o.Link.Subscribe(subjectDiscover, bus.Limits{Messages: maxDiscoverHeld, Bytes: maxDiscoverBytes, Aside: true}, c.takeDiscover); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribing to %s: %w", subjectDiscover, err), c.Close())
	}
	return c, nil
}

// Addr is the address that /varz is served on, with the real port.
func (c *Component) Addr() string { return c.listener.Addr().String() }

// Close stops answering collectors, on NATS and over HTTP, and returns when every goroutine of the component has ended.
// The subscription ends with the link; its messages are ignored from then on.
func (c *Component) Close() error {
	c.closing.Do(func() {
		c.end()
		c.mu.Lock()
		c.stopped = true
		close(c.discover)
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := c.http.Shutdown(ctx); err != nil {
			c.closed = errors.Join(fmt.Errorf("closing the endpoint for collectors: %w", err), c.http.Close())
		}
		c.served.Wait()
	})
	return c.closed
}
