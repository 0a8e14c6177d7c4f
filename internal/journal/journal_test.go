package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"hm/internal/app"
)

// TestEventsComeBackAsTheyWereAdded: in the order of the log, with a node's own events behind the cluster's event before
// them, and the same after a restart.
func TestEventsComeBackAsTheyWereAdded(t *testing.T) {
	n := newTestNode(t, nil)
	hold := Event{
		Kind: HoldSet, Index: -1, Name: "paused", By: "ada", Detail: "a reason with ünicode",
		Counts: []Count{{"apps", 3}, {"instances", -1}},
	}
	n.entry(3, crash(1), hold)
	n.AddOwn(Event{Kind: LinkLost, Index: -1, Reason: "nats-down"})
	n.entry(9, Event{Kind: LeaderChanged, App: testKey(1), Rule: "R05", Name: "hm-1"})
	n.AddOwn(Event{Kind: LinkBack, Index: -1, DelayMS: 12, At: 4_000})
	n.await(9)
	want := []string{"3.0", "3.1", "3.1~1~hm-0", "9.0", "9.0~2~hm-0"}
	n.until("five events", func() bool { return len(n.events(Query{})) == 5 })
	before := n.events(Query{})
	if got := n.ids(Query{}); !slices.Equal(got, want) {
		t.Fatalf("the events are %v, want %v", got, want)
	}
	hold.ID, hold.At = ID{Position: Position{3, 1}}, 3_000
	if !reflect.DeepEqual(before[1], hold) {
		t.Errorf("the hold came back as %+v, want %+v", before[1], hold)
	}
	if before[2].At != 5_000 || before[4].At != 4_000 {
		t.Errorf("the own events have the times %d and %d", before[2].At, before[4].At)
	}
	n.restart()
	n.AddOwn(Event{Kind: GateOpen, Index: -1})
	n.until("the own event after the restart", func() bool { return len(n.events(Query{})) == 6 })
	after := n.events(Query{})
	if !reflect.DeepEqual(after[:5], before) || after[5].ID.String() != "9.0~3~hm-0" {
		t.Errorf("after the restart the events are\n%+v, before it\n%+v", after, before)
	}
}

// TestReplayedEntriesAreStoredOnce: after a restart the log applies entries again.
func TestReplayedEntriesAreStoredOnce(t *testing.T) {
	n := newTestNode(t, nil)
	for i := range uint64(20) {
		n.entry(i+1, crash(int(i)))
	}
	n.await(20)
	before := n.events(Query{})
	n.restart()
	for i := range uint64(25) {
		n.entry(i+1, crash(int(i)))
	}
	n.await(25)
	after := n.events(Query{})
	if len(after) != 25 || !reflect.DeepEqual(after[:20], before) || n.Stats().Entries != 25 || n.Stats().Gaps != 0 {
		t.Errorf("%d events are stored after the replay, want 25; stats %+v", len(after), n.Stats())
	}
}

// TestQueriesSelect: each filter by itself and together, forwards and backwards.
func TestQueriesSelect(t *testing.T) {
	n := newTestNode(t, nil)
	var all []Event
	kinds := []Kind{InstanceCrashed, CommandSent, CommandExpired, DEALost, HoldSet, LeaderChanged}
	for i := range 300 {
		e := crash(i % 13)
		if e.Kind = kinds[i/3%len(kinds)]; e.Kind != InstanceCrashed {
			e.Index, e.Instance = -1, app.GUID{}
		}
		n.entry(uint64(1+i/3*2), e) // only the first of an index is taken in
		if i%3 == 0 {
			e.ID, e.At = ID{Position: Position{uint64(1 + i/3*2), 0}}, app.Time(1000*(1+i/3*2))
			all = append(all, e)
		}
	}
	n.await(199)
	for name, q := range map[string]Query{
		"all": {}, "app": {App: testKey(3).Droplet}, "no such app": {App: testGUID(5)}, "DEA": {DEA: "dea-1"}, "part of a DEA's id": {DEA: "dea-"},
		"a kind": {Kinds: []string{"command.sent"}}, "a subject": {Kinds: []string{"command"}}, "two": {Kinds: []string{"hold", "instance.crashed"}},
		"part of a subject": {Kinds: []string{"comm"}}, "since": {Since: 100_000}, "after": {After: ID{Position: Position{101, 0}}},
		"after one that is not there": {After: ID{Position: Position{100, 7}}}, "the end": {After: ID{Position: Position{500, 0}}},
		"all of them": {App: testKey(3).Droplet, DEA: "dea-3", Kinds: []string{"command", "dea"}, Since: 20_000, After: ID{Position: Position{60, 0}}},
	} {
		for _, limit := range []int{0, 1, 7, 1000} {
			for _, newest := range []bool{false, true} {
				q.Limit, q.Newest = limit, newest
				want, wantMore := selected(all, q)
				got, more, err := n.Events(context.Background(), q)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 || wantMore && !more {
					t.Errorf("%s, limit %d, newest %v: %d events and more %v, want %d and %v", name, limit, newest, len(got), more, len(want), wantMore)
				}
			}
		}
	}
}

