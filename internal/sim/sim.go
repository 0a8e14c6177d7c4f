package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

// Sim is a running simulation. Its methods are safe for concurrent use.
type Sim struct {
	opts       Options
	timeline   *timeline
	fleet      *fleet
	controller *controller

	ccAddr, controlAddr net.Addr

	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex // guards closed, and lanes against a Close meanwhile
	closed bool
	lanes  []*lane
	wg     sync.WaitGroup
}

// Start runs a simulation until ctx ends or Close is called. It does not need NATS to be there: connections are
// tried for ever, and until then DEAs run their instances and the Cloud Controller serves its API. Where NATS is
// there, every DEA hears its start messages when Start returns.
func Start(ctx context.Context, o Options) (*Sim, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("simulation: %w", err)
	}
	apps, err := openTable(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("simulation: %w", err)
	}
	cc, err := net.Listen("tcp", o.CCListen)
	if err != nil {
		apps.close()
		return nil, fmt.Errorf("simulation: Cloud Controller: %w", err)
	}
	control, err := net.Listen("tcp", o.ControlListen)
	if err != nil {
		apps.close()
		_ = cc.Close()
		return nil, fmt.Errorf("simulation: control: %w", err)
	}
	s := &Sim{opts: o, timeline: newTimeline(), ccAddr: cc.Addr(), controlAddr: control.Addr()}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.fleet = newFleet(o, s.timeline)
	s.controller = newController(o, s.fleet, s.timeline)
	s.controller.keepIn(apps)
	s.wg.Go(func() { s.timeline.run(s.ctx) })
	if err := s.begin(); err != nil {
		_, _ = cc.Close(), control.Close()
		s.Close()
		return nil, fmt.Errorf("simulation: %w", err)
	}
	// Served last: a request finds everything in its place, and waits until then.
	for listener, handler := range map[net.Listener]http.Handler{cc: s.controller.handler(), control: s.controlHandler()} {
		srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return s.ctx }}
		s.wg.Go(func() { serve(s.ctx, srv, func() error { return srv.Serve(listener) }) })
	}
	return s, nil
}

// begin lays out the apps and the fleet and connects both to NATS.
func (s *Sim) begin() error {
	nc, err := s.dial("hm-sim cloud controller")
	if err != nil {
		return err
	}
	s.controller.nc = nc
	if err := s.controller.subscribe(); err != nil {
		return err
	}
	rows, err := s.controller.populate(s.ctx, s.opts.Apps, s.opts.InstancesPerApp)
	if err != nil {
		return err
	}
	for _, r := range rows {
		s.fleet.changed(r.GUID)
		if r.Package == desired.Pending && r.Droplet { // was being staged anew when the simulation before this ended
			s.stageLater(r, false)
		}
	}
	lanes, err := s.openLanes(s.opts.DEAs)
	if err != nil {
		return err
	}
	s.layOut(lanes, rows)
	s.wg.Go(func() { s.controller.respond(s.ctx) })
	return s.runLanes(lanes)
}

// layOut makes the first DEAs, their beats spread evenly over the period, and, unless it is a cold start, has
// every wanted instance run on them in turn.
func (s *Sim) layOut(lanes []*lane, rows []Row) {
	f, now := s.fleet, time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range s.opts.DEAs {
		phase := time.Duration(float64(s.opts.HeartbeatPeriod) * float64(i) / float64(s.opts.DEAs))
		f.addDEA(lanes[i%len(lanes)], now.Add(phase))
	}
	if s.opts.ColdStart || len(f.deas) == 0 {
		return
	}
	next := 0
	for _, r := range rows {
		if !r.Startable() {
			continue
		}
		for i := range r.Instances {
			in := f.admit(f.deas[next%len(f.deas)], app.Key{Droplet: r.GUID, Version: r.Version}, uint32(i), actual.Running)
			in.since = now.UnixMicro() - f.mint.Int64N(int64(24*time.Hour/time.Microsecond))
			next++
		}
	}
}

// openLanes makes the connections for n more DEAs: the shared ones, or one each.
func (s *Sim) openLanes(n int) ([]*lane, error) {
	inbox := 65536
	if s.opts.ConnectionPerDEA {
		inbox = 1024
	} else {
		n = s.opts.Connections
	}
	var lanes []*lane
	for i := range n {
		nc, err := s.dial(fmt.Sprintf("hm-sim DEAs %d", i))
		if err != nil {
			for _, l := range lanes {
				l.nc.Close()
			}
			return nil, err
		}
		l := newLane(s.fleet, inbox)
		l.nc = nc
		lanes = append(lanes, l)
	}
	return lanes, nil
}

// runLanes starts the lanes' goroutines and waits until their DEAs hear, if NATS is there.
func (s *Sim) runLanes(lanes []*lane) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		for _, l := range lanes {
			l.nc.Close()
		}
		return errClosed
	}
	s.lanes = append(s.lanes, lanes...)
	for _, l := range lanes {
		s.wg.Go(func() { l.run(s.ctx) })
		s.wg.Go(func() { l.listen(s.ctx) })
	}
	s.mu.Unlock()
	for _, l := range lanes {
		select {
		case <-l.ready:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	return nil
}

var errClosed = errors.New("the simulation is closed")

// dial opens a connection that is tried for ever. Nothing is buffered while NATS is away: a heartbeat of then would
// be told as one of now.
func (s *Sim) dial(name string) (*nats.Conn, error) {
	log := s.opts.Logger.With("connection", name)
	nc, err := nats.Connect(strings.Join(s.opts.NATS, ","), nats.Name(name),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.IgnoreAuthErrorAbort(),
		nats.Timeout(2*time.Second), nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			step := min(50*time.Millisecond<<min(attempts, 5), time.Second)
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
	s.mu.Lock()
	s.closed = true
	lanes := s.lanes
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
	for _, l := range lanes {
		l.nc.Close()
	}
	if s.controller.nc != nil {
		s.controller.nc.Close()
	}
	s.controller.mu.Lock()
	defer s.controller.mu.Unlock()
	s.controller.apps.close()
}

// CCURL is the root of the Cloud Controller's HTTP API.
func (s *Sim) CCURL() string { return "http://" + s.ccAddr.String() }

// DB says where the Cloud Controller keeps its apps, as desired/sqldb takes it: sqlite, postgres or mysql, and a data
// source name, which may have a password in it. name is without. All are empty if it is memory alone.
func (s *Sim) DB() (driver, dsn, name string) {
	if db := s.controller.apps.db; db != nil { // set before Start returned
		return db.target.driver, db.target.dsn, db.target.name
	}
	return "", "", ""
}

// ControlURL is the root of the control API.
func (s *Sim) ControlURL() string { return "http://" + s.controlAddr.String() }
