package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/app"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
	"hm/internal/sim/hm9000"
	"hm/internal/sim/router"
	"hm/internal/sim/wire"
)

// Sim is a running simulation. Its methods are safe for concurrent use.
type Sim struct {
	CC     *cc.Controller
	Fleet  *fleet.Fleet
	Router *router.Router // nil if there is none
	users  *users         // nil if there is no router

	opts                Options
	timeline            *timeline
	totals              totals
	ccAddr, controlAddr net.Addr

	faultsMu sync.Mutex
	faults   Faults
	links    struct{ cc, deas, router *link } // to NATS

	neighbourMu    sync.Mutex
	neighbour      *hm9000.HM9000 // nil: none runs
	neighbourStore *hm9000.Store  // of the one that runs, ran or will run

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Start runs a simulation until ctx ends or Close is called. NATS need not be up: connections are tried for ever, and
// until then DEAs run their instances and the Cloud Controller serves its API. If NATS is up, every DEA receives start
// messages when Start returns.
func Start(ctx context.Context, o Options) (*Sim, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("simulation: %w", err)
	}
	s := &Sim{opts: o, timeline: newTimeline(), totals: newTotals()}
	s.links.cc, s.links.deas, s.links.router = newLink(), newLink(), newLink()
	s.Fleet = fleet.New(o.fleet(s.dialOver(s.links.deas), s.timeline.after))
	var err error
	if s.CC, err = cc.Open(ctx, o.controller(s.Fleet, s.timeline.after)); err != nil {
		return nil, fmt.Errorf("simulation: %w", err)
	}
	ccListener, err := net.Listen("tcp", o.CCListen)
	if err != nil {
		s.CC.Close()
		return nil, fmt.Errorf("simulation: Cloud Controller: %w", err)
	}
	control, err := net.Listen("tcp", o.ControlListen)
	if err != nil {
		s.CC.Close()
		_ = ccListener.Close()
		return nil, fmt.Errorf("simulation: control: %w", err)
	}
	s.ccAddr, s.controlAddr = ccListener.Addr(), control.Addr()
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.wg.Go(func() { s.timeline.run(s.ctx) })
	if err := s.begin(); err != nil {
		_, _ = ccListener.Close(), control.Close()
		s.Close()
		return nil, fmt.Errorf("simulation: %w", err)
	}
	// The servers start last: connections wait until then, so that a request finds everything ready.
	servers := map[net.Listener]http.Handler{ccListener: s.CC.Handler(), control: s.controlHandler()}
	for listener, handler := range servers {
		srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second,
			BaseContext: func(net.Listener) context.Context { return s.ctx }}
		s.wg.Go(func() { serve(s.ctx, srv, func() error { return srv.Serve(listener) }) })
	}
	if err := s.SetNeighbour(Neighbour{Running: o.HM9000}); err != nil {
		s.Close()
		return nil, fmt.Errorf("simulation: %w", err)
	}
	return s, nil
}

// begin lays out the apps and the fleet and connects both to NATS.
func (s *Sim) begin() error {
	nc, err := s.dialOver(s.links.cc)("hm-sim cloud controller")
	if err != nil {
		return err
	}
	if err := s.CC.Connect(nc); err != nil {
		return err
	}
	rows, err := s.CC.Populate(s.ctx, s.opts.Apps, s.opts.InstancesPerApp)
	if err != nil {
		return err
	}
	var wanted []fleet.Wanted
	if !s.opts.ColdStart {
		for _, r := range rows {
			if r.Startable() {
				key := app.Key{Droplet: r.GUID, Version: r.Version}
				wanted = append(wanted, fleet.Wanted{App: key, Instances: r.Instances, URIs: []string{wire.AppURI(r.GUID)}})
			}
		}
	}
	if err := s.Fleet.LayOut(s.opts.DEAs, wanted); err != nil {
		return err
	}
	s.wg.Go(func() { s.CC.Respond(s.ctx) })
	if s.opts.RouterListen != "" { // before the DEAs tell it of their instances
		if s.Router, err = router.Start(s.ctx, s.opts.router(s.dialOver(s.links.router))); err != nil {
			return err
		}
	}
	if err := s.Fleet.Start(s.ctx); err != nil || s.Router == nil {
		return err
	}
	s.users = newUsers(s)
	s.users.start(s.ctx, &s.wg)
	return nil
}

// dialOver gives the function that opens a component's connections.
func (s *Sim) dialOver(l *link) func(name string) (*nats.Conn, error) {
	return func(name string) (*nats.Conn, error) { return s.dial(name, l) }
}

// dial opens a connection that is tried for ever. Nothing is buffered while NATS is away: an old heartbeat would look
// like a new one.
func (s *Sim) dial(name string, l *link) (*nats.Conn, error) {
	log := s.opts.Logger.With("connection", name)
	login := func(*nats.Options) error { return nil }
	if s.opts.NATSLogin != nil {
		login = nats.UserInfo(s.opts.NATSLogin(name))
	}
	nc, err := nats.Connect(strings.Join(s.opts.NATS, ","), nats.Name(name), login,
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.IgnoreAuthErrorAbort(),
		nats.SetCustomDialer(l), nats.Timeout(2*time.Second), nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			// A short heartbeat period is a fast clock: all waits are short, too.
			step := min(50*time.Millisecond<<min(attempts, 5), time.Second, max(s.opts.HeartbeatPeriod/4, 5*time.Millisecond))
			return step/2 + rand.N(step/2)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { log.Debug("NATS lost", "error", err) }),
		nats.ReconnectHandler(func(*nats.Conn) { log.Debug("NATS is back") }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS reports an error", "subject", subject, "error", err)
		}))
	if err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	return nc, nil
}

// Close ends the simulation and waits for everything that it started. It must be called even after the context of
// Start has ended, and may be called more than once.
func (s *Sim) Close() {
	s.cancel()
	s.closeNeighbour()
	s.wg.Wait()
	if s.Router != nil {
		s.Router.Close()
	}
	s.Fleet.Close()
	s.CC.Close()
}

// CCURL is the root of the Cloud Controller's HTTP API.
func (s *Sim) CCURL() string { return "http://" + s.ccAddr.String() }

// ControlURL is the root of the control API.
func (s *Sim) ControlURL() string { return "http://" + s.controlAddr.String() }

// serve runs an HTTP server until ctx ends, then waits for its handlers.
func serve(ctx context.Context, srv *http.Server, run func() error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = run() // ends by Shutdown or Close below
	}()
	<-ctx.Done()
	grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		_ = srv.Close()
	}
	<-done
}
