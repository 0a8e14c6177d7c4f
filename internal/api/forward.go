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

	"hm/internal/access"
	"hm/internal/cluster"
	"hm/internal/config/limits"
)

// headerForwarded names the node that forwarded a write. A write is forwarded only once: a second time would mean
// that two nodes each believe that the other leads.
const headerForwarded = "X-Hm-Forwarded-By"

// forwarder sends writes to the leader over the cluster's own port. The peers of a node surely reach that port; its
// API may listen on loopback only.
type forwarder struct {
	id        string
	transport *http.Transport
	patient   *http.Transport // for what takes long
	logger    *slog.Logger
}

func newForwarder(o Options) *forwarder {
	f := &forwarder{id: o.ID, logger: o.Logger, transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			id, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return o.Node.DialWrites(ctx, id)
		},
		MaxIdleConnsPerHost: 4, MaxConnsPerHost: maxForwards, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: proposeTimeout + 5*time.Second,
	}}
	f.patient = f.transport.Clone()
	f.patient.MaxConnsPerHost, f.patient.ResponseHeaderTimeout = 1, restoreWithin+time.Minute
	return f
}

// maxForwards is how many writes a node forwards at a time; further ones wait.
const maxForwards = 16

func (f *forwarder) close() { f.transport.CloseIdleConnections(); f.patient.CloseIdleConnections() }

// write makes an endpoint that changes the record: on the leader it runs, on any other node the request goes on to
// the leader, with who sent it, and the leader's answer comes back.
func (s *Server) write(e endpoint) endpoint {
	return s.onLeader(false, func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), proposeTimeout)
		defer cancel()
		return e(w, r.WithContext(ctx))
	})
}

// writeLong is write for an endpoint that takes a large body and has time limits of its own.
func (s *Server) writeLong(e endpoint) endpoint {
	there := s.onLeader(true, e)
	return func(w http.ResponseWriter, r *http.Request) error {
		r.Body = newSlowBody(w, r)
		return there(w, r)
	}
}

func (s *Server) onLeader(long bool, e endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		by := r.Header.Get(headerForwarded)
		// A node that has just been elected is known to the others before it may write. The first node of a request waits until
		// a leader is known: an election takes about as long.
		lead := s.awaitLeadership(r.Context(), func(l cluster.Leadership) bool {
			return l.Leader || by == "" && l.LeaderID != "" && l.LeaderID != s.opts.ID
		})
		if lead.Leader {
			return e(w, r)
		}
		if by != "" {
			return problem(http.StatusServiceUnavailable, "not-leader", fmt.Sprintf("node %.64s forwarded the write to this node, which does not lead", by), "try again")
		}
		if lead.LeaderID == "" || lead.LeaderID == s.opts.ID {
			return problem(http.StatusServiceUnavailable, "no-leader", "no leader is known: the cluster is electing one, or a majority of its nodes is away", "see hm status, then try again")
		}
		return s.forward.to(w, r, lead.LeaderID, long)
	}
}

// awaitLeadership waits until the leadership is as a write needs it, for patience.election at most, and gives the last
// that it saw.
func (s *Server) awaitLeadership(ctx context.Context, as func(cluster.Leadership) bool) cluster.Leadership {
	lead := s.opts.Node.Leadership()
	if as(lead) {
		return lead
	}
	ctx, cancel := context.WithTimeout(ctx, patience.election)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !as(lead) {
		select {
		case <-ctx.Done():
			return lead
		case <-ticker.C:
			lead = s.opts.Node.Leadership()
		}
	}
	return lead
}

// to forwards r to the leader.
func (f *forwarder) to(w http.ResponseWriter, r *http.Request, leader string, long bool) error {
	var failed error
	transport := f.transport
	if long {
		transport = f.patient
	}
	if rec, ok := w.(*recorder); ok {
		rec.began = nil // the leader tells the history
	}
	proxy := httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  slog.NewLogLogger(f.logger.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: leader}) // the cluster's own port has its own TLS
			p.Out.Header.Set(headerForwarded, f.id)
			p.Out.Header.Set(headerPrincipal, formatPrincipal(principalOf(r)))
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
		Handler: onlyForwarded(s.fromPeers()), MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: patience.header,
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

// fromPeers answers what other nodes send.
func (s *Server) fromPeers() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+auditPath, s.takeDeed)
	mux.Handle("/", s.forwarded(s.handler))
	return mux
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

// forwarded says who sent a write that another node forwards. That node has let the sender in, and tells who it is:
// only it has seen the certificate and the address. It is believed if the nodes prove to each other who they are. If
// they do not, whoever reaches the cluster's port could say the same; then the credentials, which come along, are looked
// at again, unless the sender showed a certificate, which cannot come along. The credentials also decide if an older
// version of hm forwards, which does not tell who the sender is.
func (s *Server) forwarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told, ok := parsePrincipal(r.Header.Get(headerPrincipal))
		told.Via = clip(r.Header.Get(headerForwarded), limits.MaxNodeID)
		policy := s.door.policy
		if ok && (s.opts.ClusterTLS || policy.Open() || told.How == access.Certificate && policy.TakesCertificates()) {
			next.ServeHTTP(w, withPrincipal(r, told))
			return
		}
		who, refused, wait := s.door.ask(r, time.Now())
		if refused != nil {
			s.turnAway(w, r, refused, wait)
			return
		}
		if ok {
			who.From = told.From
		}
		who.Via = told.Via
		next.ServeHTTP(w, withPrincipal(r, who))
	})
}
