package bulk

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func kindOf(err error) Kind {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Kind
}

// answers returns a function for controller.instead that answers page n with body.
func answers(n int, body string) func(http.ResponseWriter, *http.Request, int) bool {
	return func(w http.ResponseWriter, _ *http.Request, page int) bool {
		if page == n {
			io.WriteString(w, body)
		}
		return page == n
	}
}

// Every failure fails the whole read. The error names the page and says what to do. The next read succeeds.
func TestFailures(t *testing.T) {
	apps, rows := fleet(25)
	zipped := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, s)
		z.Close()
		return b.String()
	}
	status := func(n, code int, body string) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, page int) bool {
			if page == n {
				w.WriteHeader(code)
				io.WriteString(w, body)
			}
			return page == n
		}
	}
	hang := func(n int, before string) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, page int) bool {
			if page == n {
				if before != "" {
					io.WriteString(w, before)
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			}
			return page == n
		}
	}
	cut := func(n int, body string) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, page int) bool {
			if page == n {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)+100))
				io.WriteString(w, body)
			}
			return page == n
		}
	}
	row := rows[0]
	other := strings.Replace(row, `"instances":0`, `"instances":1`, 1)
	for _, c := range []struct {
		name    string
		instead func(http.ResponseWriter, *http.Request, int) bool
		kind    Kind
		says    []string
	}{
		{"unauthorized", status(1, 401, `{"code":10002}`), Unauthorized, []string{"page 1", "unauthorized", "10002", "desired.bulk.username"}},
		{"unauthorized on the second page", status(2, 401, ""), Unauthorized, []string{"page 2", "empty body"}},
		{"forbidden", status(1, 403, "no\n\tno"), Status, []string{"403 Forbidden", `"no no"`}},
		{"not found", status(1, 404, "404 page not found"), Status, []string{"404", "desired.bulk.url"}},
		{"server error on the third page", status(3, 500, strings.Repeat("x", 10_000)), Status, []string{"page 3", "500", `xxx"...`, "next poll"}},
		{"bad gateway in HTML", status(1, 502, "<html><body>Bad Gateway"), Status, []string{"502", "<html>"}},
		{"no content", status(1, 204, ""), Status, []string{"204"}},
		{"HTML", answers(1, " \n<!DOCTYPE html><html>"), Malformed, []string{"HTML, not JSON", "desired.bulk.url"}},
		{"HTML on the second page", answers(2, "<html>"), Malformed, []string{"page 2"}},
		{"empty body", answers(1, ""), Truncated, []string{"ended early"}},
		{"text", answers(1, "OK"), Malformed, []string{"'O'", "byte 0"}},
		{"array", answers(1, "[]"), Malformed, []string{"'['"}},
		{"null", answers(1, "null"), Malformed, []string{"'n'"}},
		{"no results", answers(1, "{}"), Malformed, []string{"no results"}},
		{"error in a 200", answers(2, `{"code":10001,"description":"database is gone"}`), Malformed, []string{"page 2", "no results"}},
		{"null results", answers(1, `{"results":null,"bulk_token":null}`), Malformed, []string{"results is no object"}},
		{"list of results", answers(1, `{"results":[],"bulk_token":{"id":0}}`), Malformed, []string{"results is no object"}},
		{"results twice", answers(1, `{"results":{`+row+`},"results":{},"bulk_token":{"id":1}}`), Malformed, []string{"a second member"}},
		{"token twice", answers(1, `{"bulk_token":1,"results":{`+row+`},"bulk_token":{"id":1}}`), Malformed, []string{"a second member"}},
		{"truncated in a row", answers(2, `{"results":{`+row[:60]), Truncated, []string{"page 2", "ended early"}},
		{"truncated before the brace", answers(1, `{"results":{`+row+`},"bulk_token":{"id":1}`), Truncated, []string{"ended early"}},
		{"cut off by length", cut(2, `{"results":{`+row), Truncated, []string{"page 2"}},
		{"cut off after the JSON", cut(1, `{"results":{},"bulk_token":null}`), Truncated, []string{"ended early"}},
		{"trailing garbage", answers(1, `{"results":{},"bulk_token":null}{}`), Malformed, []string{"follows the end"}},
		{"bad JSON", answers(1, `{"results":{`+row+`,}}`), Malformed, []string{"at byte"}},
		{"bad number", answers(1, strings.Replace(`{"results":{`+row+`}}`, `"instances":0`, `"instances":01`, 1)), Malformed, []string{"at byte"}},
		{"no token", answers(1, `{"results":{`+row+`}}`), Paging, []string{"no bulk_token"}},
		{"null token", answers(1, `{"results":{`+row+`},"bulk_token":null}`), Paging, []string{"no bulk_token"}},
		{"token stands still", answers(2, `{"results":{`+row+`},"bulk_token":{"id":10}}`), Paging, []string{"page 2", "does not advance"}},
		{"token goes back", answers(2, `{"results":{`+row+`},"bulk_token":{"id":9}}`), Paging, []string{"does not advance"}},
		{"first token again", answers(1, `{"results":{`+row+`},"bulk_token":{}}`), Paging, []string{"does not advance"}},
		{"huge token", answers(1, `{"results":{},"bulk_token":"`+strings.Repeat("x", maxToken)+`"}`), Malformed, []string{"longer than 4096 bytes"}},
		{"huge token beyond the buffer", answers(1, `{"results":{},"bulk_token":[`+strings.Repeat(" ", 300<<10)+`]}`), Malformed, []string{"longer than 4096 bytes"}},
		{"deep nesting", answers(1, `{"x":`+strings.Repeat("[", 100_000)), Malformed, []string{"64 levels"}},
		{"no guid", answers(1, `{"results":{"":{"id":"a b"}},"bulk_token":{"id":1}}`), Malformed, []string{"no valid guid"}},
		{"app changes between the pages", answers(2, `{"results":{`+other+`},"bulk_token":{"id":20}}`), Inconsistent, []string{"returned twice", "next poll"}},
		{"app becomes unreadable between the pages", answers(2, `{"results":{"`+apps[0].Key.Droplet.String()+`":{}},"bulk_token":{"id":20}}`), Inconsistent, []string{"returned twice"}},
		{"app twice in a page", answers(1, `{"results":{`+row+`,`+other+`},"bulk_token":{"id":20}}`), Inconsistent, []string{"returned twice"}},
		{"hangs before the answer", hang(1, ""), Timeout, []string{"waiting for the answer", "page 1", "desired.bulk.timeout"}},
		{"hangs within the answer", hang(2, `{"results":{`+row), Timeout, []string{"reading the answer", "page 2"}},
		{"hangs after a 500", func(w http.ResponseWriter, r *http.Request, _ int) bool {
			w.WriteHeader(500)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}, Timeout, []string{"reading the answer"}},
		{"gzip that is none", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, `{"results":{}}`)
			return true
		}, Transport, []string{"gzip"}},
		{"gzip cut off", func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, zipped(`{"results":{},"bulk_token":null}`)[:20])
			return true
		}, Truncated, []string{"ended early"}},
		{"connection broken off", func(http.ResponseWriter, *http.Request, int) bool { panic(http.ErrAbortHandler) }, Transport, []string{"EOF"}},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request, _ int) bool {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
			return true
		}, Transport, []string{"more than 3 redirects"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cc := &controller{rows: rows, instead: c.instead}
			timeout := 10 * time.Second
			if c.kind == Timeout {
				timeout = 500 * time.Millisecond
			}
			s := cc.serve(t, Options{BatchSize: 10, Timeout: timeout, Username: "bulk", Password: "hunter2"})
			read, err := s.Read(t.Context())
			if kindOf(err) != c.kind {
				t.Fatalf("%v has the kind %q, want %q", err, kindOf(err), c.kind)
			}
			if len(read.Apps) != 0 || read.Source != "" {
				t.Errorf("a failed read returns data: %+v", read)
			}
			for _, say := range append(c.says, s.options.URL) {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("%q does not say %q", err, say)
				}
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 700 {
				t.Errorf("the error has a password or a line break, or is too long: %q", err)
			}
			cc.change(func(c *controller) { c.instead = nil })
			s.options.Timeout, s.client = 10*time.Second, newClient(10*time.Second)
			if read := mustRead(t, s); !slices.Equal(read.Apps, apps) {
				t.Errorf("the read after the failure has %d apps, want %d", len(read.Apps), len(apps))
			}
			if st := s.Stats(); st.Failures != 1 || st.FailuresBy[c.kind] != 1 || st.Reads != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestLimitsOfOneRead(t *testing.T) {
	_, rows := fleet(100)
	endless := func(w http.ResponseWriter, _ *http.Request, page int) bool {
		fmt.Fprintf(w, `{"results":{%s},"bulk_token":{"id":%d}}`, rows[page%len(rows)], page)
		return true
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(append([]byte(`{"results":`), bytes.Repeat([]byte{' '}, 32<<20)...))
	z.Close()
	bomb := func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(zipped.Bytes())
		return true
	}
	for _, c := range []struct {
		name    string
		limits  limits
		instead func(http.ResponseWriter, *http.Request, int) bool
		says    string
	}{
		{"endless pages", limits{apps: 1e9, pages: 50, pageBytes: 1 << 20, readBytes: 1 << 30}, endless, "more than 50 pages"},
		{"endless apps", limits{apps: 50, pages: 1e9, pageBytes: 1 << 20, readBytes: 1 << 30}, endless, "more apps"},
		{"endless bytes", limits{apps: 1e9, pages: 1e9, pageBytes: 1 << 20, readBytes: 9999}, endless, "more than 9999 bytes"},
		{"huge page", limits{apps: 1e9, pages: 1e9, pageBytes: 20_000, readBytes: 1 << 30}, nil, "more than 20000 bytes"},
		{"zip bomb", limits{apps: 1e9, pages: 1e9, pageBytes: 1 << 20, readBytes: 1 << 30}, bomb, "more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cc := &controller{rows: rows, instead: c.instead}
			s := cc.serve(t, Options{})
			s.limits = c.limits
			if _, err := s.Read(t.Context()); kindOf(err) != TooLarge || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
		})
	}
	t.Run("at the limit", func(t *testing.T) {
		cc := &controller{rows: rows}
		size := int64(len(cc.answer(100, 0)))
		s := cc.serve(t, Options{BatchSize: 100})
		s.limits = limits{apps: 100, pages: 2, pageBytes: size, readBytes: size + int64(len(cc.answer(100, 100)))}
		mustRead(t, s)
	})
}

