package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// headerForwarded names the node that forwarded a write. A write is forwarded only once: a second time would mean
// that two nodes each believe that the other leads.
const headerForwarded = "X-Hm-Forwarded-By"

// forwarder sends writes to the leader over the cluster's own port. The peers of a node surely reach that port; its
// API may listen on loopback only.
type forwarder struct {
	id        string
	transport *http.Transport
	logger    *slog.Logger
}

func newForwarder(o Options) *forwarder {
	return &forwarder{id: o.ID, logger: o.Logger, transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			id, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return o.Node.DialWrites(ctx, id)
		},
		MaxIdleConnsPerHost: 4, MaxConnsPerHost: maxForwards, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: proposeTimeout + 5*time.Second,
	}}
}

// maxForwards is how many writes a node forwards at a time; further ones wait.
const maxForwards = 16

func (f *forwarder) close() { f.transport.CloseIdleConnections() }

// write makes an endpoint that changes the record: on the leader it runs, on any other node the request goes on to
// the leader, with its credentials, and the leader's answer comes back.
func (s *Server) write(e endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		lead := s.opts.Node.Leadership()
		if lead.Leader {
			ctx, cancel := context.WithTimeout(r.Context(), proposeTimeout)
			defer cancel()
			return e(w, r.WithContext(ctx))
		}
		if by := r.Header.Get(headerForwarded); by != "" {
			return problem(http.StatusServiceUnavailable, "not-leader", fmt.Sprintf("node %.64s forwarded the write to this node, which does not lead", by), "try again")
		}
		if lead.LeaderID == "" || lead.LeaderID == s.opts.ID {
			return problem(http.StatusServiceUnavailable, "no-leader", "no leader is known: the cluster is electing one, or a majority of its nodes is away", "see hm status, then try again")
		}
		return s.forward.to(w, r, lead.LeaderID)
	}
}

// to forwards r to the leader.
func (f *forwarder) to(w http.ResponseWriter, r *http.Request, leader string) error {
	var failed error
	proxy := httputil.ReverseProxy{
		Transport: f.transport,
		ErrorLog:  slog.NewLogLogger(f.logger.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: leader}) // the cluster's own port has its own TLS
			p.Out.Header.Set(headerForwarded, f.id)
			for _, h := range []string{"Origin", "Sec-Fetch-Site"} { // this node has checked them; to the leader they would be wrong
				p.Out.Header.Del(h)
			}
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(w, r)
	if failed == nil {
		return nil
	}
	return problem(http.StatusBadGateway, "leader-unreachable", fmt.Sprintf("the leader %s does not answer: %v", leader, failed),
		"the change may or may not have been made: see hm status, then try again")
}

// servePeers serves the writes that other nodes forward. It serves nothing else on the cluster's own port.
func (s *Server) servePeers() {
	s.peers = &http.Server{
		Handler: onlyForwarded(s.handler), MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: patience.header,
		ReadTimeout: patience.request, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
	listener := s.opts.Node.Writes()
	s.served.Go(func() {
		if err := s.peers.Serve(listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.opts.Logger.Error("the API no longer serves the writes that other nodes forward", "error", err)
		}
	})
}

// onlyForwarded refuses everything but writes that another node has forwarded.
func onlyForwarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(headerForwarded) == "" || r.Method != http.MethodPost && r.Method != http.MethodDelete {
			writeProblem(w, problem(http.StatusForbidden, "not-forwarded", "the cluster's own port accepts only writes that a node forwards", "ask the API"))
			return
		}
		next.ServeHTTP(w, r)
	})
}
