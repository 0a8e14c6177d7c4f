package raftfsm

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// Apply against the model: after every entry both say the same of everything, the Result included. The frozen
// states of earlier moments still say what they said, and the hash is what is worked out anew.
func TestApplyMatchesModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, m := NewState(), newModel()
		w := &world{t: rt, s: s}
		type moment struct {
			view *State
			said string
			hash Hash
		}
		var moments []moment
		index, term := uint64(0), uint64(1)
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			index += uint64(1 + w.pick(2, "gap"))
			if w.chance(10, "election") {
				term++
			}
			e := w.entry()
			if w.chance(30, "on the wire") {
				b, err := EncodeEntry(e)
				if err != nil {
					rt.Fatalf("EncodeEntry: %v", err)
				}
				if e, err = DecodeEntry(b); err != nil {
					rt.Fatalf("DecodeEntry: %v", err)
				}
			}
			got, want := s.Apply(index, term, e), m.Apply(index, term, e)
			differ(rt, "Result", describeResult(got), describeResult(want))
			said := describe(s)
			differ(rt, "state", said, describe(m))
			differ(rt, "iterators", iterators(s.DEAs(), s.Apps(), s.DesiredApps(), s.AllCommands(), s.AllCrashes()),
				iterators(m.DEAs(), m.Apps(), m.DesiredApps(), m.AllCommands(), m.AllCrashes()))
			if h := recomputed(s); h != s.Hash() {
				rt.Fatalf("the kept hash is %s, worked out anew it is %s", s.Hash(), h)
			}
			if w.chance(30, "freeze") {
				moments = append(moments, moment{s.Freeze(), said, s.Hash()})
			}
		}
		for i, mo := range moments {
			differ(rt, "frozen state", describe(mo.view), mo.said)
			if mo.view.Hash() != mo.hash || recomputed(mo.view) != mo.hash {
				rt.Fatalf("frozen state %d has another hash than when it was frozen", i)
			}
		}
	})
}

// Some entries, a snapshot, a restore and the other entries come to what all the entries come to; so the layout,
// which a restore makes anew, shows nowhere. Snapshots of equal states are equal.
func TestRestoreAndGoOnIsTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := NewState()
		w := &world{t: rt, s: s}
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
				differ(rt, "restored state", describe(other), describe(s))
			}
			if i == n {
				break
			}
			e := w.entry()
			got := s.Apply(uint64(i+1), 1, e)
			if other != nil {
				differ(rt, "Result after a restore", describeResult(other.Apply(uint64(i+1), 1, e)), describeResult(got))
			}
		}
		differ(rt, "state in the end", describe(other), describe(s))
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