// selected is a plain model of a query.
func selected(all []Event, q Query) (out []Event, more bool) {
	for _, e := range all {
		is := len(q.Kinds) == 0
		for _, k := range q.Kinds {
			is = is || string(e.Kind) == k || subject(string(e.Kind)) == k
		}
		if is && e.At >= q.Since && e.ID.Position.compare(q.After.Position) > 0 &&
			(q.App.IsZero() || e.App.Droplet == q.App) && (q.DEA == "" || e.DEA == q.DEA) {
			out = append(out, e)
		}
	}
	if q.Limit > 0 && len(out) > q.Limit {
		if q.Newest {
			return out[len(out)-q.Limit:], true
		}
		return out[:q.Limit], true
	}
	return out, false
}

// TestReaderThatPagesMissesNothing: pages of any size, and a reader that waits for changes, see each event once.
func TestReaderThatPagesMissesNothing(t *testing.T) {
	n := newTestNode(t, nil)
	const total = 500
	go func() {
		for i := range uint64(total) {
			n.entry(i+1, crash(int(i)), Event{Kind: HoldSet, Index: -1, Name: "h"})
			if i%50 == 0 {
				time.Sleep(2 * time.Millisecond)
			}
		}
	}()
	var got []string
	var after ID
	for len(got) < 2*total {
		changed := n.Changed()
		events, more, err := n.Events(context.Background(), Query{After: after, Limit: 37})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			got = append(got, e.ID.String())
			after = e.ID
		}
		if !more && len(got) < 2*total {
			select {
			case <-changed:
			case <-time.After(20 * time.Second):
				t.Fatalf("only %d events came", len(got))
			}
		}
	}
	for i, id := range got {
		if want := fmt.Sprintf("%d.%d", i/2+1, i%2); id != want {
			t.Fatalf("event %d is %s, want %s", i, id, want)
		}
	}
}

// TestAStormPushesOutNoOtherClass: the journal is bounded by entries in each class, and its file by that.
func TestAStormPushesOutNoOtherClass(t *testing.T) {
	n := newTestNode(t, func(o *Options) { o.Entries = 500 })
	n.entry(1, Event{Kind: HoldSet, Index: -1, Name: "paused", By: "ada"}, Event{Kind: CommandSent, Command: "c"}, Event{Kind: DEALost, DEA: "d"})
	var size int64
	for i := range uint64(40) {
		events := make([]Event, 500)
		for k := range events {
			events[k] = crash(k)
		}
		n.entry(2+i, events...)
		n.await(2 + i)
		if i == 10 {
			size = fileSize(t, n.opts.Path)
		}
	}
	n.until("the storm is pruned", func() bool { return len(n.events(Query{Kinds: []string{"instance"}})) == 500 })
	if got := n.ids(Query{Kinds: []string{"hold", "command", "dea"}}); !slices.Equal(got, []string{"1.0", "1.1", "1.2"}) {
		t.Errorf("after the storm the other events are %v", got)
	}
	if end := fileSize(t, n.opts.Path); end > 2*size {
		t.Errorf("the file grew from %d to %d bytes", size, end)
	}
}

// TestSizeIsBounded: the bound on bytes holds with few large events, too.
func TestSizeIsBounded(t *testing.T) {
	n := newTestNode(t, func(o *Options) { o.MaxBytes = 100 << 10 })
	for i := range uint64(300) {
		n.entry(i+1, Event{Kind: HoldSet, Index: -1, Detail: string(make([]byte, 2000))})
	}
	n.await(300)
	n.until("the size is within its bound", func() bool { return n.Stats().Bytes <= 100<<10/8 })
	if ids := n.ids(Query{Newest: true, Limit: 1}); !slices.Equal(ids, []string{"300.0"}) {
		t.Errorf("the newest event is %v", ids)
	}
}

