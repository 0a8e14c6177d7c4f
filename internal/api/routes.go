package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// endpoint answers a request. An error that it returns becomes a problem document.
type endpoint func(w http.ResponseWriter, r *http.Request) error

// routes lists every endpoint.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, e endpoint) { mux.Handle(pattern, s.wrap(pattern, e)) }
	handle("GET /v1/status", s.status)
	handle("GET /v1/drift", s.unlessFaulty(s.drift))
	handle("GET /v1/apps", s.unlessFaulty(s.apps))
	handle("GET /v1/apps/{guid}", s.unlessFaulty(s.app))
	handle("GET /v1/apps/{guid}/explain", s.unlessFaulty(s.explain))
	handle("GET /v1/apps/"+slashSuffix, slashID(mux, "/v1/apps/", "guid", map[string]endpoint{"": s.unlessFaulty(s.app), "/explain": s.unlessFaulty(s.explain)}))
	handle("GET /v1/deas", s.unlessFaulty(s.deas))
	handle("GET /v1/deas/{id}", s.unlessFaulty(s.dea))
	handle("GET /v1/deas/"+slashSuffix, slashID(mux, "/v1/deas/", "id", map[string]endpoint{"": s.unlessFaulty(s.dea)}))
	handle("GET /v1/commands", s.unlessFaulty(s.commands))
	handle("GET /v1/commands/compare", s.unlessFaulty(s.compare))
	handle("DELETE /v1/commands/{id}", s.write(s.cancelCommand))
	handle("GET /v1/holds", s.unlessFaulty(s.holds))
	handle("POST /v1/holds", s.write(s.setHold))
	handle("DELETE /v1/holds/{name}", s.write(s.releaseHold))
	handle("GET /v1/events", s.unlessFaulty(s.events))
	handle(recordingRoute, s.unlessFaulty(s.recording))
	handle("GET /v1/series", s.unlessFaulty(s.seriesOf))
	handle("POST /v1/recording/{id}/state", s.unlessFaulty(s.recordingState))
	handle("POST /bulk_app_state", s.unlessFaulty(s.bulkAppState))
	handle("GET /healthz", s.healthz)
	handle("GET /readyz", s.readyz)
	metrics := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, ErrorHandling: promhttp.ContinueOnError})
	handle("GET /metrics", func(w http.ResponseWriter, r *http.Request) error { metrics.ServeHTTP(w, r); return nil })
	if s.opts.Pprof {
		handle("GET "+profilesPath, s.profiles)
	}
	nowhere := func(_ http.ResponseWriter, r *http.Request) error { return noRoute(mux, r) }
	if s.opts.Dashboard != nil {
		pages := s.opts.Dashboard(newInProcessClient(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) })))
		for _, pattern := range pagePatterns {
			handle(pattern, func(w http.ResponseWriter, r *http.Request) error { pages.ServeHTTP(w, r); return nil })
		}
		nowhere = func(w http.ResponseWriter, r *http.Request) error {
			if r.Method != http.MethodGet || !wantsPage(r) {
				return noRoute(mux, r)
			}
			pages.ServeHTTP(w, r) // a person typed the address: the page says that there is nothing
			return nil
		}
	}
	handle("/", nowhere)

	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, problem(http.StatusForbidden, "cross-origin", "a page of another site asked for a change", ""))
	}))
	var guarded http.Handler = mux
	if !s.auth.needed && s.opts.TLS.ClientCA == "" {
		guarded = refuseForeignNames(mux)
	}
	return protection.Handler(s.auth.guard(guarded))
}

// pagePatterns are the paths of the dashboard.
var pagePatterns = []string{
	"GET /{$}", "GET /apps", "GET /apps/", "GET /deas", "GET /deas/", "GET /commands", "GET /events", "GET /cluster", "GET /sandbox",
	"GET /map/", "GET /assets/", "POST /do/",
}

const recordingRoute = "GET /v1/recording"

// noRoute gives the problem of a request without an endpoint: the path does not exist, or the method is not allowed.
func noRoute(mux *http.ServeMux, r *http.Request) error {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := mux.Handler(probe); pattern != "/" && pattern != "" && !strings.HasSuffix(pattern, slashSuffix) {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) > 0 {
		return problem(http.StatusMethodNotAllowed, "method", fmt.Sprintf("%s is not allowed here, only %v", r.Method, allowed), "")
	}
	return notFound("there is nothing at %.200s", r.URL.Path)
}

// wrap turns an endpoint into a handler: its requests are counted, its errors and panics become problem documents.
func (s *Server) wrap(pattern string, e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec, began := &recorder{ResponseWriter: w}, time.Now()
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.opts.Logger.Error("an API request panicked", "route", pattern, "panic", p, "stack", string(debug.Stack()))
				rec.fail(problem(http.StatusInternalServerError, "internal", "this is a bug in hm: the log of the node has the details", ""))
			}
			s.requests.WithLabelValues(pattern, strconv.Itoa(rec.status)).Inc()
			if pattern != recordingRoute && rec.Header().Get("Content-Type") != eventStream { // else it lasts as long as the client wants
				s.opts.Times.Request(pattern).Observe(time.Since(began).Seconds())
			}
		}()
		limit := int64(maxBody)
		if r.URL.Path == bulkPath {
			limit = maxBulkBody
		}
		r.Body = http.MaxBytesReader(rec, r.Body, limit)
		if err := e(rec, r); err != nil {
			p := asProblem(err)
			if p.Status >= 500 {
				s.opts.Logger.Debug("an API request failed", "route", pattern, "error", err)
			}
			rec.fail(p)
		} else if rec.status == 0 {
			rec.WriteHeader(http.StatusOK)
		}
	})
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// fail answers with a problem. If the answer has begun, it closes the connection, so that the client does not mistake
// half an answer for a whole one.
func (r *recorder) fail(p *Problem) {
	if r.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeProblem(r, p)
}

// writeJSON answers with v. It encodes all of v before it sends the first byte.
func writeJSON(w http.ResponseWriter, status int, b Basis, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	h := w.Header()
	b.setHeaders(h)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	if err != nil {
		return errGone
	}
	return nil
}

// errGone means that the client is gone. No one reads its problem document.
var errGone = errors.New("the client is gone")

// refuseUnknown fails for query parameters that an endpoint does not know: a filter with a spelling error must not
// count as no filter.
func refuseUnknown(r *http.Request, known ...string) error {
next:
	for name := range r.URL.Query() {
		for _, k := range known {
			if k == name {
				continue next
			}
		}
		return problem(http.StatusBadRequest, "bad-request", fmt.Sprintf("unknown parameter %.60q", name), fmt.Sprintf("known are %v", known))
	}
	return nil
}
