package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hm/internal/access"
)

// endpoint answers a request. An error that it returns becomes a problem document.
type endpoint func(w http.ResponseWriter, r *http.Request) error

// routes registers every operation, the pages for people, and what answers for all other paths.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	byPattern := map[string]endpoint{}
	for _, o := range s.operations() {
		e := s.accepting(&o)
		byPattern[o.pattern] = e
		mux.Handle(o.pattern, s.wrap(o.pattern, o.class, o.needs(), e))
	}
	// The id "/" fills no segment of a path: these patterns serve it.
	for _, slash := range []struct {
		base, value string
		rests       []string
	}{{"/v1/apps/", "guid", []string{"", "/explain"}}, {"/v1/deas/", "id", []string{""}}} {
		endpoints := map[string]endpoint{}
		for _, rest := range slash.rests {
			endpoints[rest] = byPattern["GET "+slash.base+"{"+slash.value+"}"+rest]
		}
		pattern := "GET " + slash.base + slashSuffix
		mux.Handle(pattern, s.wrap(pattern, classRead, access.Read, slashID(mux, slash.base, slash.value, endpoints)))
	}
	handle := func(pattern string, e endpoint) {
		mux.Handle(pattern, s.wrap(pattern, classPage, pageNeeds(pattern), e))
	}
	if s.opts.Pprof {
		pattern := "GET " + profilesPath
		mux.Handle(pattern, s.wrap(pattern, classStream, access.Admin, s.profiles)) // a profile takes as long as the client asks for
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
	if s.door.policy.Open() {
		guarded = refuseForeignNames(mux)
	}
	return protection.Handler(s.guard(guarded))
}

// pagePatterns are the paths of the dashboard.
var pagePatterns = []string{
	"GET /{$}", "GET /apps", "GET /apps/", "GET /deas", "GET /deas/", "GET /commands", "GET /events", "GET /cluster", "GET /sandbox",
	"GET /map/", "GET /assets/", "POST /do/", themePattern,
}

// themePattern is the only form that changes nothing but what the browser shows.
const themePattern = "POST /do/theme"

// untold has what needs the role admin and is no deed for the history, unless it is refused: what follows a recording that
// was told, profiles, and forms, since what they ask the API for is told.
var untold = map[string]bool{recordingStateRoute: true, "GET " + profilesPath: true, "POST /do/": true}

// pageNeeds gives the role that a page needs, or a form.
func pageNeeds(pattern string) access.Role {
	if strings.HasPrefix(pattern, "POST ") && pattern != themePattern {
		return access.Admin
	}
	return access.Read
}

const (
	recordingRoute      = "GET /v1/recording"
	recordingStateRoute = "POST /v1/recording/{id}/state"
)

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
// Requests of a class are bounded. Those of somebody whose role is below needs are refused.
func (s *Server) wrap(pattern string, c class, needs access.Role, e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec, began := &recorder{ResponseWriter: w, request: r, reading: classBounds[c].write}, time.Now()
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.opts.Logger.Error("an API request panicked", "route", pattern, "panic", p, "stack", string(debug.Stack()))
				rec.fail(problem(http.StatusInternalServerError, "internal", "this is a bug in hm: the log of the node has the details", ""))
			}
			s.requests.WithLabelValues(pattern, strconv.Itoa(rec.status)).Inc()
			if pattern != recordingRoute && pattern != "GET "+snapshotPath && rec.Header().Get("Content-Type") != eventStream { // else it lasts as long as the client wants
				s.opts.Times.Request(pattern).Observe(time.Since(began).Seconds())
			}
		}()
		if needs == access.Admin && !untold[pattern] {
			rec.began = func(status int) { s.audited(r, rec.detail, status) }
		}
		if principalOf(r).Role < needs {
			if needs == access.Admin {
				rec.began = func(status int) { s.audited(r, "", status) }
			}
			s.forbid(rec, r, needs)
			return
		}
		limit := int64(maxBody)
		switch r.URL.Path {
		case bulkPath:
			limit = maxBulkBody
		case snapshotPath:
			limit = maxSnapshotBody
		}
		r.Body = http.MaxBytesReader(rec, r.Body, limit)
		if err := s.admitted(c, e, rec, r); err != nil {
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

// accepting makes an endpoint that refuses parameters that the operation does not have: a filter with a spelling error
// must not count as no filter.
func (s *Server) accepting(o *operation) endpoint {
	switch o.class {
	case classProbe, classScrape, classBulk: // whoever asks these may add what it likes, as with HM9000
		return o.serve
	}
	known := o.query()
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := refuseUnknown(r, known); err != nil {
			return err
		}
		return o.serve(w, r)
	}
}

// metrics answers GET /metrics.
func (s *Server) metrics() endpoint {
	h := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, ErrorHandling: promhttp.ContinueOnError})
	return func(w http.ResponseWriter, r *http.Request) error { h.ServeHTTP(w, r); return nil }
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	request *http.Request
	reading time.Duration // that the client has for reading the answer; 0: as long as the server allows
	status  int
	detail  string           // what the request changes, for the history
	began   func(status int) // is called once, before an answer is sent; nil: nothing is
}

func (r *recorder) WriteHeader(status int) {
	r.begin(status)
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.begin(http.StatusOK)
	return r.ResponseWriter.Write(b)
}

// begin notes the status of an answer, and lets the time for reading it begin.
func (r *recorder) begin(status int) {
	if r.status != 0 {
		return
	}
	r.status = status
	if began := r.began; began != nil {
		r.began = nil
		began(status)
	}
	if r.reading > 0 { // a page asks in this process, where nobody reads slowly and a deadline is not supported
		_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Now().Add(r.reading))
	}
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
	b.setHeaders(w.Header())
	return send(w, status, append(body, '\n'))
}

// errGone means that the client is gone. No one reads its problem document.
var errGone = errors.New("the client is gone")

// maxQuery is the longest query of a request, in bytes: all lists together fit.
const maxQuery = 8 << 10

// refuseUnknown fails for query parameters that an operation does not have, for a query that cannot be read, and for a
// parameter that is given twice and may not be.
func refuseUnknown(r *http.Request, known []parameter) error {
	if len(r.URL.RawQuery) > maxQuery {
		return problem(http.StatusRequestURITooLong, "query-too-long", fmt.Sprintf("the query has %d bytes, at most %d are allowed", len(r.URL.RawQuery), maxQuery), "")
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badRequest("the query cannot be read: %v", err)
	}
	for name, given := range values {
		at := slices.IndexFunc(known, func(p parameter) bool { return p.name == name })
		if at < 0 {
			names := make([]string, len(known))
			for i, p := range known {
				names[i] = p.name
			}
			return problem(http.StatusBadRequest, "bad-request", fmt.Sprintf("unknown parameter %.60q", name), fmt.Sprintf("known are %v", names))
		}
		if len(given) > 1 && !known[at].many {
			return badRequest("the parameter %.60q is given %d times, and may be given once", name, len(given))
		}
	}
	return nil
}
