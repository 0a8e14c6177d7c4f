package ccpub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hm/commands"
	"hm/commands/natspub"
	"hm/internal/app"
	"hm/internal/tlsfiles"
	"hm/internal/tlsfiles/tlstest"
)

// generous bounds what a test waits for.
const generous = 30 * time.Second

func command(action commands.Action, index uint32) commands.Command {
	c := commands.Command{
		Action: action, Reason: commands.ReasonMissing, Index: index, CreatedAt: 1,
		App: app.Key{Droplet: app.MustGUID("3f2a1b4c-0d9e-4f00-8abc-0123456789ab"), Version: app.MustGUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")},
	}
	if action == commands.Stop {
		c.Reason, c.Instance = commands.ReasonExtra, app.MustGUID("0123456789abcdef0123456789abcdef")
	}
	c.ID = commands.NewID(c)
	return c
}

func starts(n int) []commands.Command {
	var list []commands.Command
	for i := range n {
		list = append(list, command(commands.Start, uint32(i)))
	}
	return list
}

// cloudController is a server that counts the commands that arrive, by message_id.
type cloudController struct {
	*httptest.Server
	mu    sync.Mutex
	heard map[string]int
	paths []string
}

// serve runs a Cloud Controller that answers commands with a handler, and everything else with 404.
func serve(t *testing.T, handler http.HandlerFunc) *cloudController {
	t.Helper()
	c := &cloudController{heard: map[string]int{}}
	c.Server = httptest.NewServer(c.handler(handler))
	t.Cleanup(c.stop)
	return c
}

func (c *cloudController) stop() {
	c.CloseClientConnections()
	c.Close()
}

func (c *cloudController) handler(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.NotFound(w, r)
			return
		}
		var body struct {
			MessageID string `json:"message_id"`
		}
		text, _ := io.ReadAll(r.Body)
		if json.Unmarshal(text, &body) == nil {
			c.mu.Lock()
			c.heard[body.MessageID]++
			c.paths = append(c.paths, r.URL.Path)
			c.mu.Unlock()
		}
		handler(w, r)
	}
}

func (c *cloudController) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, times := range c.heard {
		n += times
	}
	return n
}

// wantOnce checks that no command arrived twice.
func (c *cloudController) wantOnce(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, n := range c.heard {
		if n != 1 {
			t.Errorf("command %s arrived %d times", id, n)
		}
	}
}

func accept(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}\n") }

// hang answers nothing until the client gives up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// publisher makes a publisher that leads and has heard the Cloud Controller.
func publisher(t *testing.T, url string, edit func(*Options)) *Publisher {
	t.Helper()
	o := Options{URL: url, Username: "hm", Password: "secret", Period: 10 * time.Second, Timeout: 10 * time.Second}
	if edit != nil {
		edit(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.Lead(1)
	p.answered(false, time.Now())
	return p
}

func TestPublish(t *testing.T) {
	var user, password, kind, accepts string
	cc := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		kind, accepts = r.Header.Get("Content-Type"), r.Header.Get("Accept")
		accept(w, r)
	})
	observed := 0
	p := publisher(t, cc.URL+"/base/", func(o *Options) {
		o.Observe = func(_ commands.Action, status int, _ time.Duration) {
			if status == 200 {
				observed++
			}
		}
		o.Spell = func(commands.Command) commands.Spelling {
			return commands.Spelling{App: app.KeyLetterCase{Droplet: app.UpperCase}}
		}
	})
	start, stop := command(commands.Start, 3), command(commands.Stop, 3)
	wild := stop
	wild.Instance = app.GUID{}
	for _, c := range []commands.Command{start, stop} {
		if err := p.Publish(t.Context(), 1, []commands.Command{c})[0]; err != nil {
			t.Fatal(err)
		}
	}
	for i, err := range p.Publish(t.Context(), 1, []commands.Command{wild, {}}) {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("command %d, which cannot be sent, gives %v", i, err)
		}
	}
	if user != "hm" || password != "secret" || kind != "application/json" || accepts != "application/json" || observed != 2 {
		t.Errorf("the Cloud Controller got user %q, password %q, content type %q, accept %q; %d answers were observed", user, password, kind, accepts, observed)
	}
	const guid = "3F2A1B4C-0D9E-4F00-8ABC-0123456789AB"
	want := "[/base/internal/dea/hm9000/start/" + guid + " /base/internal/dea/hm9000/stop/" + guid + "]"
	if got := fmt.Sprint(cc.paths); got != want {
		t.Errorf("the Cloud Controller got %s, want %s", got, want)
	}
	if cc.wantOnce(t); cc.heard[start.ID.String()] != 1 || cc.heard[stop.ID.String()] != 1 {
		t.Errorf("it heard %v", cc.heard)
	}
	if errs := p.Publish(t.Context(), 1, nil); len(errs) != 0 {
		t.Errorf("no command gives %v", errs)
	}
}

