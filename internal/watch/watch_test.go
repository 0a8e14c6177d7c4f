package watch

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/journal"
	"hm/internal/liveview"
)

const deadline = 2 * time.Minute

// fakeNode is a node behind a door that can be shut.
type fakeNode struct {
	*apitest.Node
	addr  string
	shut  atomic.Bool  // requests end without an answer
	hangs atomic.Bool  // requests have no end
	asked atomic.Int64 // for the status
}

func serve(t *testing.T, n *apitest.Node) *fakeNode {
	t.Helper()
	server, err := api.Open(n.Options())
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeNode{Node: n}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server.Addr()})
	proxy.FlushInterval = -1
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status" {
			f.asked.Add(1)
		}
		if f.hangs.Load() {
			<-r.Context().Done()
		}
		if f.shut.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	f.addr = door.URL
	t.Cleanup(func() {
		door.CloseClientConnections()
		door.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func optionsOf(t *testing.T, nodes ...*fakeNode) Options {
	t.Helper()
	o := Options{Title: "hm top", Interval: MinInterval, By: "amy@desk"}
	for _, n := range nodes {
		client, err := api.NewClient(api.ClientOptions{Addr: n.addr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		o.Nodes = append(o.Nodes, Node{Addr: n.addr, Client: client})
	}
	return o
}

func open(t *testing.T, o Options) *Watcher {
	t.Helper()
	w := Open(o)
	t.Cleanup(w.Close)
	return w
}

// await waits for a frame for which reached returns true.
func await(t *testing.T, w *Watcher, what string, reached func(liveview.Frame) bool) liveview.Frame {
	t.Helper()
	end := time.After(deadline)
	for {
		f := w.Frame()
		if reached(f) {
			return f
		}
		select {
		case <-w.Changed():
		case <-end:
			t.Fatalf("%s: not after %s:\n%s", what, deadline, liveview.Render(f, 120, 50, liveview.Theme{}))
		}
	}
}

func blind(f liveview.Frame) bool { _, is := f.Source.Blind(); return is }

func overviewKnown(f liveview.Frame) bool {
	return f.Status != nil && !f.Apps.At.IsZero() && !f.DEAs.At.IsZero() && len(f.Commands) > 0
}

// What a node says is in the frame: its status, the apps that drift, the DEAs in trouble, the commands, the events.
func TestWhatANodeSaysIsShown(t *testing.T) {
	n := serve(t, apitest.WithUnreadable())
	n.History.Add(journal.Event{ID: journal.ID{Position: journal.Position{Index: 30}}, At: apitest.Start, Kind: journal.DEALost, DEA: "1-dea-lost"})
	w := open(t, optionsOf(t, n))
	f := await(t, w, "the overview", func(f liveview.Frame) bool { return overviewKnown(f) && len(f.Happened) > 0 })
	if f.Source.Addr != n.addr || blind(f) || f.Now != f.Status.Basis.At.Time {
		t.Errorf("the source is %+v, the time %s of %s", f.Source, f.Now, f.Status.Basis.At)
	}
	for _, a := range f.Apps.Items {
		if a.Drift == 0 {
			t.Errorf("the overview lists %s, which does not drift", a.App)
		}
	}
	for _, d := range f.DEAs.Items {
		if d.State == "heard" {
			t.Errorf("the overview lists %s, which is in no trouble", d.DEA)
		}
	}
	if e := f.Happened[0]; !strings.Contains(e.Text, "1-dea-lost has been silent") || e.DEA != "1-dea-lost" {
		t.Errorf("the newest event is %+v", e)
	}

	// What a screen asks for is there soon.
	app := f.Apps.Items[0].App
	q := liveview.Query{Page: liveview.PageApp, ID: app}
	w.Look(q)
	f = await(t, w, "the explanation", func(f liveview.Frame) bool { return f.App.Query == q })
	if f.App.Error != "" || f.App.Value == nil || f.App.Value.App != app {
		t.Errorf("the explanation is %+v", f.App)
	}
	q = liveview.Query{Page: liveview.PageApp, ID: "no-such-app"}
	w.Look(q)
	if f = await(t, w, "the refusal", func(f liveview.Frame) bool { return f.App.Query == q }); f.App.Value != nil || f.App.Error == "" {
		t.Errorf("of an unknown app it has %+v", f.App)
	}
	q = liveview.Query{Page: liveview.PageDEAs, Order: liveview.ByTrouble}
	w.Look(q)
	f = await(t, w, "the DEAs", func(f liveview.Frame) bool { return f.DEAs.Query == q })
	if all := f.DEAs.Items; len(all) < 2 || all[0].State == "heard" || len(all) != f.DEAs.Total {
		t.Errorf("%d DEAs of %d, the first is %s", len(all), f.DEAs.Total, all[0].State)
	}
	q.Filter = "state=gone"
	w.Look(q)
	f = await(t, w, "the filtered DEAs", func(f liveview.Frame) bool { return f.DEAs.Query == q })
	for _, d := range f.DEAs.Items {
		if d.State != "gone" {
			t.Errorf("filtered by %s it lists %s, which is %s", q.Filter, d.DEA, d.State)
		}
	}
	q = liveview.Query{Page: liveview.PageDEA, ID: "1-dea-two"}
	w.Look(q)
	if f = await(t, w, "the DEA", func(f liveview.Frame) bool { return f.DEA.Query == q }); f.DEA.Value == nil {
		t.Errorf("the DEA is %+v", f.DEA)
	}
	q = liveview.Query{Page: liveview.PageDetail, ID: "dea 1-dea-lost"}
	w.Look(q)
	if f = await(t, w, "its events", func(f liveview.Frame) bool { return f.Detail.Query == q }); len(f.Detail.Items) != 1 {
		t.Errorf("its events are %+v", f.Detail)
	}
}

// A node that does not answer makes the frame say since when, and not one moment its old numbers pass for new. When it
// answers again, the frame is as before.
func TestOldNumbersAreNeverShownAsNew(t *testing.T) {
	n := serve(t, apitest.Fleet())
	w := open(t, optionsOf(t, n))
	f := await(t, w, "the status", func(f liveview.Frame) bool { return f.Status != nil })
	before := f.Source.At
	n.shut.Store(true)
	f = await(t, w, "blindness", blind)
	since, _ := f.Source.Blind()
	if f.Source.Error == "" || since.Before(before) || since.After(time.Now()) || f.Status == nil {
		t.Errorf("blind since %s (answered at %s), %+v", since, before, f.Source)
	}
	if shown := liveview.Render(f, 100, 30, liveview.Theme{}); !strings.Contains(shown, "BLIND") || !strings.Contains(shown, "gate?") {
		t.Errorf("it does not say that it is blind:\n%s", shown)
	}
	if totals := liveview.TotalsOf(f); totals.GateOpen || totals.Running != 0 {
		t.Errorf("the totals have old numbers: %+v", totals)
	}
	n.shut.Store(false)
	f = await(t, w, "sight", func(f liveview.Frame) bool { return !blind(f) })
	if f.Source.At.Before(since) {
		t.Errorf("the newest answer came at %s, before the blindness", f.Source.At)
	}
}

// Of several addresses it asks the next one when one does not answer, and prefers the node that leads.
func TestTheNextAddressIsAsked(t *testing.T) {
	leader, follower := serve(t, apitest.Fleet()), apitest.Fleet()
	follower.Follow("hm-2", "hm-1", "127.0.0.1:1")
	other := serve(t, follower)
	o := optionsOf(t, other, leader)
	o.Timeout = time.Second
	w := open(t, o)
	await(t, w, "the leader", func(f liveview.Frame) bool { return f.Status != nil && f.Status.Node == "hm-1" })
	leader.hangs.Store(true)
	f := await(t, w, "the other node", func(f liveview.Frame) bool { return f.Status.Node == "hm-2" })
	if blind(f) {
		t.Error("it is blind although a node answers")
	}
	asked, rounds := leader.asked.Load(), other.asked.Load()
	await(t, w, "five more rounds", func(liveview.Frame) bool { return other.asked.Load() >= rounds+5 })
	if n := leader.asked.Load() - asked; n > 0 {
		t.Errorf("the leader, which does not answer, was asked %d times while another node answered", n)
	}
	other.shut.Store(true)
	f = await(t, w, "blindness", blind)
	if f.Source.Addrs != 2 {
		t.Errorf("it tries %d addresses", f.Source.Addrs)
	}
	leader.hangs.Store(false)
	await(t, w, "the leader again", func(f liveview.Frame) bool { return f.Status.Node == "hm-1" && !blind(f) })
}

// An event is shown when it happens, has the status asked for at once, and is shown once.
func TestEventsAreFollowed(t *testing.T) {
	n := serve(t, apitest.Fleet())
	o := optionsOf(t, n)
	o.Interval = time.Hour
	w := open(t, o)
	await(t, w, "the status", func(f liveview.Frame) bool { return f.Status != nil })
	await(t, w, "the events so far", func(f liveview.Frame) bool { return len(f.Happened) > 0 })
	asked := n.asked.Load()
	n.CloseGate("nats-down")
	n.History.Add(journal.Event{ID: journal.ID{Position: journal.Position{Index: 39}}, At: apitest.Start, Kind: journal.GateClosed, Reason: "nats-down"})
	await(t, w, "the closed gate", func(f liveview.Frame) bool {
		return !f.Status.Gate.Open && len(f.Happened) > 0 && strings.Contains(f.Happened[0].Text, "the gate is closed: nats-down")
	})
	if n.asked.Load() == asked {
		t.Error("the status was not asked for after the event")
	}
	at := apitest.Start.Std()
	for range 3 {
		w.takeEvent(api.Event{ID: "12", At: api.Timestamp{Time: at}, Kind: "command.confirmed"})
	}
	count := 0
	for _, e := range w.Frame().Happened {
		if e.ID == "12" {
			count++
		}
	}
	if count != 1 {
		t.Errorf("an event that came three times is shown %d times", count)
	}
}

// What is kept of the events has a bound.
func TestEventsAreBounded(t *testing.T) {
	w := newWatcher(Options{Nodes: []Node{{}}})
	for i := range 10 * maxEvents {
		w.takeEvent(api.Event{ID: string(rune(i + 1000)), At: api.Timestamp{Time: time.Unix(int64(i), 0)}, Kind: "dea.lost"})
	}
	if len(w.happened) > 2*maxEvents || len(w.known) != len(w.happened) {
		t.Errorf("it keeps %d events and %d ids", len(w.happened), len(w.known))
	}
}

// A change is made in the name of who asks, and its outcome is told.
func TestChangesNameWhoMakesThem(t *testing.T) {
	n := serve(t, apitest.Fleet())
	w := open(t, optionsOf(t, n))
	await(t, w, "the status", func(f liveview.Frame) bool { return f.Status != nil })
	w.Change(liveview.Change{Pause: true, Reason: "switches"})
	f := await(t, w, "the pause", func(f liveview.Frame) bool { return f.Notice.Number == 1 })
	if !strings.Contains(f.Notice.Text, "hm is paused: paused until released, set by amy@desk: switches") || f.Notice.Failed {
		t.Errorf("told is %+v", f.Notice)
	}
	w.Change(liveview.Change{Release: "paused"})
	f = await(t, w, "the resumption", func(f liveview.Frame) bool { return f.Notice.Number == 2 })
	if f.Notice.Text != "hm is no longer paused" || f.Notice.Failed {
		t.Errorf("told is %+v", f.Notice)
	}
	w.Change(liveview.Change{Release: "paused"})
	if f = await(t, w, "the refusal", func(f liveview.Frame) bool { return f.Notice.Number == 3 }); !f.Notice.Failed {
		t.Errorf("told is %+v", f.Notice)
	}
	if w.Frame().By != "amy@desk" {
		t.Error("the frame does not say in whose name")
	}
}

// A list is asked for at most a part of the time, however short the interval is, and at once for another query.
func TestListsArePaced(t *testing.T) {
	w := newWatcher(Options{Nodes: []Node{{}}, Interval: time.Nanosecond})
	asked := 0
	slow := func() { asked++; time.Sleep(2 * time.Millisecond) }
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		w.paced("apps", liveview.Query{}, slow)
	}
	if asked > 3 { // the least interval is 90 ms
		t.Errorf("a list that takes 2 ms was asked for %d times within 100 ms", asked)
	}
	before := asked
	w.paced("apps", liveview.Query{Order: "other"}, slow)
	if asked != before+1 {
		t.Error("another query waits for its turn")
	}
}

// Close ends everything, also while a node is silent.
func TestCloseLeavesNothingBehind(t *testing.T) {
	n := serve(t, apitest.Fleet())
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	hangs := &fakeNode{addr: silent.URL}
	for name, o := range map[string]Options{"answers": optionsOf(t, n), "is silent": optionsOf(t, hangs)} {
		t.Run(name, func(t *testing.T) {
			w := Open(o)
			if name == "answers" {
				await(t, w, "the status", func(f liveview.Frame) bool { return f.Status != nil })
			}
			w.Close()
			stacks := make([]byte, 1<<20)
			if all := string(stacks[:runtime.Stack(stacks, true)]); strings.Contains(all, "watch.(*Watcher)") {
				t.Errorf("after Close a goroutine of the watcher runs:\n%s", all)
			}
		})
	}
}

// Once gives a frame or the error of the last address.
func TestOnce(t *testing.T) {
	n := serve(t, apitest.Fleet())
	f, err := Once(t.Context(), optionsOf(t, n))
	if err != nil || !overviewKnown(f) || blind(f) {
		t.Errorf("%v, %+v", err, f.Source)
	}
	n.shut.Store(true)
	if _, err := Once(t.Context(), optionsOf(t, n)); err == nil {
		t.Error("it succeeds without an answer")
	}
}
