package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/bus/bustest"
	"hm/internal/config"
	hm "hm/internal/server"
)

var ledger Ledger

// TestMain lets all scenarios run at the same time, since they mostly wait, and prints how much was asserted.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "128"); err != nil { // a -parallel flag overrides it
		panic(err)
	}
	code := m.Run()
	ledger.Print(os.Stdout)
	os.Exit(code)
}

// world is one hm node and its neighbours, in a NATS account of its own.
type world struct {
	t    *testing.T // of the whole world
	name string
	nats *bustest.Server
	nc   *nats.Conn // of the Cloud Controller and the DEAs
	cc   *Controller
	node *hm.Node
	log  *lockedBuffer
	beat time.Duration

	filler []Row // apps that run as they should

	mu     sync.Mutex
	deas   []*DEA
	placed map[string]*DEA // where the Cloud Controller starts an app's instances
	beats  atomic.Int64
}

const (
	apiUser, apiPassword   = "magnet", "orangutan4sale"
	bulkUser, bulkPassword = "bulk_api", "bulk-password"
)

// runNATS runs one server, with an account for each world.
func runNATS(t *testing.T, worlds ...string) *bustest.Server {
	t.Helper()
	srv := bustest.Run(t, func(o *server.Options) {
		for _, name := range worlds {
			account := server.NewAccount(name)
			o.Accounts = append(o.Accounts, account)
			o.Users = append(o.Users, &server.User{Username: name, Password: name, Account: account})
		}
	})
	srv.SetLogger(nil, false, false) // nothing counts its messages here, and its trace costs more than they do
	return srv
}

// worldSetup says how a world differs from the plain one.
type worldSetup struct {
	beat   time.Duration // 0: 200 ms
	of2017 bool          // the Cloud Controller
	before func(*world)  // called when the Cloud Controller serves and no node runs yet
	posts  bool          // hm posts its commands
	sets   []string      // further keys, as key=value
}

// newWorld starts the neighbours and a node. The DEAs that are added beat until the end of the test.
func newWorld(t *testing.T, srv *bustest.Server, name string, o worldSetup) *world {
	t.Helper()
	w := &world{t: t, name: name, nats: srv, log: &lockedBuffer{}, beat: o.beat, placed: map[string]*DEA{}}
	if w.beat == 0 {
		w.beat = 200 * time.Millisecond
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the log of the node of world %s:\n%s", name, w.log)
		}
	})
	var err error
	if w.nc, err = nats.Connect(srv.URL(), nats.UserInfo(name, name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	w.cc = &Controller{User: bulkUser, Password: bulkPassword, of2017: o.of2017}
	w.cc.Start, w.cc.Stop = w.start, w.stop
	bulk := httptest.NewServer(w.cc)
	t.Cleanup(bulk.Close)
	if err := w.cc.Respond(w.nc); err != nil {
		t.Fatal(err)
	}
	if o.before != nil {
		o.before(w)
	}
	if o.posts {
		o.sets = append(o.sets, "commands.protocol=http", "commands.cc_url="+bulk.URL, "commands.cc_username="+bulkUser, "commands.cc_password="+bulkPassword)
	}
	cfg := config.Default()
	for _, text := range append([]string{
		"node.data_dir=" + t.TempDir(), fmt.Sprintf("raft.listen=127.0.0.1:%d", bustest.FreePorts(t, 1)[0]),
		"api.listen=127.0.0.1:0", "api.username=" + apiUser, "api.password=" + apiPassword,
		"nats.servers=" + srv.URL(), "nats.username=" + name, "nats.password=" + name, "desired.bulk.url=" + bulk.URL,
		"policy.heartbeat_period=" + w.beat.String(),
		// A busy machine must not look like a lost DEA, nor a late answer like a lost command.
		fmt.Sprintf("policy.heartbeat_ttl=%d", timeToLive), "policy.grace=20", "policy.duplicate_grace=1", "policy.stop_yield=300", "policy.starting_ttl=300",
		"policy.backoff_start=100", "policy.backoff_max=100", // a short healthy run must not shorten a crash series
		"desired.poll_interval=5", "desired.ttl=300",
	}, o.sets...) {
		name, value, _ := strings.Cut(text, "=")
		key, ok := config.KeyNamed(name)
		if !ok {
			t.Fatalf("there is no key %s", name)
		}
		if problem := key.SetText(&cfg, value); problem != nil {
			t.Fatal(problem)
		}
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if w.node, err = hm.Open(cfg, hm.Options{Version: "conformance", Logger: slog.New(slog.NewTextHandler(w.log, nil))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.node.Close(); err != nil {
			t.Error(err)
		}
	})
	w.keepBeating()
	return w
}

// keepBeating sends the heartbeats of all DEAs until the end of the test.
func (w *world) keepBeating() {
	end := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(w.beat)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			w.mu.Lock()
			deas := append([]*DEA(nil), w.deas...)
			w.mu.Unlock()
			for _, d := range deas {
				d.Beat()
			}
			w.beats.Add(1)
		}
	})
	w.t.Cleanup(func() { close(end); beating.Wait() })
}