// TestBodyIsThatOfNATS: the body is the message that goes over NATS (N23, N24).
func TestBodyIsThatOfNATS(t *testing.T) {
	p := publisher(t, "http://127.0.0.1:1", nil)
	for _, c := range []commands.Command{command(commands.Start, 1), command(commands.Stop, 1)} {
		_, body, err := p.message(c)
		_, want, wantErr := natspub.Message(c, commands.Spelling{})
		if err != nil || wantErr != nil || string(body) != string(want) {
			t.Errorf("%s: %s, %v; want %s, %v", c.Action, body, err, want, wantErr)
		}
	}
}

// TestBadServers: what a command comes to on servers that misbehave, and that each command arrives at most once.
func TestBadServers(t *testing.T) {
	raw := func(text string) http.HandlerFunc { // answers with these bytes, and closes the connection
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, text)
				_ = conn.Close()
			}
		}
	}
	rawHang := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, text)
				_, _ = io.Copy(io.Discard, conn) // until the client gives up
				_ = conn.Close()
			}
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    error // nil: accepted
		up      bool  // it still counts as reachable
		text    string
	}{
		"hang before the answer":  {hang, ErrUnknown, false, "no answer: context deadline exceeded"},
		"hang after the headers":  {rawHang("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), nil, true, ""},
		"hang in the headers":     {rawHang("HTTP/1.1 200 OK\r\nContent-Le"), ErrUnknown, false, "no answer"},
		"slow body":               {rawHang("HTTP/1.1 503 No\r\nContent-Length: 60\r\n\r\n{\"code\":1"), ErrUnknown, true, "a proxy"},
		"reset before the answer": {raw(""), ErrUnknown, true, "no answer: EOF"},
		"reset in the headers":    {raw("HTTP/1.1 200"), ErrUnknown, true, "no answer"},
		"reset in the body":       {raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), nil, true, ""},
		"no HTTP":                 {raw("220 mail.example ESMTP\r\n"), ErrUnknown, true, "no answer"},
		"huge headers":            {raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 10<<20) + "\r\n\r\n"), ErrUnknown, true, "no answer"},
		"100 MB body": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			for range 100 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, ErrNoEffect, true, "400 Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cc := serve(t, c.handler)
			p := publisher(t, cc.URL, func(o *Options) { o.Timeout = 3 * time.Second })
			err := p.Publish(t.Context(), 1, starts(1))[0]
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %v with %q", err, c.want, c.text)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is shown: %v", err)
			}
			if cc.wantOnce(t); cc.total() != 1 {
				t.Errorf("%d commands arrived, want 1", cc.total())
			}
			if p.Reachable(1) != c.up {
				t.Errorf("reachable %v, want %v", p.Reachable(1), c.up)
			}
		})
	}
}

// TestNoConnection: a server that accepts connections and never reads, and ones that cannot be connected to.
func TestNoConnection(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(accept)) // its authority is not known
	defer secure.Close()
	secure.Config.ErrorLog = nil
	for name, c := range map[string]struct {
		url     string
		timeout time.Duration
		want    error
		text    string
	}{
		"accepted, never read": {"http://" + silent.Addr().String(), 3 * time.Second, ErrUnknown, "no answer"},
		"TLS never answered":   {"https://" + silent.Addr().String(), 3 * time.Second, ErrNotSent, "no connection"},
		"refused":              {"http://" + closed.Addr().String(), generous, ErrNotSent, "connection refused"},
		"no such host":         {"http://cc.invalid", generous, ErrNotSent, "no connection"},
		"unknown authority":    {secure.URL, generous, ErrNotSent, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			p := publisher(t, c.url, func(o *Options) { o.Timeout = c.timeout })
			err := p.Publish(t.Context(), 1, starts(1))[0]
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %v with %q", err, c.want, c.text)
			}
		})
	}
}

