package reconcile

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"hm/actual"
	"hm/internal/app"
)

// TestListChangesTurnOneListIntoTheOther applies what listChanges gives for two lists with much in
// common.
func TestListChangesTurnOneListIntoTheOther(t *testing.T) {
	guids := make([]app.GUID, 12)
	for i := range guids {
		guids[i] = app.MustGUID(string(rune('a' + i)))
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) (list []actual.Instance) {
			for _, g := range rapid.SliceOfDistinct(rapid.SampledFrom(guids), func(g app.GUID) app.GUID { return g }).Draw(t, label) {
				list = append(list, actual.Instance{GUID: g, State: actual.State(rapid.IntRange(1, 2).Draw(t, "state"))})
			}
			return list
		}
		old := draw("old")
		now := slices.Clone(old)
		if rapid.Bool().Draw(t, "like old") {
			for range rapid.IntRange(0, 3).Draw(t, "edits") {
				at := rapid.IntRange(0, len(now)).Draw(t, "at")
				if extra := draw("extra"); len(extra) > 0 && !slices.ContainsFunc(now, func(i actual.Instance) bool { return i.GUID == extra[0].GUID }) {
					now = slices.Insert(now, at, extra[0])
				} else if at < len(now) {
					now = slices.Delete(now, at, at+1)
				}
			}
		} else {
			now = draw("now")
		}
		changes := listChanges("dea", old, now)
		got := map[app.GUID]actual.Instance{}
		for _, i := range old {
			got[i.GUID] = i
		}
		for _, g := range changes.Removes {
			if _, ok := got[g]; !ok {
				t.Fatalf("%v is removed and was not there", g)
			}
			delete(got, g)
		}
		for _, u := range changes.Upserts {
			if got[u.GUID] == u {
				t.Fatalf("%v is recorded without a change", u)
			}
			got[u.GUID] = u
		}
		want := map[app.GUID]actual.Instance{}
		for _, i := range now {
			want[i.GUID] = i
		}
		if len(got) != len(want) {
			t.Fatalf("%d instances, want %d", len(got), len(want))
		}
		for g, i := range want {
			if got[g] != i {
				t.Fatalf("%v is %v, want %v", g, got[g], i)
			}
		}
	})
}
