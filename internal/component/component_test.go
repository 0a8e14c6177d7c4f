package component

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/api"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
)

// logText is a log that tests read.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logText) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// run opens a link and a component on it, and follows the link as a node does.
func run(t *testing.T, url string, edit func(*Options)) *Component {
	t.Helper()
	link, err := bus.Open(bus.Options{Servers: []string{url}, PingInterval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Type: HealthManager, Index: 1, Listen: "127.0.0.1:0", Link: link, Figures: figures}
	if edit != nil {
		edit(&o)
	}
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var follows sync.WaitGroup
	follows.Go(func() {
		for {
			c.Follow(link.State())
			select {
			case <-stop:
				return
			case <-link.Changed():
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		follows.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// collector plays the collector of a Cloud Foundry of that time.
type collector struct {
	t  *testing.T
	nc *nats.Conn
}

func newCollector(t *testing.T, url string) collector {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return collector{t, nc}
}

// announcements gives what components announce from now on.
func (c collector) announcements() *nats.Subscription {
	c.t.Helper()
	sub, err := c.nc.SubscribeSync(subjectAnnounce)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.nc.Flush(); err != nil {
		c.t.Fatal(err)
	}
	return sub
}

func (c collector) next(sub *nats.Subscription) identity {
	c.t.Helper()
	m, err := sub.NextMsg(30 * time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.parse(m.Data)
}

func (c collector) parse(data []byte) (i identity) {
	c.t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&i); err != nil {
		c.t.Fatalf("%s: %v", data, err)
	}
	return i
}

// discover asks for components until one answers.
func (c collector) discover() (i identity) {
	c.t.Helper()
	bustest.Until(c.t, "a component answers", func() bool {
		m, err := c.nc.Request(subjectDiscover, nil, time.Second)
		if err == nil {
			i = c.parse(m.Data)
		}
		return err == nil
	})
	return i
}

// get asks for a path with credentials; none if both are empty.
func (c collector) get(host, path string, credentials [2]string) (int, string) {
	c.t.Helper()
	return c.ask(http.MethodGet, host, path, credentials)
}

func (c collector) ask(method, host, path string, credentials [2]string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+host+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if credentials != [2]string{} {
		req.SetBasicAuth(credentials[0], credentials[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if !resp.Close {
		c.t.Errorf("%s %s keeps its connection", method, path)
	}
	return resp.StatusCode, string(body)
}

// TestN47Collector plays the collector: it hears the announcement, asks for components, and reads /varz and /healthz with
// the credentials of the answer.
func TestN47Collector(t *testing.T) {
	for _, kind := range []string{HealthManager, HM9000} {
		t.Run(kind, func(t *testing.T) {
			srv := bustest.Run(t, nil)
			c := newCollector(t, srv.URL())
			heard := c.announcements()
			var logged logText
			self := run(t, srv.URL(), func(o *Options) {
				o.Type, o.Logger = kind, logged.logger()
				o.Users = func(context.Context) (int, error) { return 7, nil }
				o.UsersEvery = time.Hour
			})
			announced, found := c.next(heard), c.discover()
			found.Uptime = announced.Uptime
			if announced != found {
				t.Errorf("announced %+v, answered %+v", announced, found)
			}
			if found.Type != kind || found.Index != 1 || found.Host != self.Addr() {
				t.Errorf("%+v", found)
			}
			for name, c := range map[string]struct{ text, form string }{
				"uuid": {found.UUID, `^1-[0-9a-f]{32}$`}, "user": {found.Credentials[0], `^[0-9a-f]{32}$`},
				"password": {found.Credentials[1], `^[0-9a-f]{32}$`}, "start": {found.Start, `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000$`},
				"uptime": {found.Uptime, `^0d:0h:\d+m:\d+s$`},
			} {
				if !regexp.MustCompile(c.form).MatchString(c.text) {
					t.Errorf("%s is %q, want it like %s", name, c.text, c.form)
				}
			}
			bustest.Until(t, "the number of users is known", func() bool { return self.users.known() != nil })

			code, body := c.get(found.Host, "/varz", found.Credentials)
			var varz map[string]any
			if err := json.Unmarshal([]byte(body), &varz); code != 200 || err != nil {
				t.Fatalf("/varz: %d, %v: %s", code, err, body)
			}
			for name, want := range map[string]any{
				"type": kind, "index": 1.0, "uuid": found.UUID, "host": found.Host, "start": found.Start, "config": map[string]any{},
				"credentials": []any{found.Credentials[0], found.Credentials[1]},
			} {
				if fmt.Sprint(varz[name]) != fmt.Sprint(want) {
					t.Errorf("/varz has %s %v, want %v", name, varz[name], want)
				}
			}
			for _, name := range []string{"mem", "num_cores"} {
				if n, _ := varz[name].(float64); n <= 0 {
					t.Errorf("/varz has %s %v", name, varz[name])
				}
			}
			if kind == HealthManager && (varz["total_users"] != 7.0 || varz["state"] != "RUNNING") {
				t.Errorf("/varz has %v users in state %v", varz["total_users"], varz["state"])
			}
			if kind == HM9000 && (varz["name"] != HM9000 || len(varz["contexts"].([]any)) != 1) {
				t.Errorf("/varz is of %v, with contexts %v", varz["name"], varz["contexts"])
			}
			if code, body := c.get(found.Host, "/healthz", found.Credentials); code != 200 || body != "ok\n" {
				t.Errorf("/healthz: %d %q", code, body)
			}
			if strings.Contains(logged.String(), found.Credentials[1]) || strings.Contains(logged.String(), found.Credentials[0]) {
				t.Errorf("the log has the credentials: %s", logged.String())
			}
		})
	}
}

// TestHTTPRefuses: nothing but GET and HEAD of the two paths, and nothing at all without the credentials.
func TestHTTPRefuses(t *testing.T) {
	srv := bustest.Run(t, nil)
	self := run(t, srv.URL(), func(o *Options) { o.Username, o.Password = "thin", "white:duke" })
	c := collector{t: t}
	right := [2]string{"thin", "white:duke"}
	for _, x := range []struct {
		method, path string
		credentials  [2]string
		want         int
		body         string
	}{
		{"GET", "/healthz", right, 200, "ok\n"},
		{"HEAD", "/varz", right, 200, ""},
		{"GET", "/varz?x=1", right, 200, ""},
		{"GET", "/varz", [2]string{}, 401, "Unauthorized\n"},
		{"GET", "/healthz", [2]string{}, 401, "Unauthorized\n"},
		{"GET", "/varz", [2]string{"thin", "white"}, 401, "Unauthorized\n"},
		{"GET", "/varz", [2]string{"thin", "duke"}, 401, "Unauthorized\n"},
		{"GET", "/metrics", [2]string{}, 401, "Unauthorized\n"},
		{"GET", "/", right, 404, "Not Found\n"},
		{"GET", "/varz/", right, 404, "Not Found\n"},
		{"GET", "/metrics", right, 404, "Not Found\n"},
		{"GET", "/v1/status", right, 404, "Not Found\n"},
		{"POST", "/varz", right, 405, "Method Not Allowed\n"},
		{"DELETE", "/healthz", right, 405, "Method Not Allowed\n"},
	} {
		code, body := c.ask(x.method, self.Addr(), x.path, x.credentials)
		if code != x.want || x.body != "" && body != x.body {
			t.Errorf("%s %s as %v: %d %q, want %d %q", x.method, x.path, x.credentials, code, body, x.want, x.body)
		}
	}
	if got := self.Stats().Requests; got[200] != 3 || got[401] != 5 || got[404] != 4 || got[405] != 2 {
		t.Errorf("counted %v", got)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+self.Addr()+"/varz", nil)
	req.Header.Set("X-Large", strings.Repeat("x", 2*maxHeaderBytes))
	req.SetBasicAuth("thin", "white:duke")
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != 431 {
		t.Errorf("a large header: %v, %v", resp, err)
	}
}

// TestFewConnections: more connections than the limit wait, and do no harm to those that follow.
func TestFewConnections(t *testing.T) {
	srv := bustest.Run(t, nil)
	self := run(t, srv.URL(), func(o *Options) { o.Username, o.Password = "thin", "thin" })
	var idle []net.Conn
	for range maxConns + 10 {
		conn, err := net.Dial("tcp", self.Addr())
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	for _, conn := range idle {
		conn.Close()
	}
	if code, _ := (collector{t: t}).get(self.Addr(), "/healthz", [2]string{"thin", "thin"}); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
}

// TestVarzIsShared: requests within a second get one answer, for which the figures are asked once.
func TestVarzIsShared(t *testing.T) {
	srv := bustest.Run(t, nil)
	var asked atomic.Int64
	self := run(t, srv.URL(), func(o *Options) {
		o.Figures = func() api.Figures {
			asked.Add(1)
			return figures()
		}
	})
	began := time.Now()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { self.varz.get(self.makeVarz) })
	}
	wg.Wait()
	if limit := 1 + int64(time.Since(began)/varzAge); asked.Load() > limit {
		t.Errorf("50 requests made %d answers, want at most %d", asked.Load(), limit)
	}
}

// TestReconnectAnnouncesAgain: an outage of NATS.
func TestReconnectAnnouncesAgain(t *testing.T) {
	srv := bustest.Run(t, nil)
	proxy := bustest.RunProxy(t, srv.Address())
	c := newCollector(t, srv.URL())
	heard := c.announcements()
	self := run(t, proxy.URL(), nil)
	first := c.next(heard)
	bustest.Until(t, "the server has confirmed it", func() bool { return self.Stats().Announced == 1 })
	proxy.Cut()
	second := c.next(heard)
	if first.UUID != second.UUID || first.Start != second.Start {
		t.Errorf("first %+v, then %+v", first, second)
	}
	bustest.Until(t, "both are counted", func() bool { return self.Stats().Announced == 2 })
	if found := c.discover(); found.UUID != first.UUID {
		t.Errorf("answered as %s", found.UUID)
	}
}

func TestConnectionsBegun(t *testing.T) {
	var c connections
	for i, x := range []struct {
		state bus.State
		want  bool
	}{
		{bus.State{}, false},
		{bus.State{Up: true, Epoch: 1}, true},
		{bus.State{Up: true, Epoch: 2}, false}, // a subscription, or a gap
		{bus.State{Up: false, Epoch: 3, Outages: 1}, false},
		{bus.State{Up: true, Epoch: 4, Outages: 1}, true},
		{bus.State{Up: true, Epoch: 6, Outages: 2}, true}, // down and up between two looks
		{bus.State{Up: true, Epoch: 6, Outages: 2, Moves: 1}, true},
	} {
		if got := c.begun(x.state); got != x.want {
			t.Errorf("step %d, %+v: %t, want %t", i, x.state, got, x.want)
		}
	}
}

// TestFloodOfQuestions: a flood, questions without a reply subject, and large ones do no harm.
func TestFloodOfQuestions(t *testing.T) {
	srv := bustest.Run(t, nil)
	c := newCollector(t, srv.URL())
	self := run(t, srv.URL(), nil)
	id := c.discover()
	large := bytes.Repeat([]byte("x"), 512<<10)
	for i := range 2000 {
		var err error
		switch {
		case i%3 == 0:
			err = c.nc.Publish(subjectDiscover, []byte("{"))
		case i%500 == 1:
			err = c.nc.PublishRequest(subjectDiscover, "flood", large)
		default:
			err = c.nc.PublishRequest(subjectDiscover, "flood", nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if again := c.discover(); again.UUID != id.UUID {
		t.Errorf("answered as %s, before as %s", again.UUID, id.UUID)
	}
	if s := self.Stats(); s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

// TestRefusedByNATS: a server that allows neither subject is told in the log, and /varz works.
func TestRefusedByNATS(t *testing.T) {
	srv := bustest.Run(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "hm", Password: "hm", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"dea.>"}}, Subscribe: &server.SubjectPermission{Allow: []string{"dea.>"}},
		}}}
	})
	var logged logText
	self := run(t, strings.Replace(srv.URL(), "nats://", "nats://hm:hm@", 1), func(o *Options) {
		o.Username, o.Password, o.Logger = "thin", "wine", logged.logger()
	})
	bustest.Until(t, "the refusal is logged", func() bool { return strings.Contains(logged.String(), "could not be announced") })
	if strings.Contains(logged.String(), "wine") || self.Stats().Failed != 1 {
		t.Errorf("%+v; the log is %s", self.Stats(), logged.String())
	}
	if code, _ := (collector{t: t}).get(self.Addr(), "/varz", [2]string{"thin", "wine"}); code != 200 {
		t.Errorf("/varz: %d", code)
	}
}

// TestUsersStay: a question that fails leaves the last number.
func TestUsersStay(t *testing.T) {
	srv := bustest.Run(t, nil)
	var asked atomic.Int64
	var logged logText
	self := run(t, srv.URL(), func(o *Options) {
		o.Logger, o.UsersEvery = logged.logger(), time.Millisecond
		o.Users = func(context.Context) (int, error) {
			if asked.Add(1) == 1 {
				return 12, nil
			}
			return 0, errors.New("the Cloud Controller is away")
		}
	})
	bustest.Until(t, "a question has failed", func() bool { return strings.Contains(logged.String(), "is away") && asked.Load() > 3 })
	if n := self.users.known(); n == nil || *n != 12 {
		t.Errorf("users: %v", n)
	}
	if lines := strings.Count(logged.String(), "the Cloud Controller is away"); lines != 1 {
		t.Errorf("%d lines in the log", lines)
	}
}

// TestCloseEnds: after Close nothing is served, answered or announced, and a question under way is given up.
func TestCloseEnds(t *testing.T) {
	srv := bustest.Run(t, nil)
	c := newCollector(t, srv.URL())
	asking := make(chan struct{})
	self := run(t, srv.URL(), func(o *Options) {
		o.UsersEvery = time.Hour
		o.Users = func(ctx context.Context) (int, error) {
			close(asking)
			<-ctx.Done()
			return 0, ctx.Err()
		}
	})
	c.discover()
	<-asking
	for range 2 {
		if err := self.Close(); err != nil {
			t.Error(err)
		}
	}
	if conn, err := net.Dial("tcp", self.Addr()); err == nil {
		conn.Close()
		t.Error("the closed component accepts a connection")
	}
	before := self.Stats()
	self.Follow(bus.State{Up: true, Outages: 9})
	self.takeDiscover(bus.Msg{Subject: subjectDiscover, Reply: "x"})
	if after := self.Stats(); after.Announced != before.Announced || after.Answered != before.Answered {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// TestOpenFails: a type that does not exist, and an address that is taken.
func TestOpenFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, o := range map[string]Options{
		`type "DEA" is neither`: {Type: "DEA", Listen: "127.0.0.1:0"},
		"listening for":         {Type: HM9000, Listen: taken.Addr().String()},
	} {
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}
