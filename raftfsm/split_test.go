package raftfsm

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// The parts fit, and have the same effect as the whole record.
func TestSplit(t *testing.T) {
	f := newFleet(4000, 4)
	whole, inParts := NewState(), NewState()
	var removes []app.GUID
	for _, u := range f.beats[0].Upserts[:500] {
		removes = append(removes, u.GUID)
	}
	var cmds []commands.Command
	var gone []string
	for n := range 600 {
		c := start(0, f.rows[n].Key, 0)
		c.ID[2], c.ID[3] = byte(n), byte(n>>8)
		cmds = append(cmds, c)
		gone = append(gone, strings.Repeat("x", n%200+1))
	}
	gone = append(gone, f.beats[1].DEA)
	var claims []Claim
	var outcomes []Outcome
	var crashes []CrashRef
	for _, c := range cmds {
		claims = append(claims, Claim{ID: c.ID, Term: 1, Basis: Basis{Desired: 1<<64 - 1, Index: 1<<64 - 1}})
		outcomes = append(outcomes, Outcome{ID: c.ID, State: commands.Dropped, Detail: strings.Repeat("d", 100)})
		crashes = append(crashes, CrashRef{App: c.App, Index: actual.MaxIndex})
	}
	const room = 8 << 10
	for _, r := range []Record{
		DesiredChanges{Generation: 1, Upserts: f.rows}, DesiredChanges{Generation: 2, Upserts: f.rows[:10]},
		f.beats[0], f.beats[1], DEAChanges{DEA: f.beats[0].DEA, Removes: removes, Upserts: f.beats[0].Upserts[400:2000]},
		CommandsScheduled{Commands: cmds}, CommandsClaimed{Claims: claims}, CommandsResolved{Outcomes: outcomes},
		DEAsGone{DEAs: gone}, DEAsForgotten{DEAs: gone}, CrashesForgotten{Crashes: crashes}, HoldSet{Hold: Hold{Name: "h"}},
	} {
		parts := Split(r, room)
		for _, p := range parts {
			b, err := EncodeEntry(Entry{At: MaxTime, Records: []Record{p}})
			if err != nil || len(b) > room {
				t.Fatalf("%s: a part has %d bytes, %v", r.Kind(), len(b), err)
			}
		}
		if n := len(parts); (n == 1) != reflect.DeepEqual(parts[0], r) {
			t.Fatalf("%s: %d parts", r.Kind(), n)
		}
		if d, ok := r.(DesiredChanges); ok {
			whole.Apply(1, 1, Entry{At: 1, Records: []Record{r, DesiredCommit{Generation: d.Generation, Parts: 1}}})
			inParts.Apply(1, 1, Entry{At: 1, Records: append(slices.Clone(parts), DesiredCommit{Generation: d.Generation, Parts: len(parts)})})
		} else {
			whole.Apply(1, 1, Entry{At: 1, Records: []Record{r}})
			inParts.Apply(1, 1, Entry{At: 1, Records: parts})
		}
		if whole.Hash() != inParts.Hash() {
			t.Fatalf("%s: the parts have another effect", r.Kind())
		}
	}
	if one := Split(DesiredChanges{Generation: 3}, room); len(one) != 1 {
		t.Fatalf("an empty record: %d parts", len(one))
	}
	if tiny := Split(f.beats[0], 1); len(tiny) != len(f.beats[0].Upserts) {
		t.Fatalf("with no room: %d parts", len(tiny))
	}
}