// TestCertificateOfTheAuthority: another authority is trusted as soon as it is in the file; the old one is not.
func TestCertificateOfTheAuthority(t *testing.T) {
	old, new := tlstest.New(t), tlstest.New(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	tlstest.Install(t, ca, old.CA)
	w := tlsfiles.NewWatcher(slog.New(slog.DiscardHandler))
	set, err := w.Client("commands.cc_ca", tlsfiles.File{Key: "commands.cc_ca", Path: ca}, tlsfiles.File{}, tlsfiles.File{})
	if err != nil {
		t.Fatal(err)
	}
	cc := func(a *tlstest.Authority) *cloudController {
		cert, key := a.Issue("cc", nil)
		cc := &cloudController{heard: map[string]int{}}
		cc.Server = httptest.NewUnstartedServer(cc.handler(accept))
		if cc.TLS, err = tlsfiles.Server(tlsfiles.File{Path: cert}, tlsfiles.File{Path: key}, tlsfiles.File{}); err != nil {
			t.Fatal(err)
		}
		cc.StartTLS()
		t.Cleanup(cc.stop)
		return cc
	}
	first, second := cc(old), cc(new)
	p, q := publisher(t, first.URL, func(o *Options) { o.TLS = set }), publisher(t, second.URL, func(o *Options) { o.TLS = set })
	if err := p.Publish(t.Context(), 1, starts(1))[0]; err != nil {
		t.Fatal(err)
	}
	first.wantOnce(t)
	if err := q.Publish(t.Context(), 1, starts(1))[0]; !errors.Is(err, ErrNotSent) {
		t.Errorf("%v, want ErrNotSent: nobody vouches for the second Cloud Controller yet", err)
	}
	tlstest.Install(t, ca, new.CA)
	w.Reload()
	q.answered(false, time.Now()) // the failure took it for unreachable
	if err := q.Publish(t.Context(), 1, starts(1))[0]; err != nil {
		t.Error(err)
	}
	second.wantOnce(t)
	if err := p.Publish(t.Context(), 1, starts(1))[0]; !errors.Is(err, ErrNotSent) {
		t.Errorf("%v, want ErrNotSent: nobody vouches for the first Cloud Controller any more", err)
	}
}

// TestRedirectIsNotFollowed: neither the command nor the credentials go elsewhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		cc := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/x", status) })
		p := publisher(t, cc.URL, nil)
		err := p.Publish(t.Context(), 1, starts(1))[0]
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), other.URL) {
			t.Errorf("%d: %v, want a refusal that names %s", status, err, other.URL)
		}
		if r := p.Refusals(); len(r) != 1 || r[0].Action != commands.Start || r[0].Count != 1 {
			t.Errorf("%d: the refusals are %+v", status, r)
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// TestNoPostIsRepeated: the Cloud Controller closes the idle connection, which the client may notice only when it writes
// the next command. net/http would send a request again whose body it can rewind.
func TestNoPostIsRepeated(t *testing.T) {
	var posts atomic.Int64
	cc := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if posts.Add(1)%2 == 1 {
			accept(w, r) // and keep the connection
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack() // the command was read; the connection ends without an answer
		if err == nil {
			_ = conn.Close()
		}
	})
	var attempts atomic.Int64
	p := publisher(t, cc.URL, func(o *Options) { o.Observe = func(commands.Action, int, time.Duration) { attempts.Add(1) } })
	const rounds = 50
	for i, c := range starts(rounds) {
		err := p.Publish(t.Context(), 1, []commands.Command{c})[0]
		if errors.Is(err, ErrNotSent) {
			t.Errorf("command %d was read by the Cloud Controller, and counts as not sent: %v", i, err)
		}
	}
	if cc.wantOnce(t); cc.total() != rounds || attempts.Load() != rounds {
		t.Errorf("%d commands arrived in %d attempts, want %d", cc.total(), attempts.Load(), rounds)
	}

	// The server ends idle connections just when commands come: each arrives once, or certainly not at all.
	cc = serve(t, accept)
	p = publisher(t, cc.URL, nil)
	for i, c := range starts(rounds) {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			cc.CloseClientConnections()
		}()
		err := p.Publish(t.Context(), 1, []commands.Command{c})[0]
		<-ended
		cc.mu.Lock()
		arrived := cc.heard[c.ID.String()]
		cc.mu.Unlock()
		if arrived > 1 || arrived == 1 && errors.Is(err, ErrNotSent) || arrived == 0 && err == nil {
			t.Errorf("command %d arrived %d times, and gives %v", i, arrived, err)
		}
		p.answered(true, time.Now()) // failures in a row are not what this is about
	}
}

