package raftfsm

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hm/desired"
)

// After every entry State and model have the same Result and the same content. Frozen copies never change, and the hash
// is equal to a recomputed one.
func TestApplyMatchesModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, m := NewState(), newModel()
		w := &entryGenerator{t: rt, s: s}
		type frozen struct {
			view *State
			text string
			hash Hash
		}
		var copies []frozen
		index, term := uint64(0), uint64(1)
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			index += uint64(1 + w.pick(2, "gap"))
			if w.chance(10, "election") {
				term++
			}
			e := w.entry()
			if w.chance(30, "encode") {
				b, err := EncodeEntry(e)
				if err != nil {
					rt.Fatalf("EncodeEntry: %v", err)
				}
				if e, err = DecodeEntry(b); err != nil {
					rt.Fatalf("DecodeEntry: %v", err)
				}
			}
			generation, rows := s.DesiredMeta().Generation, sortedRows(s)
			got, want := s.Apply(index, term, e), m.Apply(index, term, e)
			mustBeEqual(rt, "Result", describeResult(got), describeResult(want))
			if s.DesiredMeta().Generation == generation {
				mustBeEqual(rt, "desired rows of the same generation", fmt.Sprint(sortedRows(s)), fmt.Sprint(rows))
			}
			text := describe(s)
			mustBeEqual(rt, "state", text, describe(m))
			mustBeEqual(rt, "iterators", iterators(s.DEAs(), s.Apps(), s.DesiredApps(), s.AllCommands(), s.AllCrashes()),
				iterators(m.DEAs(), m.Apps(), m.DesiredApps(), m.AllCommands(), m.AllCrashes()))
			if h := recomputed(s); h != s.Hash() {
				rt.Fatalf("the hash is %s, recomputed it is %s", s.Hash(), h)
			}
			if w.chance(30, "freeze") {
				copies = append(copies, frozen{s.Freeze(), text, s.Hash()})
			}
		}
		for i, c := range copies {
			mustBeEqual(rt, "frozen state", describe(c.view), c.text)
			if c.view.Hash() != c.hash || recomputed(c.view) != c.hash {
				rt.Fatalf("the hash of frozen state %d has changed", i)
			}
		}
	})
}

func sortedRows(s *State) []desired.App {
	return slices.SortedFunc(s.DesiredApps(), func(a, b desired.App) int { return a.Key.Compare(b.Key) })
}

// A restore in the middle of the entries changes nothing in the result, so the layout in memory does not matter.
// Snapshots of equal states are equal.
func TestRestoreChangesNoLaterResult(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := NewState()
		w := &entryGenerator{t: rt, s: s}
		n := rapid.IntRange(0, 30).Draw(rt, "entries")
		cut := rapid.IntRange(0, n).Draw(rt, "cut")
		var other *State
		for i := range n + 1 {
			if i == cut {
				var b bytes.Buffer
				if err := s.WriteSnapshot(&b); err != nil {
					rt.Fatalf("WriteSnapshot: %v", err)
				}
				var err error
				if other, err = RestoreState(bytes.NewReader(b.Bytes())); err != nil {
					rt.Fatalf("RestoreState: %v", err)
				}
				mustBeEqual(rt, "restored state", describe(other), describe(s))
			}
			if i == n {
				break
			}
			e := w.entry()
			got := s.Apply(uint64(i+1), 1, e)
			if other != nil {
				again := other.Apply(uint64(i+1), 1, e)
				mustBeEqual(rt, "Result after a restore", describeResult(again), describeResult(got))
				mustBeEqual(rt, "facts after a restore", describeFacts(again), describeFacts(got))
			}
		}
		mustBeEqual(rt, "last state", describe(other), describe(s))
		if other.Hash() != s.Hash() {
			rt.Fatalf("hashes differ: %s and %s", other.Hash(), s.Hash())
		}
		var a, b bytes.Buffer
		if err := s.WriteSnapshot(&a); err != nil {
			rt.Fatal(err)
		}
		if err := other.Freeze().WriteSnapshot(&b); err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			rt.Fatal("snapshots of equal states differ")
		}
	})
}