// If the tokens of a server are no numbers and form a loop, hm notices it long before the limits.
func TestTokensInALoop(t *testing.T) {
	_, rows := fleet(1)
	cc := &controller{instead: func(w http.ResponseWriter, _ *http.Request, page int) bool {
		fmt.Fprintf(w, `{"results":{%s},"bulk_token":"t%d"}`, rows[0], page%7)
		return true
	}}
	s := cc.serve(t, Options{})
	if _, err := s.Read(t.Context()); kindOf(err) != Paging || cc.requests.Load() > 50 {
		t.Errorf("%v after %d requests", err, cc.requests.Load())
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, err = source(t, Options{URL: "http://" + address}).Read(t.Context())
	if kindOf(err) != Refused || !strings.Contains(err.Error(), "desired.bulk.url") {
		t.Errorf("%v, want refused", err)
	}
}

// A server that accepts a connection and never answers takes no more than the timeout of a page.
func TestSilentListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for scheme, phase := range map[string]string{"http": "waiting for the answer", "https": "making the TLS handshake"} {
		s := source(t, Options{URL: scheme + "://" + l.Addr().String(), Timeout: 500 * time.Millisecond})
		if _, err := s.Read(t.Context()); kindOf(err) != Timeout || !strings.Contains(err.Error(), phase) {
			t.Errorf("%s: %v, want a timeout while %s", scheme, err, phase)
		}
	}
}

