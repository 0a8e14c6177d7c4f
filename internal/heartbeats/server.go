// Package heartbeats takes heartbeats over HTTPS, as late DEAs send them (POST /dea/heartbeat), and passes them on to the
// other nodes, so that every node hears every DEA. A Server is the endpoint; a Relay tells the peers, and ServePeer
// takes what a peer tells.
package heartbeats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"hm/actual/feed"
	"hm/internal/config/limits"
	"hm/internal/maxconns"
	"hm/internal/sampled"
	"hm/internal/tlsfiles"
)

// Path is where DEAs post their heartbeats (N05).
const Path = "/dea/heartbeat"

// Limits of the endpoint. A DEA gives up after 5 s (N06).
const (
	maxConns       = 16_384
	maxHeaderBytes = 16 << 10
	busyTimeout    = 2 * time.Second // a heartbeat waits so long for its turn
	writeTimeout   = 15 * time.Second
	idleTimeout    = 2 * time.Minute // at least; a DEA keeps its connection from one heartbeat to the next
	closeTimeout   = 5 * time.Second
	logEvery       = time.Minute
)

// patience is how long a client may take to send a request. Tests make it shorter.
var patience = 5 * time.Second

// TLS names PEM files. Every client must show a certificate that one of the authorities in ClientCA has signed.
type TLS struct{ Cert, Key, ClientCA string }

// Options configure a Server.
type Options struct {
	Listen string // host:port
	TLS    TLS    // empty: plain HTTP, on loopback only
	// TLSFiles reads the files of TLS again when they change; nil: they are read once.
	TLSFiles *tlsfiles.Watcher
	Posts    *feed.Posts
	Relay    *Relay        // nil: there are no peers
	Period   time.Duration // between two heartbeats of a DEA
	Logger   *slog.Logger  // nil discards
}

// Validate reports what is wrong with the options that come from the configuration. It reads the files that they name,
// and listens nowhere.
func (o Options) Validate() error {
	if _, _, err := limits.HostPort(o.Listen); err != nil {
		return fmt.Errorf("heartbeats.listen %q %w", o.Listen, err)
	}
	if !limits.Loopback(o.Listen) && (o.TLS.Cert == "" || o.TLS.ClientCA == "") {
		return fmt.Errorf("heartbeats.listen %s is open beyond loopback: set heartbeats.tls.cert, heartbeats.tls.key and "+
			"heartbeats.tls.client_ca", o.Listen)
	}
	_, err := o.TLS.load(nil)
	return err
}

// load reads the files of the listening side; the set is nil without TLS. w reads them again.
func (t TLS) load(w *tlsfiles.Watcher) (*tlsfiles.Set, error) {
	return w.Server("heartbeats.tls", tlsfiles.File{Key: "heartbeats.tls.cert", Path: t.Cert},
		tlsfiles.File{Key: "heartbeats.tls.key", Path: t.Key},
		tlsfiles.File{Key: "heartbeats.tls.client_ca", Path: t.ClientCA}, tls.RequireAndVerifyClientCert)
}

// Server is the endpoint of one node. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	listener net.Listener
	http     *http.Server
	served   sync.WaitGroup
	log      *sampled.Log
	rates    *rates
	turns    chan struct{} // has an element for each heartbeat that is being handled
	memory   memory
	stats    serverStats
	closing  sync.Once
	closed   error
}

// Open listens and serves until Close.
func Open(o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	secure, err := o.TLS.load(o.TLSFiles)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening on heartbeats.listen %s: %w", o.Listen, err)
	}
	s := &Server{opts: o, log: sampled.New(o.Logger, logEvery, 1), rates: newRates(o.Period),
		turns: make(chan struct{}, runtime.GOMAXPROCS(0)), memory: memory{most: maxMemory}}
	s.listener = &listener{Listener: maxconns.Limit(l, maxConns), server: s, secure: secure, greeting: map[string]int{}}
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve), MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: patience, ReadTimeout: patience,
		WriteTimeout: writeTimeout, IdleTimeout: max(idleTimeout, 3*o.Period),
		ConnState: connState, ConnContext: withConn,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	s.served.Go(func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("no heartbeats are taken over HTTPS any more", "error", err)
		}
	})
	return s, nil
}

