package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/sampled"
	"hm/internal/sim/wire"
)

// Options describe a router. Fields that name no default must be set.
type Options struct {
	Listen           string        // TCP address for the users
	RegisterInterval time.Duration // how often DEAs are asked to register each route; gorouter: 20 s
	StaleThreshold   time.Duration // how long a route stays that nobody registers again; gorouter: 120 s
	PruneInterval    time.Duration // how often stale routes are looked for; gorouter: 30 s
	Attempts         int           // endpoints tried for one request, default 3
	// PruneWithoutNATS removes routes that NATS cannot refresh, as gorouter does without
	// suspend_pruning_if_nats_unavailable.
	PruneWithoutNATS bool
	Logger           *slog.Logger
	Dial             func(name string) (*nats.Conn, error) // opens a connection to NATS, which is tried for ever
}

// Router is a running router. Its methods are safe for concurrent use.
type Router struct {
	opts     Options
	log      *slog.Logger
	id       string
	table    *table
	proxy    *proxy
	listener net.Listener
	nc       *nats.Conn
	in       chan *nats.Msg
	subs     []*nats.Subscription
	bad      *sampled.Log

	cancel context.CancelFunc
	wg     sync.WaitGroup

	registered, unregistered, malformed, refused, pruned, outages atomic.Uint64

	linkMu     sync.Mutex // guards the rest
	up         bool
	since      time.Time // of up
	reconnects uint64    // of the connection, when the routes were last given a whole threshold
	doubted    bool      // the server did not answer although the connection looks up
}

// inbox bounds the messages that wait to be read. More are dropped and counted.
const inbox = 1 << 16

// Start runs a router until ctx ends or Close is called. NATS need not be up.
func Start(ctx context.Context, o Options) (*Router, error) {
	if o.Attempts == 0 {
		o.Attempts = 3
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	r := &Router{opts: o, log: o.Logger, id: "0-" + newID(), table: newTable(o.StaleThreshold),
		in: make(chan *nats.Msg, inbox), since: time.Now(), bad: sampled.New(o.Logger, time.Minute, 3)}
	r.proxy = newProxy(r.table, o.Attempts)
	var err error
	if r.listener, err = net.Listen("tcp", o.Listen); err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	if r.nc, err = o.Dial("hm-sim router"); err != nil {
		_ = r.listener.Close()
		return nil, fmt.Errorf("router: %w", err)
	}
	for _, subject := range []string{wire.SubjectRouterRegister, wire.SubjectRouterUnregister, wire.SubjectRouterGreet} {
		sub, err := r.nc.ChanSubscribe(subject, r.in)
		if err != nil {
			_ = r.listener.Close()
			r.nc.Close()
			return nil, fmt.Errorf("router: subscribe to %s: %w", subject, err)
		}
		r.subs = append(r.subs, sub)
	}
	ctx, r.cancel = context.WithCancel(ctx)
	changes := r.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED)
	r.wg.Go(func() { r.run(ctx, changes) })
	srv := &http.Server{Handler: r.proxy.handler(), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	r.wg.Go(func() { _ = srv.Serve(r.listener) }) // ends by Shutdown or Close below
	r.wg.Go(func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			_ = srv.Close()
		}
	})
	return r, nil
}

func (o Options) validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"register interval", o.RegisterInterval}, {"stale threshold", o.StaleThreshold},
		{"prune interval", o.PruneInterval},
	} {
		if d.value < time.Millisecond {
			errs = append(errs, fmt.Errorf("%s is %s, it must be at least 1ms", d.name, d.value))
		}
	}
	if o.Attempts < 1 || o.Attempts > 100 {
		errs = append(errs, fmt.Errorf("attempts is %d, it must be 1 to 100", o.Attempts))
	}
	return errors.Join(errs...)
}

// Close ends the router and waits for everything that it started. It may be called more than once.
func (r *Router) Close() {
	r.cancel()
	r.wg.Wait()
	r.nc.Close()
	r.proxy.transport.CloseIdleConnections()
}

// URL is where users send their requests.
func (r *Router) URL() string { return "http://" + r.listener.Addr().String() }

// run keeps the table until ctx ends.
func (r *Router) run(ctx context.Context, changes <-chan nats.Status) {
	tick := time.NewTicker(r.opts.PruneInterval)
	defer tick.Stop()
	r.look(time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-r.in:
			r.take(m)
		case <-changes:
			r.look(time.Now())
		case <-tick.C:
			r.prune(ctx)
		}
	}
}

// take reads one message.
func (r *Router) take(m *nats.Msg) {
	if m.Subject == wire.SubjectRouterGreet {
		if m.Reply != "" {
			_ = m.Respond(r.start()) // without an answer the DEA keeps the interval that it has
		}
		return
	}
	route, err := wire.ParseRoute(m.Data)
	if err != nil {
		r.malformed.Add(1)
		r.bad.Log(slog.LevelWarn, "unreadable", "unreadable route",
			func() []any { return []any{"subject", m.Subject, "error", err} })
		return
	}
	if m.Subject == wire.SubjectRouterUnregister {
		r.unregistered.Add(1)
		r.table.unregister(route)
		return
	}
	r.registered.Add(1)
	if !r.table.register(route, time.Now()) {
		r.refused.Add(1)
		r.bad.Log(slog.LevelWarn, "full", "the route table is full", func() []any { return []any{"limit", maxEndpoints} })
	}
}