func TestTLSFailures(t *testing.T) {
	secure := httptest.NewUnstartedServer(&controller{})
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	if _, err := source(t, Options{URL: secure.URL}).Read(t.Context()); kindOf(err) != TLS || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("unknown authority: %v", err)
	}
	plain := httptest.NewServer(&controller{})
	defer plain.Close()
	if _, err := source(t, Options{URL: strings.Replace(plain.URL, "http:", "https:", 1)}).Read(t.Context()); kindOf(err) != TLS || !strings.Contains(err.Error(), "scheme") {
		t.Errorf("plain HTTP: %v", err)
	}
	if _, err := source(t, Options{URL: strings.Replace(secure.URL, "https:", "http:", 1)}).Read(t.Context()); kindOf(err) != Status || !strings.Contains(err.Error(), "HTTPS server") {
		t.Errorf("HTTPS asked over HTTP: %v", err)
	}
}

func TestCredentialsGoToNoOtherHost(t *testing.T) {
	asked := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		io.WriteString(w, `{"results":{}}`)
	}))
	defer other.Close()
	_, port, _ := net.SplitHostPort(other.Listener.Addr().String())
	for _, to := range []string{other.URL, "http://localhost:" + port, "http://sub.127.0.0.1:" + port} {
		cc := &controller{instead: func(w http.ResponseWriter, r *http.Request, _ int) bool {
			http.Redirect(w, r, to+"/bulk/apps?secret=token", http.StatusTemporaryRedirect)
			return true
		}}
		s := cc.serve(t, Options{Username: "u", Password: "hunter2"})
		_, err := s.Read(t.Context())
		if kindOf(err) != Redirect || !strings.Contains(err.Error(), to) || strings.Contains(err.Error(), "token") || asked != 0 {
			t.Errorf("redirect to %s: %v, asked %d times", to, err, asked)
		}
	}
	// A redirect within the host is followed, with credentials.
	cc := &controller{user: "u", password: "p"}
	cc.instead = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		if !strings.HasPrefix(r.URL.Path, "/old") {
			return false
		}
		http.Redirect(w, r, strings.TrimPrefix(r.URL.String(), "/old"), http.StatusMovedPermanently)
		return true
	}
	base := cc.serve(t, Options{}).options.URL
	mustRead(t, source(t, Options{URL: base + "/old", Username: "u", Password: "p"}))
}

func TestRedirectPolicy(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"http://cc/a", "http://cc/b", true},
		{"http://cc:80/a", "http://CC/b", true},
		{"http://cc/a", "https://cc/a", true},
		{"http://cc:8181/a", "https://cc/a", true},
		{"https://cc/a", "http://cc/a", false},
		{"https://cc/a", "https://api.cc/a", false},
		{"https://cc/a", "https://cc:444/a", false},
		{"http://cc/a", "http://cc.evil/a", false},
	} {
		from, _ := http.NewRequest("GET", c.from, nil)
		to, _ := http.NewRequest("GET", c.to, nil)
		if err := checkRedirect(to, []*http.Request{from}); (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		}
	}
}

func TestCancelledRead(t *testing.T) {
	inside := make(chan struct{})
	cc := &controller{instead: func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		close(inside)
		<-r.Context().Done()
		return true
	}}
	s := cc.serve(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-inside; cancel() }()
	if _, err := s.Read(ctx); kindOf(err) != Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
	s.Close()
	s.Close()
	if _, err := s.Read(ctx); kindOf(err) != Canceled {
		t.Errorf("%v after Close, want canceled", err)
	}
}