// dea adds a DEA.
func (w *world) dea(age Age) *DEA {
	d := NewDEA(w.nc, age)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deas = append(w.deas, d)
	return d
}

// place makes the Cloud Controller start an app's instances on a DEA.
func (w *world) place(droplet string, d *DEA) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.placed[droplet] = d
}

func (w *world) start(c Command) {
	w.mu.Lock()
	d := w.placed[c.Droplet]
	w.mu.Unlock()
	if d != nil {
		d.Run(c.Droplet, c.Version, c.Index)
	}
}

// stop stops an instance on whichever DEA has it, as dea.stop does (N29): one that crashed is skipped. A stop of an app that
// a Cloud Controller of 2013 does not know stops all of its instances (N20).
func (w *world) stop(c Command) {
	all := c.Subject == "health.stop" && c.Check == "app unknown"
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.deas {
		d.Edit(func(d *DEA) {
			d.instances = slices.DeleteFunc(d.instances, func(i *Instance) bool {
				return (i.GUID == c.Instance || all && i.Droplet == c.Droplet) && i.State != "CRASHED"
			})
		})
	}
}

// rest waits until the DEAs have sent n more heartbeats each.
func (w *world) rest(t *testing.T, n int64) {
	t.Helper()
	end := w.beats.Load() + n
	until(t, fmt.Sprintf("the DEAs have sent %d more heartbeats", n), func() bool { return w.beats.Load() >= end })
}

// ask sends a question over NATS and gives the answer.
func (w *world) ask(t *testing.T, subject, question string) string {
	t.Helper()
	m, err := w.nc.Request(subject, []byte(question), 20*time.Second)
	if err != nil {
		t.Fatalf("ask %s %.200s: %v", subject, question, err)
	}
	return string(m.Data)
}

// post sends a request to the node's API, with the Cloud Controller's user and password, and gives status and body.
func (w *world) post(t *testing.T, path, body string, edit func(*http.Request)) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.node.APIAddr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(apiUser, apiPassword)
	if edit != nil {
		edit(req)
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (status int, answer string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// get reads a JSON document of the node's own API.
func (w *world) get(t *testing.T, path string, into any) (found bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.node.APIAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(apiUser, apiPassword)
	status, text := do(t, req)
	if status == http.StatusNotFound {
		return false
	}
	if err := json.Unmarshal([]byte(text), into); err != nil || status != http.StatusOK {
		t.Fatalf("%s: status %d, %v: %s", path, status, err, text)
	}
	return true
}

// raw gives the text of a JSON document of the node's own API.
func (w *world) raw(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "http://"+w.node.APIAddr()+path, nil)
	if err != nil {
		return err.Error()
	}
	req.SetBasicAuth(apiUser, apiPassword)
	_, text := do(t, req)
	return text
}

type statusView struct {
	Gate struct {
		Open    bool
		Reasons []string
	}
	Desired struct {
		Apps     int
		SyncedAt string `json:"synced_at"`
		Error    string
	}
}

func (w *world) status(t *testing.T) (s statusView) {
	t.Helper()
	w.get(t, "/v1/status", &s)
	return s
}

func (w *world) awaitGate(t *testing.T) {
	t.Helper()
	until(t, "the gate of world "+w.name+" is open", func() bool { return w.status(t).Gate.Open })
}

// settled reports whether hm sees no drift of an app and has no command for it.
func (w *world) settled(t *testing.T, droplet string) bool {
	t.Helper()
	var app struct {
		Versions []struct {
			Drift, Commands []json.RawMessage
		}
	}
	if !w.get(t, "/v1/apps/"+droplet, &app) {
		return true
	}
	for _, v := range app.Versions {
		if len(v.Drift)+len(v.Commands) > 0 {
			return false
		}
	}
	return true
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String gives the newest lines.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.text.Bytes()
	return string(text[max(0, len(text)-4096):])
}

// until waits until cond is true, and fails the test after 30 s. It looks seldom, since many scenarios wait at a time.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	untilEvery(t, 150*time.Millisecond, what, cond)
}

// timeToLive is policy.heartbeat_ttl of the worlds, in heartbeat periods.
const timeToLive = 15

// patience is long, because all scenarios of all worlds share the processors with the tests of other packages.
const patience = 2 * time.Minute

func untilEvery(t *testing.T, interval time.Duration, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(interval) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}