// start is router.start: it asks the DEAs for all their routes, and to repeat them at the interval.
func (r *Router) start() []byte {
	return wire.MustJSON(wire.RouterStart{ID: r.id, Hosts: []string{"127.0.0.1"},
		RegisterIntervalSecond: r.opts.RegisterInterval.Seconds(), PruneThresholdSecond: r.opts.StaleThreshold.Seconds()})
}

// look notes whether NATS is up. If it has been away, every route gets a whole threshold, and the DEAs are asked for
// all their routes.
func (r *Router) look(now time.Time) (up bool) {
	up, reconnects := r.nc.IsConnected(), r.nc.Stats().Reconnects
	r.linkMu.Lock()
	back := up && (!r.up || r.reconnects != reconnects)
	if up != r.up || back {
		r.since = now
	}
	if r.up && (!up || back) {
		r.outages.Add(1)
	}
	r.up = up
	if back {
		r.reconnects, r.doubted = reconnects, false
	}
	r.linkMu.Unlock()
	if back {
		r.table.freshen(now)
		_ = r.nc.Publish(wire.SubjectRouterStart, r.start()) // lost only if NATS is away again
	}
	return up
}

// prune removes stale routes, unless NATS is away. It reads everything first that NATS has sent so far, so that a router
// that is behind does not remove what it has yet to read.
func (r *Router) prune(ctx context.Context) {
	if r.opts.PruneWithoutNATS {
		r.pruned.Add(uint64(r.table.prune(time.Now())))
		return
	}
	if !r.look(time.Now()) || !r.answers(ctx) {
		return
	}
	for range len(r.in) {
		r.take(<-r.in)
	}
	if r.look(time.Now()) {
		if n := r.table.prune(time.Now()); n > 0 {
			r.pruned.Add(uint64(n))
			r.log.Debug("removed stale routes", "count", n)
		}
	}
}

// answers asks the server for a sign of life, since a connection may look up although its peer is gone. Once the server
// answers again, the routes get a whole threshold.
func (r *Router) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, min(2*time.Second, max(r.opts.PruneInterval, 100*time.Millisecond)))
	defer cancel()
	err := r.nc.FlushWithContext(ctx)
	r.linkMu.Lock()
	was := r.doubted
	r.doubted = err != nil
	r.linkMu.Unlock()
	if err != nil {
		return false
	}
	if was {
		r.table.freshen(time.Now())
	}
	return true
}

// Status is what a router knows and did.
type Status struct {
	Listen    string    `json:"listen"`
	NATS      bool      `json:"nats"`       // whether it is up
	NATSSince time.Time `json:"nats_since"` // since when NATS is as it is
	Outages   uint64    `json:"outages"`    // of NATS so far

	Routes    int `json:"routes"`    // names
	Endpoints int `json:"endpoints"` // addresses of all names
	Stale     int `json:"stale"`     // of these, those that nobody has registered for the threshold

	Registered   uint64 `json:"registered"`   // messages router.register
	Unregistered uint64 `json:"unregistered"` // messages router.unregister
	Malformed    uint64 `json:"malformed"`    // messages that could not be read
	Refused      uint64 `json:"refused"`      // routes that found the table full
	Dropped      int    `json:"dropped"`      // messages that came faster than they were read
	Pruned       uint64 `json:"pruned"`       // endpoints removed because they were stale

	Requests uint64 `json:"requests"`
	Answered uint64 `json:"answered"` // by an instance
	Unknown  uint64 `json:"unknown"`  // 404: no route
	Failed   uint64 `json:"failed"`   // 502: no endpoint took it
	Left     uint64 `json:"left"`     // the user went away first
	Retries  uint64 `json:"retries"`  // further endpoints that were tried
}

// Status gives the present status.
func (r *Router) Status() Status {
	c := &r.proxy.counters
	s := Status{
		Listen: r.listener.Addr().String(), Outages: r.outages.Load(),
		Registered: r.registered.Load(), Unregistered: r.unregistered.Load(), Malformed: r.malformed.Load(),
		Refused: r.refused.Load(), Pruned: r.pruned.Load(),
		Requests: c.requests.Load(), Answered: c.answered.Load(), Unknown: c.unknown.Load(), Failed: c.failed.Load(),
		Left: c.left.Load(), Retries: c.retries.Load(),
	}
	for _, sub := range r.subs {
		if n, err := sub.Dropped(); err == nil {
			s.Dropped += n
		}
	}
	s.Routes, s.Endpoints, s.Stale = r.table.size(time.Now())
	r.linkMu.Lock()
	s.NATS, s.NATSSince = r.up && !r.doubted, r.since.UTC()
	r.linkMu.Unlock()
	return s
}

// Routes gives the endpoints of names after the given one, sorted, n or a few more.
func (r *Router) Routes(after string, n int) []Route { return r.table.all(after, n, time.Now()) }
