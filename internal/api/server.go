package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hm/internal/maxconns"
	"hm/internal/reconcile"
	"hm/internal/tlsfiles"
)

// Server is one node's API. All its methods are safe for concurrent use.
type Server struct {
	opts       Options
	wall       wallClock
	fleet      fleet
	keys       keyList
	selections selections
	samples    series
	gates      [classes]*gate
	forward    *forwarder
	door       *door
	audit      *audit
	registry   *prometheus.Registry
	unanswered unanswered
	knows      atomic.Bool // this node knew enough to answer a Cloud Controller when that was last checked
	answering  atomic.Bool // it is in the queue group that answers
	questions  questionCounts
	requests   *prometheus.CounterVec
	handler    http.Handler

	recordings chan struct{}   // has an element for each recording under way
	snapshots  chan struct{}   // has an element for each snapshot that is sent
	restores   chan struct{}   // has an element while one is restored
	followers  chan struct{}   // has an element for each stream of events
	profiling  chan struct{}   // has an element while a profile is taken
	ending     context.Context // ends when Close begins, and with it the recordings and streams
	end        context.CancelFunc

	listener net.Listener
	http     *http.Server
	peers    *http.Server // serves the writes that other nodes forward
	served   sync.WaitGroup
	done     chan struct{} // closed by Close
	closing  sync.Once
	closed   error
}

// Open listens and serves until Close.
func Open(o Options) (*Server, error) {
	s, secure, err := newServer(o)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", s.opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening on api.listen %s: %w", s.opts.Listen, err)
	}
	var idle maxconns.Idle
	s.listener = maxconns.LimitIdle(l, s.opts.MaxConns, &idle)
	if secure != nil {
		s.listener = tls.NewListener(s.listener, secure.ForListener())
	}
	s.http = &http.Server{
		Handler: s.handler, MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: patience.header,
		ReadTimeout: patience.request, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ConnState: idle.ConnState, ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
	s.served.Go(func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Logger.Error("the API no longer serves requests", "error", err)
		}
	})
	clearUploads(s.opts.SpoolDir)
	s.servePeers()
	s.served.Go(s.forget)
	s.served.Go(s.keepSamples)
	return s, nil
}

// newServer makes a server that does not listen yet.
func newServer(o Options) (*Server, *tlsfiles.Set, error) {
	o, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	server, err := o.load(o.TLSFiles)
	if err != nil {
		return nil, nil, err
	}
	s := &Server{opts: o, door: newDoor(o), audit: newAudit(), done: make(chan struct{}), recordings: make(chan struct{}, maxRecordings), snapshots: make(chan struct{}, maxSnapshots), restores: make(chan struct{}, 1), followers: make(chan struct{}, maxFollowers), profiling: make(chan struct{}, 1)}
	s.ending, s.end = context.WithCancel(context.Background())
	s.fleet.policy, s.fleet.eval, s.fleet.background, s.fleet.small = o.Policy, reconcile.NewEvaluator(o.Policy), s.served.Go, smallFleet
	s.selections.scans = newScanGate()
	for c, b := range classBounds {
		s.gates[c] = newGate(b.slots, b.wait, b.name)
	}
	s.samples.period = samplePeriod(o.Policy.HeartbeatPeriod)
	s.forward = newForwarder(o)
	s.registry, s.requests = s.newMetrics()
	s.handler = s.routes()
	return s, server, nil
}

// forget drops what is kept for pages that no one asks for any more. It is large for a large fleet.
func (s *Server) forget() {
	tick := time.NewTicker(listKeep / 2)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
			s.fleet.forget()
			s.keys.forget()
			s.selections.forget()
		}
	}
}

// Addr is the address that the server listens on, with the real port if Listen has port 0.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close stops listening and ends recordings and streams of events. It gives the requests under way up to five seconds to finish, closes the
// connections of the others, and returns when every goroutine of the server has ended.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.end()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		for _, h := range []*http.Server{s.http, s.peers} {
			err := h.Shutdown(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				err = h.Close() // of what goes on still, and of connections on which nothing was ever asked
			}
			if err != nil {
				s.closed = errors.Join(s.closed, fmt.Errorf("closing the API: %w", err))
			}
		}
		close(s.done)
		s.served.Wait()
		s.forward.close()
	})
	return s.closed
}