// TestI1NothingIsPostedAfterAGap: the link has a gap, or the leadership ends, in the middle of a batch.
func TestI1NothingIsPostedAfterAGap(t *testing.T) {
	var may atomic.Int64
	may.Store(20)
	cc := serve(t, func(w http.ResponseWriter, r *http.Request) { accept(w, r) })
	p := publisher(t, cc.URL, func(o *Options) {
		o.Allowed = func(epoch uint64) func() error {
			return func() error {
				if epoch != 7 || may.Add(-1) < 0 {
					return errors.New("the link has had a gap")
				}
				return nil
			}
		}
	})
	sent := 0
	for i, err := range p.Publish(t.Context(), 7, starts(100)) {
		switch {
		case err == nil:
			sent++
		case !errors.Is(err, ErrNotSent):
			t.Errorf("command %d: %v", i, err)
		}
	}
	if cc.wantOnce(t); sent != 20 || cc.total() != 20 {
		t.Errorf("%d commands were sent, and %d arrived; want the 20 before the gap", sent, cc.total())
	}
	if err := p.Publish(t.Context(), 8, starts(1))[0]; !errors.Is(err, ErrNotSent) {
		t.Errorf("in another epoch: %v", err)
	}
}

// TestW22AHangingCloudControllerIsLeftInTime: no more commands than are posted at a time are unknown, and the others are
// certainly not sent.
func TestW22AHangingCloudControllerIsLeftInTime(t *testing.T) {
	cc := serve(t, hang)
	changed := make(chan struct{}, 10)
	p := publisher(t, cc.URL, func(o *Options) { o.Timeout, o.Changed = 3*time.Second, func() { changed <- struct{}{} } })
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	unknown := 0
	for i, err := range p.Publish(ctx, 1, starts(200)) {
		switch {
		case errors.Is(err, ErrUnknown):
			unknown++
		case !errors.Is(err, ErrNotSent):
			t.Errorf("command %d: %v", i, err)
		}
	}
	if ctx.Err() != nil {
		t.Fatal("the batch took longer than its time")
	}
	if cc.wantOnce(t); unknown == 0 || unknown > parallel || cc.total() > parallel {
		t.Errorf("%d commands are unknown, and %d arrived; want at most %d", unknown, cc.total(), parallel)
	}
	if p.Reachable(1) || len(changed) == 0 {
		t.Error("the Cloud Controller still counts as reachable")
	}
	before := cc.total()
	if err := p.Publish(ctx, 1, starts(1))[0]; !errors.Is(err, ErrNotSent) || cc.total() != before {
		t.Errorf("a command to an unreachable Cloud Controller: %v, %d posts", err, cc.total()-before)
	}
}

// TestASlowCloudControllerDoesNotHang: the commands that it has no time for are not sent, and it stays reachable.
func TestASlowCloudControllerDoesNotHang(t *testing.T) {
	cc := serve(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		accept(w, r)
	})
	p := publisher(t, cc.URL, func(o *Options) { o.Timeout = 4 * time.Second })
	sent := 0
	for i, err := range p.Publish(t.Context(), 1, starts(1000)) {
		switch {
		case err == nil:
			sent++
		case !errors.Is(err, ErrNotSent):
			t.Errorf("command %d: %v", i, err)
		}
	}
	if cc.wantOnce(t); sent == 0 || sent == 1000 || cc.total() != sent || !p.Reachable(1) {
		t.Errorf("%d commands were sent, %d arrived, reachable %v", sent, cc.total(), p.Reachable(1))
	}
}

