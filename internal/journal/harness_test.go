package journal

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// testNode has a journal that can be closed and opened again on the same file.
type testNode struct {
	t    testing.TB
	opts Options
	*Journal
}

func newTestNode(t testing.TB, change func(*Options)) *testNode {
	t.Helper()
	n := &testNode{t: t, opts: Options{
		Path: filepath.Join(t.TempDir(), "journal.db"), Node: "hm-0", Entries: 1_000, linger: time.Millisecond,
		Now: func() app.Time { return 5_000 }, Logger: slog.New(slog.DiscardHandler),
	}}
	if change != nil {
		change(&n.opts)
	}
	n.open()
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func (n *testNode) open() {
	n.t.Helper()
	var err error
	if n.Journal, err = New(n.opts); err != nil {
		n.t.Fatal(err)
	}
	n.Start()
}

func (n *testNode) restart() {
	n.t.Helper()
	if err := n.Close(); err != nil {
		n.t.Fatal(err)
	}
	n.open()
}

// entry applies an entry that has these events. Entry i has the time 1000*i.
func (n *testNode) entry(index uint64, events ...Event) {
	n.Applied(applied(index, app.Time(1000*index), events...))
}

// applied is an entry that has these events. Of an event, only the fields count that a crash or a note has.
func applied(index uint64, at app.Time, events ...Event) raftfsm.Applied {
	a := raftfsm.Applied{Index: index, Term: 1, Result: raftfsm.Result{At: at}}
	for _, e := range events {
		var f raftfsm.Fact = raftfsm.CrashFact{App: e.App, Index: uint32(e.Index), Instance: e.Instance, DEA: e.DEA}
		if e.Kind != InstanceCrashed {
			note := raftfsm.Note{Event: string(e.Kind), App: e.App, DEA: e.DEA, Rule: e.Rule, Name: e.Name, By: e.By, Detail: e.Detail}
			for _, c := range e.Counts {
				note.Counts = append(note.Counts, raftfsm.NoteCount{Name: c.Name, N: c.N})
			}
			f = raftfsm.NoteFact{Note: note}
		}
		a.Result.Facts = append(a.Result.Facts, f)
	}
	return a
}

// await waits until the events up to an index are stored.
func (n *testNode) await(index uint64) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.AwaitStored(ctx, index); err != nil {
		n.t.Fatal(err)
	}
}

// until waits for a condition.
func (n *testNode) until(what string, is func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("waited a minute for: %s; stats %+v", what, n.Stats())
		}
	}
}

func (n *testNode) events(q Query) []Event {
	n.t.Helper()
	events, _, err := n.Events(context.Background(), q)
	if err != nil {
		n.t.Fatal(err)
	}
	return events
}

// ids gives the ids of the selected events.
func (n *testNode) ids(q Query) (ids []string) {
	n.t.Helper()
	for _, e := range n.events(q) {
		ids = append(ids, e.ID.String())
	}
	return ids
}

func crash(app_ int) Event {
	return Event{
		Kind: InstanceCrashed, App: testKey(app_), Index: app_ % 7, Instance: testGUID(app_ + 1), DEA: fmt.Sprint("dea-", app_%10),
	}
}

func testGUID(n int) app.GUID { return app.MustGUID(fmt.Sprintf("00000000-0000-4000-8000-%012x", n)) }

func testKey(n int) app.Key {
	return app.Key{Droplet: testGUID(1_000_000 + n), Version: testGUID(2_000_000 + n)}
}
