package bulk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"hm/desired"
	"hm/internal/app"
)

func TestReadsEveryPage(t *testing.T) {
	for _, c := range []struct {
		name        string
		apps, batch int
		at2017, zip bool
		requests    int64
	}{
		{name: "no apps", apps: 0, batch: 10, requests: 1},
		{name: "one page", apps: 9, batch: 10, requests: 2},
		{name: "full pages", apps: 30, batch: 10, requests: 4},
		{name: "last page short", apps: 31, batch: 10, requests: 5},
		{name: "pages of one", apps: 5, batch: 1, requests: 6},
		{name: "gzip", apps: 1234, batch: 100, zip: true, requests: 14},
		{name: "all at once", apps: 1234, batch: 100, at2017: true, requests: 2},
		{name: "all at once and none", apps: 0, batch: 100, at2017: true, requests: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, rows := fleet(c.apps)
			cc := &controller{rows: rows, at2017: c.at2017, gzip: c.zip, user: "bulk", password: "p:ä%"}
			s := cc.serve(t, Options{BatchSize: c.batch, Username: "bulk", Password: "p:ä%"})
			for range 2 {
				cc.requests.Store(0)
				read := mustRead(t, s)
				if !slices.Equal(read.Apps, want) || len(read.Unreadable) != 0 {
					t.Fatalf("read %d apps, %d unreadable; want %d and 0", len(read.Apps), len(read.Unreadable), len(want))
				}
				if n := cc.requests.Load(); n != c.requests {
					t.Errorf("%d requests, want %d", n, c.requests)
				}
				if read.Source != s.Name() || !strings.HasPrefix(read.Source, "bulk http://127.0.0.1:") {
					t.Errorf("source is %q", read.Source)
				}
			}
			if st := s.Stats(); st.Reads != 2 || st.Failures != 0 || st.Rows != uint64(2*c.apps) || st.Pages != uint64(2*c.requests) || st.LastApps != c.apps || st.Bytes == 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// hm sends any token back as the same JSON (D01).
func TestTokenIsPassedBackAsGiven(t *testing.T) {
	_, rows := fleet(4)
	tokens := []string{`{ "id" : 3, "a b":"ü&=+%#é\u00e9" }`, `"next/2?"`, `17`, `[1,{"x":null}]`, `{"id":9223372036854775806}`}
	var got []string
	cc := &controller{instead: func(w http.ResponseWriter, r *http.Request, page int) bool {
		got = append(got, r.URL.Query().Get("bulk_token"))
		body := `{"bulk_token":` + tokens[page-1] + `,"results":{}}`
		if page < len(tokens) {
			body = `{"bulk_token":` + tokens[page-1] + `,"unknown":[1,{"a":"b"}],"results":{` + rows[page-1] + `}}`
		}
		w.Write([]byte(body))
		return true
	}}
	read := mustRead(t, cc.serve(t, Options{}))
	if want := append([]string{"{}"}, tokens[:4]...); !slices.Equal(got, want) || len(read.Apps) != 4 {
		t.Errorf("%d apps with tokens\n%q, want\n%q", len(read.Apps), got, want)
	}
}

func TestURLKeepsItsPath(t *testing.T) {
	var path string
	cc := &controller{instead: func(w http.ResponseWriter, r *http.Request, _ int) bool {
		path = r.URL.Path
		w.Write([]byte(`{"results":{}}`))
		return true
	}}
	base := cc.serve(t, Options{}).options.URL
	mustRead(t, source(t, Options{URL: base + "/cc/"}))
	if path != "/cc/bulk/apps" {
		t.Errorf("requested %s", path)
	}
}

// issuer returns credentials as a Cloud Controller does over NATS.
type issuer struct {
	mu       sync.Mutex
	password string
	err      error
	asked    int
}

func (i *issuer) set(password string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.password = password
}

func (i *issuer) credentials(context.Context) (string, string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	return "bulk", i.password, i.err
}

func TestCredentialsAreAskedForOnceAndAgainAfter401(t *testing.T) {
	want, rows := fleet(25)
	cc := &controller{rows: rows, user: "bulk", password: "one"}
	from := &issuer{password: "one"}
	s := cc.serve(t, Options{BatchSize: 10, Credentials: from.credentials})
	for range 2 {
		mustRead(t, s)
	}
	if from.asked != 1 {
		t.Errorf("asked %d times for credentials that are valid, want once", from.asked)
	}

	// They change between two reads, and in the middle of a read.
	cc.change(func(c *controller) { c.password = "two" })
	from.set("two")
	mustRead(t, s)
	page := 0
	cc.change(func(c *controller) {
		c.instead = func(http.ResponseWriter, *http.Request, int) bool {
			if page++; page == 2 {
				cc.change(func(c *controller) { c.password = "three" })
				from.set("three")
			}
			return false
		}
	})
	if read := mustRead(t, s); !slices.Equal(read.Apps, want) || from.asked != 3 {
		t.Errorf("%d apps after asking %d times, want %d after 3", len(read.Apps), from.asked, len(want))
	}

	// The issuer returns wrong credentials: hm tries once with new ones and keeps none.
	cc.change(func(c *controller) { c.instead, c.password = nil, "four" })
	before := cc.requests.Load()
	_, err := s.Read(t.Context())
	if kindOf(err) != Unauthorized || from.asked != 4 || cc.requests.Load()-before != 2 {
		t.Errorf("%v after asking %d times and %d requests, want unauthorized after 4 and 2", err, from.asked, cc.requests.Load()-before)
	}
	from.set("four")
	mustRead(t, s)

	// The issuer returns none.
	cc.change(func(c *controller) { c.password = "five" })
	from.err = errors.New("no answer within 5s")
	if _, err = s.Read(t.Context()); kindOf(err) != Credentials || !strings.Contains(err.Error(), "no answer within 5s") || !strings.Contains(err.Error(), "desired.partition") {
		t.Errorf("%v, want a failure to get credentials", err)
	}
}

// One read asks for new credentials only once. If the server refuses those too, on a later page, the read fails.
func TestCredentialsAreRenewedOnceARead(t *testing.T) {
	_, rows := fleet(3)
	refuse := []bool{false, true, false, true, false}
	cc := &controller{instead: func(w http.ResponseWriter, _ *http.Request, request int) bool {
		if refuse[request-1] {
			w.WriteHeader(http.StatusUnauthorized)
		} else if request < len(refuse) {
			fmt.Fprintf(w, `{"results":{%s},"bulk_token":{"id":%d}}`, rows[request/2], request)
		} else {
			io.WriteString(w, `{"results":{}}`)
		}
		return true
	}}
	from := &issuer{password: "one"}
	s := cc.serve(t, Options{Credentials: from.credentials})
	if _, err := s.Read(t.Context()); kindOf(err) != Unauthorized || from.asked != 2 || cc.requests.Load() != 4 {
		t.Errorf("%v after asking %d times and %d requests, want unauthorized after 2 and 4", err, from.asked, cc.requests.Load())
	}
}

func TestConfiguredCredentialsAreNotTriedTwice(t *testing.T) {
	cc := &controller{user: "bulk", password: "right"}
	s := cc.serve(t, Options{Username: "bulk", Password: "wrong"})
	_, err := s.Read(t.Context())
	if kindOf(err) != Unauthorized || cc.requests.Load() != 1 || !strings.Contains(err.Error(), "desired.bulk.username") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v after %d requests", err, cc.requests.Load())
	}
}

func TestAFewUnreadableRowsAreLeftAlone(t *testing.T) {
	want, rows := fleet(3000)
	var bad []app.GUID
	for i := 0; i < 30; i++ { // one row in a hundred
		g := want[100*i].Key.Droplet
		rows[100*i] = `"` + g.String() + `":{"id":"` + g.String() + `","instances":1,"state":"STARTED","package_state":"STAGED"}`
		bad = append(bad, g)
		want[100*i].Key = app.Key{}
	}
	want = slices.DeleteFunc(want, func(a desired.App) bool { return a.Key == app.Key{} })
	var logged bytes.Buffer
	cc := &controller{rows: rows}
	s := cc.serve(t, Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	for range 3 {
		read := mustRead(t, s)
		if !slices.Equal(read.Apps, want) || !slices.Equal(read.Unreadable, bad) {
			t.Fatalf("%d apps and %d unreadable, want %d and %d", len(read.Apps), len(read.Unreadable), len(want), len(bad))
		}
	}
	if n := strings.Count(logged.String(), "\n"); n != 1 || !strings.Contains(logged.String(), "version is missing") || !strings.Contains(logged.String(), "rows=30") {
		t.Errorf("logged %d lines: %s", n, logged.String())
	}
	if st := s.Stats(); st.Unreadable != 90 || st.LastUnreadable != 30 {
		t.Errorf("stats %+v", st)
	}

	// One more is too many, and the values of the last complete read stay.
	rows[1] = `"` + cc.rows[1][1:37] + `":null`
	_, err := s.Read(t.Context())
	if kindOf(err) != BadRows || !strings.Contains(err.Error(), "31 of 3000 rows are unreadable") || !strings.Contains(err.Error(), "version is missing") {
		t.Errorf("%v, want a refusal of 31 bad rows", err)
	}
	if st := s.Stats(); st.LastUnreadable != 30 || st.Failures != 1 || st.FailuresBy[BadRows] != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestTenBadRowsAreAllowedInASmallFleet(t *testing.T) {
	apps, _ := fleet(11)
	var rows []string
	for _, a := range apps {
		rows = append(rows, `"`+a.Key.Droplet.String()+`":{}`)
	}
	cc := &controller{rows: rows[:10]}
	s := cc.serve(t, Options{})
	if read := mustRead(t, s); len(read.Apps) != 0 || len(read.Unreadable) != 10 {
		t.Errorf("%+v", read)
	}
	cc.rows = rows
	if _, err := s.Read(t.Context()); kindOf(err) != BadRows {
		t.Errorf("%v, want 11 bad rows to be refused", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{
		{URL: ""}, {URL: "cc:8181"}, {URL: "ftp://cc"}, {URL: "http://"}, {URL: "http://u:hunter2@cc"}, {URL: "http://u:hunter2@cc\x7f"},
		{URL: "http://cc?x=1"}, {URL: "http://cc#x"}, {URL: "http://cc", BatchSize: -1}, {URL: "http://cc", Timeout: -1},
		{URL: "http://cc", Username: "a:b", Password: "c"}, {URL: "http://cc", Username: "a"}, {URL: "http://cc", Username: "a", Password: "b\nc"},
	} {
		if s, err := New(o); err == nil || s != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("New(%+v): %v", o, err)
		}
	}
}

func TestParseCredentials(t *testing.T) {
	for _, c := range []struct{ reply, user, password string }{
		{`{"user":"bulk_api","password":"p:w"}`, "bulk_api", "p:w"},
		{` {"password":"x","user":"y","more":[1]} `, "y", "x"},
		{`{"user":"","password":"hunter2"}`, "", ""},
		{`{"user":"a"}`, "", ""},
		{`{"user":1,"password":"hunter2"}`, "", ""},
		{`{"user":null,"password":"hunter2"}`, "", ""},
		{`{"user":"a:b","password":"hunter2"}`, "", ""},
		{`{"user":"a\n","password":"hunter2"}`, "", ""},
		{`["a","hunter2"]`, "", ""},
		{`{"user":"a","password":"hunter2"} x`, "", ""},
		{`null`, "", ""},
		{``, "", ""},
		{`{"user":"` + strings.Repeat("a", 2000) + `","password":"hunter2"}`, "", ""},
		{strings.Repeat(" ", 1<<20), "", ""},
	} {
		user, password, err := ParseCredentials([]byte(c.reply))
		if user != c.user || password != c.password || (err == nil) != (c.user != "") {
			t.Errorf("%.50s gives %q, %q, %v", c.reply, user, password, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error contains a password: %v", err)
		}
	}
}