// TestW01StopsOfUnknownAppsGoOverNATS, once each, and no start does.
func TestW01StopsOfUnknownAppsGoOverNATS(t *testing.T) {
	cc := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"code":100004,"description":"The app could not be found"}`)
	})
	failing := errors.New("nats is away")
	var result error
	var over []commands.Command
	p := publisher(t, cc.URL, func(o *Options) {
		o.Unknown = func(_ context.Context, epoch uint64, c commands.Command) error {
			if epoch != 5 {
				t.Errorf("in epoch %d", epoch)
			}
			over = append(over, c)
			return result
		}
	})
	stop := command(commands.Stop, 1)
	if err := p.Publish(t.Context(), 5, []commands.Command{stop})[0]; err != nil {
		t.Errorf("a stop that NATS took: %v", err)
	}
	result = failing
	if err := p.Publish(t.Context(), 5, []commands.Command{stop})[0]; !errors.Is(err, failing) {
		t.Errorf("a stop that NATS did not take: %v", err)
	}
	if err := p.Publish(t.Context(), 5, starts(1))[0]; !errors.Is(err, ErrNoEffect) {
		t.Errorf("a start of an unknown app: %v", err)
	}
	if len(over) != 2 || over[0] != stop {
		t.Errorf("%+v went over NATS, want the stop, twice", over)
	}
	if r := p.Refusals(); len(r) != 0 {
		t.Errorf("the refusals are %+v", r)
	}
}

// TestI1AStopThatMayGoNoMoreGoesNowhere: the link had a gap, or another node leads, when the Cloud Controller's answer came
// that it does not know the app.
func TestI1AStopThatMayGoNoMoreGoesNowhere(t *testing.T) {
	var answered atomic.Bool
	cc := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		answered.Store(true)
		w.WriteHeader(http.StatusNotFound)
	})
	p := publisher(t, cc.URL, func(o *Options) {
		o.Allowed = func(uint64) func() error {
			return func() error {
				if answered.Load() {
					return errors.New("this node leads no more")
				}
				return nil
			}
		}
		o.Unknown = func(context.Context, uint64, commands.Command) error {
			t.Error("the stop went over NATS")
			return nil
		}
	})
	if err := p.Publish(t.Context(), 5, []commands.Command{command(commands.Stop, 1)})[0]; !errors.Is(err, ErrNotSent) {
		t.Errorf("the stop: %v", err)
	}
}

// TestRefusalsAreToldUntilACommandIsTaken.
func TestRefusalsAreToldUntilACommandIsTaken(t *testing.T) {
	status := http.StatusUnauthorized
	cc := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	p := publisher(t, cc.URL, nil)
	for range 2 {
		if err := p.Publish(t.Context(), 1, starts(1))[0]; !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	}
	r := p.Refusals()
	if len(r) != 1 || r[0].Action != commands.Start || r[0].Count != 2 || !strings.Contains(r[0].Error, "commands.cc_password") || r[0].Last.Before(r[0].Since) {
		t.Errorf("the refusals are %+v", r)
	}
	if status = http.StatusOK; p.Publish(t.Context(), 1, starts(1))[0] != nil || len(p.Refusals()) != 0 {
		t.Errorf("after a command was taken: %+v", p.Refusals())
	}
}

// TestWatch: a leader asks at once, and again; a node that does not lead asks nothing.
func TestWatch(t *testing.T) {
	var asked, broken atomic.Int64
	cc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != http.MethodGet || r.URL.Path != "/base/" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s with the credentials %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		if broken.Load() == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		http.NotFound(w, r)
	}))
	defer cc.Close()
	p, err := New(Options{URL: cc.URL + "/base", Period: 100 * time.Millisecond, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Watch(ctx)
	}()
	defer func() {
		cancel()
		<-ended
		p.Close()
	}()
	if s := p.State(); s.Asks || s.Known || p.Reachable(0) {
		t.Errorf("before it leads: %+v", s)
	}
	await := func(what string, cond func() bool) {
		t.Helper()
		for deadline := time.Now().Add(generous); !cond(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not in time: %s; %+v", what, p.State())
			}
		}
	}
	p.Lead(3)
	await("a new leader knows", func() bool { return p.Reachable(3) })
	if p.Reachable(2) || p.Reachable(0) {
		t.Error("it counts as known in another term")
	}
	broken.Store(1)
	await("the proxy lost the Cloud Controller", func() bool { return !p.Reachable(3) && p.State().Known })
	if s := p.State(); !strings.Contains(s.Error, "502 Bad Gateway") {
		t.Errorf("%+v", s)
	}
	broken.Store(0)
	await("it is back", func() bool { return p.Reachable(3) })
	p.Lead(0)
	if p.Reachable(3) {
		t.Error("a node that leads no more knows")
	}
	p.Lead(4)
	await("it leads again", func() bool { return p.Reachable(4) })
	if n := asked.Load(); n < 5 {
		t.Errorf("asked %d times", n)
	}
}

// TestNewLeaderDoesNotWaitForAnOldProbe: a probe of an earlier leadership hangs.
func TestNewLeaderDoesNotWaitForAnOldProbe(t *testing.T) {
	hangs := make(chan struct{}, 1)
	hangs <- struct{}{}
	reached := make(chan struct{})
	cc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hangs:
			close(reached)
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer cc.Close()
	p, err := New(Options{URL: cc.URL, Period: time.Hour, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Watch(ctx)
	}()
	p.Lead(1)
	<-reached
	p.Lead(2)
	for deadline := time.Now().Add(generous); !p.Reachable(2); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new leader knows nothing")
		}
	}
	cancel()
	<-ended
	p.Close()
}

func TestNewRefuses(t *testing.T) {
	for _, url := range []string{"", "cc", "ftp://cc", "http://", "http://u:secret@cc", "http://cc?x", "http://cc#x", "http://cc:%zz"} {
		if _, err := New(Options{URL: url, Period: 1, Timeout: 1}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := New(Options{URL: "http://cc"}); err == nil {
		t.Error("without a timeout")
	}
}