// TestALowerBoundIsReachedInSteps: a restart with a smaller journal.
func TestALowerBoundIsReachedInSteps(t *testing.T) {
	n := newTestNode(t, func(o *Options) { o.Entries = 6_000 })
	for i := range uint64(6) {
		n.entry(i+1, slices.Repeat([]Event{crash(1)}, 1_000)...)
	}
	n.await(6)
	n.opts.Entries = 10
	n.restart()
	n.until("ten events are left", func() bool { return n.Stats().Entries == 10 })
}

// TestADamagedFileIsSetAside: whatever the file has, the journal begins a new one, keeps the damaged one, and says from
// where to where events are missing.
func TestADamagedFileIsSetAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"not a bolt file": func([]byte) []byte { return []byte("hello, this is not a journal") },
		"zeros":           func(b []byte) []byte { return make([]byte, len(b)) },
		"cut short":       func(b []byte) []byte { return b[:8192] },
		"both meta pages": func(b []byte) []byte { b[20], b[4096+20] = 1, 1; return b },
		"every second page": func(b []byte) []byte {
			for at := 8192; at+8192 < len(b); at += 8192 {
				clear(b[at : at+4096])
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t, nil)
			for i := range uint64(50) {
				n.entry(i+1, slices.Repeat([]Event{crash(1)}, 50)...)
			}
			n.await(50)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(n.opts.Path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(n.opts.Path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			n.open()
			n.entry(51, crash(2))
			n.until("the new event", func() bool {
				events, _, err := n.Events(context.Background(), Query{After: ID{Position: Position{Index: 50, Ordinal: 99}}})
				return err == nil && len(events) == 1
			})
			if _, err := os.Stat(n.opts.Path + ".damaged"); err != nil {
				t.Errorf("the damaged file is not kept: %v", err)
			}
		})
	}
}

// TestAFlippedBitCostsOnlyHistory: wherever it is, the journal works after it.
func TestAFlippedBitCostsOnlyHistory(t *testing.T) {
	n := newTestNode(t, nil)
	for i := range uint64(50) {
		n.entry(i+1, slices.Repeat([]Event{crash(1)}, 20)...)
	}
	n.await(50)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(n.opts.Path)
	if err != nil {
		t.Fatal(err)
	}
	replaced := uint64(0)
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 0))
		b := slices.Clone(whole)
		at := r.IntN(60)*4096 + r.IntN(64) // the structure is in the first bytes of a page
		b[at] ^= 1 << r.IntN(8)
		if err := os.WriteFile(n.opts.Path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		n.open()
		n.entry(51, crash(2))
		n.until("the new event", func() bool {
			events, _, err := n.Events(context.Background(), Query{Newest: true, Limit: 1})
			return err == nil && len(events) == 1 && events[0].ID.Index == 51
		})
		replaced += n.Stats().Replaced
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if replaced == 0 || replaced == 40 {
		t.Errorf("%d of 40 files were set aside: some bits are not used, and some are", replaced)
	}
}

// TestAnotherLogBeginsAnotherFile: the file of a cluster that was made anew.
func TestAnotherLogBeginsAnotherFile(t *testing.T) {
	n := newTestNode(t, nil)
	n.entry(100, crash(1))
	n.await(100)
	n.restart()
	n.Applied(applied(5, 900_000, crash(2)))
	n.until("only the new log's event", func() bool {
		events, _, err := n.Events(context.Background(), Query{})
		return err == nil && len(events) == 1 && events[0].ID.String() == "5.0"
	})
}

// TestADiskThatFailsCostsOnlyHistory: adding never blocks or fails; what does not fit into memory is lost and counted,
// and the journal goes on when the disk works.
func TestADiskThatFailsCostsOnlyHistory(t *testing.T) {
	dir := t.TempDir() + "/missing"
	n := newTestNode(t, func(o *Options) { o.Path = dir + "/journal.db" })
	n.until("the failure is known", func() bool { return n.Stats().Err != nil })
	if _, _, err := n.Events(context.Background(), Query{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("reading fails with %v", err)
	}
	if err := n.AwaitStored(context.Background(), 1); !errors.Is(err, ErrUnavailable) {
		t.Errorf("waiting fails with %v", err)
	}
	for i := range uint64(100) {
		n.entry(i+1, slices.Repeat([]Event{crash(1)}, 1_000)...)
	}
	if lost := n.Stats().Lost; lost != 100_000-maxWaiting/1_000*1_000 {
		t.Errorf("%d events are lost", lost)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n.until("what waited is stored", func() bool { return n.Stats().Err == nil && n.Stats().Entries > 0 && n.Stats().Gaps == 1 })
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
