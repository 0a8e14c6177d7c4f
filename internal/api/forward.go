package api

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// headerForwarded names the node that forwarded a write. A write is forwarded once: a second time would mean that
// two nodes take each other for the leader.
const headerForwarded = "X-Hm-Forwarded-By"

// forwarder hands writes to the leader.
type forwarder struct {
	id        string
	scheme    string
	transport *http.Transport
	logger    *slog.Logger
}

func newForwarder(o Options, secure *tls.Config) *forwarder {
	f := &forwarder{id: o.ID, scheme: "http", logger: o.Logger}
	if o.TLS.Cert != "" {
		f.scheme = "https"
	}
	f.transport = &http.Transport{
		TLSClientConfig: secure, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, MaxConnsPerHost: 64, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: proposeTimeout + 5*time.Second,
	}
	return f
}

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
			return problem(http.StatusServiceUnavailable, "not-leader", fmt.Sprintf("node %.64s took this node for the leader, which it is not (any more)", by), "try again")
		}
		if lead.LeaderID == "" || lead.LeaderID == s.opts.ID {
			return problem(http.StatusServiceUnavailable, "no-leader", "no leader is known: the cluster is electing one, or a majority of its nodes is away", "see hm status, then try again")
		}
		for _, m := range s.opts.Node.Members() {
			if m.ID == lead.LeaderID && m.HasInfo && m.Info.API != "" {
				return s.forward.to(w, r, m.ID, m.Info.API)
			}
		}
		return problem(http.StatusServiceUnavailable, "no-leader-address", fmt.Sprintf("the API address of the leader %s is not known yet", lead.LeaderID), "try again, or ask the leader itself")
	}
}

// to forwards r to the node with this API address: host:port, or a whole URL.
func (f *forwarder) to(w http.ResponseWriter, r *http.Request, leader, address string) error {
	if !strings.Contains(address, "://") {
		address = f.scheme + "://" + address
	}
	target, err := url.Parse(address)
	if err != nil || target.Host == "" {
		return problem(http.StatusBadGateway, "bad-leader-address", fmt.Sprintf("the leader %s tells an API address that is none: %.100q", leader, address), "set api.advertise on that node")
	}
	var failed error
	proxy := httputil.ReverseProxy{
		Transport: f.transport,
		ErrorLog:  slog.NewLogLogger(f.logger.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Header.Set(headerForwarded, f.id)
			for _, h := range []string{"Origin", "Sec-Fetch-Site"} { // checked here, and foreign to the leader
				p.Out.Header.Del(h)
			}
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	proxy.ServeHTTP(w, r)
	if failed == nil {
		return nil
	}
	return problem(http.StatusBadGateway, "leader-unreachable", fmt.Sprintf("the leader %s could not be asked: %v", leader, failed),
		"the change may or may not have been made: see hm status, then try again")
}
