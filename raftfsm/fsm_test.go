package raftfsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

func logOf(t testing.TB, index uint64, e Entry) *raft.Log {
	t.Helper()
	b, err := EncodeEntry(e)
	if err != nil {
		t.Fatal(err)
	}
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: b}
}

func TestFSM(t *testing.T) {
	var calls []Applied
	f := NewFSM(func(a Applied) { calls = append(calls, a) })
	want := NewState()
	for i, e := range sampleEntries() {
		before := f.View()
		if f.View() != before {
			t.Fatal("View returns two copies of one state")
		}
		hash := before.Hash()
		res, ok := f.Apply(logOf(t, uint64(i+1), e)).(Result)
		mustBeEqual(t, "Result", describeResult(res), describeResult(want.Apply(uint64(i+1), 1, e)))
		if !ok || f.View() == before || f.View().Hash() != want.Hash() || before.Hash() != hash {
			t.Fatalf("entry %d: View does not return the newest state", i+1)
		}
		if a := calls[len(calls)-1]; len(calls) != i+1 || a.Index != uint64(i+1) || a.Term != 1 || a.Restored || len(a.Entry.Records) != len(e.Records) {
			t.Fatalf("onApply got %+v", a)
		}
	}

	store := raft.NewInmemSnapshotStore()
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	f.Apply(logOf(t, 1000, Entry{At: 1, Records: []Record{HoldSet{Hold: Hold{Name: "later"}}}})) // not in the snapshot
	sink, err := store.Create(raft.SnapshotVersionMax, want.Index(), 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := snap.Persist(sink); err != nil {
		t.Fatal(err)
	}
	snap.Release()
	if err := f.Restore(io.NopCloser(strings.NewReader("no snapshot"))); !errors.Is(err, ErrSnapshot) || f.View().Index() != 1000 {
		t.Fatalf("after a failed restore: %v, index %d", err, f.View().Index())
	}
	_, rc, err := store.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Restore(rc); err != nil {
		t.Fatal(err)
	}
	if a := calls[len(calls)-1]; !a.Restored || a.Index != want.Index() || f.View().Hash() != want.Hash() {
		t.Fatalf("onApply got %+v; hash %s, want %s", a, f.View().Hash(), want.Hash())
	}
}

// TestNobodyWaitsForACommit: while the first read of a large fleet is applied, which takes seconds, View gives the state
// before it.
func TestNobodyWaitsForACommit(t *testing.T) {
	f := NewFSM(nil)
	const parts, rows = 20, 2_000
	random := rand.New(rand.NewPCG(1, 2))
	for p := range parts {
		part := DesiredChanges{Generation: 1}
		for range rows {
			k := app.Key{Droplet: randomGUID(random, 'h'), Version: randomGUID(random, 'h')}
			part.Upserts = append(part.Upserts, desired.App{Key: k, Instances: 1, State: desired.Started, Package: desired.Staged})
		}
		f.Apply(logOf(t, uint64(p+1), Entry{At: 1, Records: []Record{part}}))
	}
	applied := make(chan struct{})
	commit := logOf(t, parts+1, Entry{At: 1, Records: []Record{DesiredCommit{Generation: 1, Parts: parts}}})
	go func() { f.Apply(commit); close(applied) }()
	for seen := false; !seen; runtime.Gosched() {
		select {
		case <-applied:
			t.Fatal("there was no view while the commit was applied")
		default:
			v := f.view.Load() // View itself would make one, if it came first
			seen = v != nil && v.Index() == parts
		}
	}
	<-applied
	if v := f.View(); v.Index() != parts+1 || v.Counts().Apps != parts*rows {
		t.Errorf("afterwards the view is that of entry %d, with %d apps", v.Index(), v.Counts().Apps)
	}
}

type badSink struct {
	raft.SnapshotSink
	canceled bool
}

func (*badSink) Write([]byte) (int, error) { return 0, errors.New("disk full") }
func (*badSink) ID() string                { return "bad" }
func (s *badSink) Cancel() error           { s.canceled = true; return nil }

func TestPersistCancelsASnapshotThatItCannotWrite(t *testing.T) {
	snap, err := NewFSM(nil).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sink badSink
	if err := snap.Persist(&sink); err == nil || !strings.Contains(err.Error(), "disk full") || !sink.canceled {
		t.Fatalf("%v, canceled %v", err, sink.canceled)
	}
}

func TestUndecodableEntryStopsTheNode(t *testing.T) {
	defer func() {
		if msg := fmt.Sprint(recover()); !strings.Contains(msg, "log entry 7") || !strings.Contains(msg, "newer hm") {
			t.Fatalf("panic %q", msg)
		}
	}()
	b := rawEntry(t)
	b = append(b, 0x12, 0x02, 0x08, 0x7f) // a record of kind 127
	NewFSM(nil).Apply(&raft.Log{Index: 7, Data: b})
}

// Views and snapshots are of one state each while entries are applied (run with -race).
func TestViewsWhileEntriesAreApplied(t *testing.T) {
	f := NewFSM(nil)
	fl := newFleet(400, 8)
	index := uint64(0)
	apply := func(recs ...Record) {
		index++
		f.Apply(logOf(t, index, Entry{At: fleetStart + app.Time(index), Records: recs}))
	}
	apply(DesiredChanges{Generation: 1, Upserts: fl.rows}, DesiredCommit{Generation: 1, Parts: 1})
	for _, b := range fl.beats {
		apply(b)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for last := uint64(0); ; {
				select {
				case <-done:
					return
				default:
				}
				v := f.View()
				if v.Index() < last {
					t.Errorf("a view of index %d after a view of %d", v.Index(), last)
					return
				}
				last = v.Index()
				if recomputed(v) != v.Hash() {
					t.Errorf("the view of index %d has a wrong hash", last)
					return
				}
				n := 0
				v.EachInstance(func(Handle, uint32, actual.State, app.Time) { n++ })
				if n != v.Counts().Instances {
					t.Errorf("%d instances, counted %d", n, v.Counts().Instances)
				}
				var b bytes.Buffer
				if err := v.WriteSnapshot(&b); err != nil {
					t.Error(err)
					return
				}
				if _, err := RestoreState(&b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for round := range 60 {
		b := fl.beats[round%len(fl.beats)]
		k := fl.rows[round].Key
		apply(DEAChanges{DEA: b.DEA, Upserts: []actual.Instance{b.Upserts[0]}, Removes: []app.GUID{b.Upserts[1].GUID}},
			HoldSet{Hold: Hold{Name: fmt.Sprint("h", round%5)}})
		c := crashStart(byte(round), k, 0, 1, testGUID('c', round, 'u'))
		apply(CommandsScheduled{Commands: []commands.Command{c}})
		if cmd, ok := f.View().Command(c.ID); ok && round%2 == 0 {
			apply(CommandsClaimed{Claims: []Claim{{ID: cmd.ID, Term: 1, Basis: f.View().Basis(cmd.App, cmd.Index)}}})
		} else {
			apply(CommandsResolved{Outcomes: []Outcome{{ID: c.ID, State: 6}}})
		}
		if round%10 == 9 {
			apply(DEAsGone{DEAs: []string{b.DEA}})
			apply(b)
		}
	}
	close(done)
	readers.Wait()
}
