package bulk

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"hm/desired"
	"hm/internal/app"
)

// controller is a Cloud Controller's bulk API as D01 to D05 describe it.
type controller struct {
	rows     []string // `"guid":{...}`, sorted by database id: 1, 2, ...
	at2017   bool     // the first answer has all apps, the second one has none and the token id 0
	gzip     bool
	user     string // empty: no authentication
	password string
	// instead may answer the request for a page (from 1) in place of the controller.
	instead func(w http.ResponseWriter, r *http.Request, page int) bool

	mu       sync.Mutex // held while a test changes a running controller, and while a request reads it
	requests atomic.Int64
}

// change changes a running controller.
func (c *controller) change(how func(c *controller)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	how(c)
}

func (c *controller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := int(c.requests.Add(1))
	c.mu.Lock()
	instead := c.instead
	c.mu.Unlock()
	if instead != nil && instead(w, r, page) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	user, password, _ := r.BasicAuth()
	if c.user != "" && (user != c.user || password != c.password) {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"code":10002,"description":"Authentication error"}`)
		return
	}
	if r.URL.Path != "/bulk/apps" {
		http.NotFound(w, r)
		return
	}
	size, err := strconv.Atoi(r.URL.Query().Get("batch_size"))
	var token struct{ ID int }
	if err == nil {
		err = json.Unmarshal([]byte(r.URL.Query().Get("bulk_token")), &token)
	}
	if err != nil {
		http.Error(w, "BadQueryParameter: "+err.Error(), http.StatusBadRequest)
		return
	}
	var out io.Writer = w
	if c.gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		out = z
	}
	io.WriteString(out, c.answer(size, token.ID))
}

func (c *controller) answer(size, after int) string {
	rows := c.rows[min(after, len(c.rows)):]
	if c.at2017 {
		if after > 0 {
			return `{"results":{},"bulk_token":{"id":0}}`
		}
		return fmt.Sprintf(`{"results":{%s},"bulk_token":{"id":%d}}`, strings.Join(rows, ","), len(rows))
	}
	rows = rows[:min(size, len(rows))]
	if len(rows) == 0 {
		return `{"results":{},"bulk_token":null}`
	}
	return fmt.Sprintf(`{"results":{%s},"bulk_token":{"id":%d}}`, strings.Join(rows, ","), after+len(rows))
}

// serve starts the controller and returns a Source that reads from it.
func (c *controller) serve(t testing.TB, o Options) *Source {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	o.URL = server.URL
	return source(t, o)
}

func source(t testing.TB, o Options) *Source {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// fleet returns n apps, and the controller's rows for them.
func fleet(n int) ([]desired.App, []string) {
	apps, rows := make([]desired.App, n), make([]string, n)
	for i := range n {
		a := desired.App{
			Key:       app.Key{Droplet: app.MustGUID(fmt.Sprintf("%08x-0d9e-4f00-8abc-0123456789ab", i+1)), Version: app.MustGUID(fmt.Sprintf("%08x-0000-4f00-8abc-0123456789ab", i+1))},
			Instances: uint32(i % 7), State: desired.Started, Package: desired.Staged,
		}
		if i%11 == 0 {
			a.State = desired.Stopped
		}
		if i%13 == 0 {
			a.Package = desired.Pending
		}
		apps[i], rows[i] = a, rowOf(a)
	}
	return apps, rows
}

func rowOf(a desired.App) string {
	return fmt.Sprintf(`%q:{"id":%q,"instances":%d,"state":%q,"memory":256,"package_state":%q,"version":%q,"updated_at":"2014-01-01T00:00:00+00:00"}`,
		a.Key.Droplet, a.Key.Droplet, a.Instances, a.State, a.Package, a.Key.Version)
}

// mustRead makes a read that must succeed.
func mustRead(t testing.TB, s *Source) desired.Read {
	t.Helper()
	read, err := s.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return read
}