// Addr is the address that the server listens on, with the real port if Listen has port 0.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close stops listening, answers what is under way, and returns when every goroutine of the server has ended.
func (s *Server) Close() error {
	s.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.closed = errors.Join(fmt.Errorf("closing the endpoint for heartbeats: %w", err), s.http.Close())
		}
		s.served.Wait()
	})
	return s.closed
}

// serve handles a request whose header has arrived.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	c := connOf(r.Context())
	c.began.Store(false)
	if c.expired(time.Now()) {
		s.refuse(RefusedCertificate, r.RemoteAddr, errExpired)
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	status := http.StatusMethodNotAllowed
	switch {
	case r.URL.Path != Path:
		status = http.StatusNotFound
	case r.Method == http.MethodPost:
		s.post(w, r)
		return
	default:
		w.Header().Set("Allow", http.MethodPost)
	}
	s.refuse(RefusedRequest, r.RemoteAddr, fmt.Errorf("%.10q %.80q is no request for this endpoint", r.Method, r.URL.Path))
	w.WriteHeader(status)
}

// post handles one heartbeat. The answers are those of HM9000 (N05), and 429 or 503 for a heartbeat that is one too many:
// a DEA logs any of them and goes on with its next heartbeat (N06).
func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	body, release, err := s.memory.read(r.Body, r.ContentLength)
	defer release()
	if err != nil {
		status, reason := http.StatusBadRequest, RefusedRequest
		switch {
		case errors.Is(err, errNoMemory):
			status, reason = http.StatusServiceUnavailable, RefusedBusy
		case errors.Is(err, feed.ErrTooLarge):
			reason = RefusedTooLarge
		}
		s.refuse(reason, r.RemoteAddr, err)
		w.Header().Set("Connection", "close") // the rest of the body is not read
		w.WriteHeader(status)
		return
	}
	dea := feed.Sender(body)
	if !s.rates.allow(rateKey(dea, r.RemoteAddr), time.Now()) {
		s.refuse(RefusedRate, r.RemoteAddr, fmt.Errorf("DEA %q sends heartbeats too fast", dea))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	err = s.take(r.Context(), body)
	switch {
	case errors.Is(err, errBusy) || errors.Is(err, feed.ErrClosed):
		s.refuse(RefusedBusy, r.RemoteAddr, err)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case err != nil: // the feed has counted and logged it
		s.stats.refused[RefusedUnreadable].Add(1)
	}
	if s.opts.Relay != nil && (err == nil || dea != "") { // a peer must also know which DEA it cannot read
		s.opts.Relay.Tell(body)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

var errBusy = errors.New("this node has too many heartbeats to handle")

// take passes a heartbeat to the feed. It waits for a turn, so that no client can keep all processors busy; turns come in
// the order of waiting.
func (s *Server) take(ctx context.Context, body []byte) error {
	timer := time.NewTimer(busyTimeout)
	defer timer.Stop()
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("%w: the client has gone", errBusy)
	case <-timer.C:
		return errBusy
	}
	defer func() { <-s.turns }()
	return s.opts.Posts.Take(body)
}

// refuse counts and logs what was refused, and why.
func (s *Server) refuse(reason Reason, remote string, err error) {
	s.stats.refused[reason].Add(1)
	if errors.Is(err, io.EOF) {
		err = errors.New("the client has closed the connection")
	}
	s.log.Warn(reason.String(), "a heartbeat over HTTPS was refused",
		func() []any { return []any{"reason", reason.String(), "remote", remote, "error", err} })
}
