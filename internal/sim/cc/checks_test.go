package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

// row is an app that every start is accepted for and every stop refused.
func goodRow() Row {
	return Row{GUID: app.MustGUID("app"), Version: app.MustGUID("v1"), Instances: 2, State: desired.Started, Package: desired.Staged, Droplet: true}
}

func TestDecideStart(t *testing.T) {
	good := goodRow()
	for _, tc := range []struct {
		name    string
		alter   func(*Row)
		known   bool
		version string
		index   int
		check   string
	}{
		{"nothing against it", nil, true, "v1", 1, CheckNone},
		{"unknown", nil, false, "v1", 0, CheckUnknownApp},
		{"on Diego", func(r *Row) { r.Diego = true }, true, "v1", 0, CheckDiego},
		{"Diego before version", func(r *Row) { r.Diego = true }, true, "v2", 0, CheckDiego},
		{"another version", nil, true, "v2", 0, CheckVersion},
		{"version before index", nil, true, "v2", 9, CheckVersion},
		{"index at the number of instances", nil, true, "v1", 2, CheckIndex},
		{"index before droplet", func(r *Row) { r.Droplet = false }, true, "v1", 2, CheckIndex},
		{"no droplet", func(r *Row) { r.Droplet = false; r.Package = desired.Pending }, true, "v1", 0, CheckNoDroplet},
		{"pending", func(r *Row) { r.Package = desired.Pending; r.State = desired.Stopped }, true, "v1", 0, CheckNotStaged},
		{"failed", func(r *Row) { r.Package = desired.Failed }, true, "v1", 0, CheckNotStaged},
		{"stopped", func(r *Row) { r.State = desired.Stopped }, true, "v1", 0, CheckNotStarted},
	} {
		row := good
		if tc.alter != nil {
			tc.alter(&row)
		}
		accept, check := decideStart(row, tc.known, app.MustGUID(tc.version), tc.index)
		if check != tc.check || accept != (tc.check == CheckNone) {
			t.Errorf("%s: accept %v, check %q, want %q", tc.name, accept, check, tc.check)
		}
	}
}

func TestDecideStop(t *testing.T) {
	good := goodRow()
	for _, tc := range []struct {
		name      string
		alter     func(*Row)
		known     bool
		version   string
		index     int
		duplicate bool
		check     string
	}{
		{"nothing for it", nil, true, "v1", 1, false, CheckNone},
		{"pending is no reason", func(r *Row) { r.Package = desired.Pending }, true, "v1", 1, false, CheckNone},
		{"unknown", nil, false, "v1", 0, true, CheckUnknownApp},
		{"on Diego", func(r *Row) { r.Diego = true; r.Package = desired.Failed }, true, "v1", 0, false, CheckDiego},
		{"staging failed", func(r *Row) { r.Package = desired.Failed }, true, "v1", 0, true, CheckStageFailed},
		{"duplicate", nil, true, "v1", 0, true, CheckDuplicate},
		{"duplicate before version", nil, true, "v2", 0, true, CheckDuplicate},
		{"another version", nil, true, "v2", 9, false, CheckVersion},
		{"index", func(r *Row) { r.State = desired.Stopped }, true, "v1", 2, false, CheckIndex},
		{"stopped", func(r *Row) { r.State = desired.Stopped }, true, "v1", 1, false, CheckStopped},
	} {
		row := good
		if tc.alter != nil {
			tc.alter(&row)
		}
		accept, check := decideStop(row, tc.known, app.MustGUID(tc.version), tc.index, tc.duplicate)
		if check != tc.check || accept != (tc.check != CheckNone) {
			t.Errorf("%s: accept %v, check %q, want %q", tc.name, accept, check, tc.check)
		}
	}
}

// TestTablePages: whatever rows come and go between the pages, a walk by id meets every row that was there all
// along exactly once, in ascending order, and page sizes do not matter.
func TestTablePages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := newTable()
		m := newMint(rapid.Uint64().Draw(t, "seed"), "test")
		var kept []app.GUID
		for range rapid.IntRange(0, 30).Draw(t, "rows") {
			r, err := tab.insert(Row{GUID: m.uuid()})
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, r.GUID)
		}
		size := rapid.IntRange(1, 12).Draw(t, "batch")
		seen := map[app.GUID]int{}
		last := int64(0)
		removed := map[app.GUID]bool{}
		for {
			page := tab.after(last, size, func(Row) bool { return true })
			if len(page) > size {
				t.Fatalf("a page of %d, asked for %d", len(page), size)
			}
			if len(page) == 0 {
				break
			}
			for _, r := range page {
				if r.ID <= last {
					t.Fatalf("id %d after %d", r.ID, last)
				}
				last = r.ID
				seen[r.GUID]++
			}
			if len(kept) > 0 && rapid.Bool().Draw(t, "remove") {
				gone := kept[rapid.IntRange(0, len(kept)-1).Draw(t, "which")]
				if !removed[gone] {
					if _, err := tab.remove(gone); err != nil {
						t.Fatal(err)
					}
					removed[gone] = true
				}
			}
		}
		for _, g := range kept {
			if !removed[g] && seen[g] != 1 {
				t.Fatalf("%s seen %d times", g, seen[g])
			}
		}
		if tab.len() != len(kept)-len(removed) {
			t.Fatalf("%d rows left, want %d", tab.len(), len(kept)-len(removed))
		}
	})
}

func TestTable(t *testing.T) {
	tab := newTable()
	a, err := tab.insert(Row{GUID: app.MustGUID("a")})
	if err != nil || a.ID != 1 {
		t.Fatalf("%+v %v", a, err)
	}
	if _, err := tab.insert(Row{GUID: app.MustGUID("a")}); err == nil {
		t.Error("an app was inserted twice")
	}
	if _, err := tab.remove(app.MustGUID("a")); err != nil {
		t.Error(err)
	}
	if _, err := tab.remove(app.MustGUID("a")); err == nil {
		t.Error("an app was removed twice")
	}
	if b, _ := tab.insert(Row{GUID: app.MustGUID("b")}); b.ID != 2 {
		t.Errorf("id %d was used again", b.ID)
	}
	if _, _, err := tab.update(app.MustGUID("a"), func(*Row) {}); err == nil {
		t.Error("a removed app was updated")
	}
	if _, ok := tab.get(app.MustGUID("a")); ok {
		t.Error("a removed app is there")
	}
}

// TestPoolPicksTheEmptiest holds the heap against a plain search.
func TestPoolPicksTheEmptiest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	var p pool
	seats := make([]*seat, 20)
	for i := range seats {
		seats[i] = &seat{order: i, at: -1, instances: rng.IntN(5)}
		seats[i].dea = &dea{id: string(rune('a' + i))}
		p.add(seats[i])
	}
	for range 2000 {
		s := seats[rng.IntN(len(seats))]
		switch rng.IntN(4) {
		case 0:
			p.remove(s)
		case 1:
			p.add(s)
		case 2:
			s.instances = rng.IntN(8)
			p.moved(s)
		case 3:
			s.expires = now.Add(time.Duration(rng.IntN(3)-1) * time.Second)
		}
		var want *seat
		for _, s := range seats {
			if s.at < 0 || !s.expires.IsZero() && !now.Before(s.expires) {
				continue
			}
			if want == nil || s.load() < want.load() {
				want = s
			}
		}
		got := p.pick(now)
		if want == nil {
			if got != nil {
				t.Fatalf("picked %s of none", got.id)
			}
			continue
		}
		if got != want.dea {
			t.Fatalf("picked %v, want %s", got, want.dea.id)
		}
	}
}

func TestHistory(t *testing.T) {
	h := newHistory(3)
	for i, id := range []string{"a", "b", "a", "c", "d", "b"} {
		h.record(Command{MessageID: id, Action: ActionStart, Accepted: i%2 == 0, Check: []string{CheckNone, CheckVersion}[i%2]})
	}
	var seqs []uint64
	for _, c := range h.since(0, 100) {
		seqs = append(seqs, c.Seq)
	}
	if !slices.Equal(seqs, []uint64{4, 5, 6}) {
		t.Errorf("kept %v", seqs)
	}
	if got := h.since(5, 100); len(got) != 1 || got[0].MessageID != "b" {
		t.Errorf("since 5: %+v", got)
	}
	if got := h.since(0, 1); len(got) != 1 || got[0].Seq != 4 {
		t.Errorf("the oldest: %+v", got)
	}
	if got := h.since(6, 100); len(got) != 0 {
		t.Errorf("since the newest: %+v", got)
	}
	// "a" came again while it was kept; "b" only after it had been dropped from the ring.
	n := h.total()
	if n.Repeated != 1 || n.StartsAccepted != 3 || n.StartsRefused != 3 || n.Checks["start:version-differs"] != 3 || len(n.Checks) != 1 {
		t.Errorf("counts %+v", n)
	}
}

func TestCountBuckets(t *testing.T) {
	row := goodRow()
	here, away := &dea{}, &dea{paused: true}
	in := func(version string, index uint32, state uint8, d *dea) *instance {
		return &instance{version: app.MustGUID(version), index: index, state: actual.State(state), dea: d}
	}
	for _, tc := range []struct {
		name  string
		known bool
		alter func(*Row)
		ins   []*instance
		want  tally
	}{
		{"settled", true, nil, []*instance{in("v1", 0, 2, here), in("v1", 1, 2, here)}, tally{apps: 1, wanted: 1, desired: 2, settled: 2, running: 2}},
		{"one missing, one crashed", true, nil, []*instance{in("v1", 0, 3, here), in("v1", 1, 2, here)}, tally{apps: 1, wanted: 1, desired: 2, settled: 1, missing: 1, running: 1, crashed: 1}},
		{"starting is neither", true, nil, []*instance{in("v1", 0, 1, here), in("v1", 1, 2, here)}, tally{apps: 1, wanted: 1, desired: 2, settled: 1, running: 1, starting: 1}},
		{"duplicate", true, nil, []*instance{in("v1", 0, 2, here), in("v1", 0, 1, here), in("v1", 1, 2, here)}, tally{apps: 1, wanted: 1, desired: 2, settled: 1, duplicate: 1, running: 2, starting: 1}},
		{"evacuating", true, nil, []*instance{in("v1", 0, 4, here), in("v1", 1, 2, here)}, tally{apps: 1, wanted: 1, desired: 2, settled: 1, running: 1, evacuating: 1}},
		{"out of range and old version", true, nil, []*instance{in("v1", 2, 2, here), in("v0", 0, 2, here)}, tally{apps: 1, wanted: 1, desired: 2, missing: 2, undesired: 2, running: 2}},
		{"cut off", true, nil, []*instance{in("v1", 0, 2, away), in("v1", 1, 2, here)}, tally{apps: 1, wanted: 1, desired: 2, settled: 1, missing: 1, running: 1, cutOff: 1}},
		{"stopped", true, func(r *Row) { r.State = desired.Stopped }, []*instance{in("v1", 0, 2, here)}, tally{apps: 1, undesired: 1, running: 1}},
		{"pending may run", true, func(r *Row) { r.Package = desired.Pending }, []*instance{in("v1", 0, 2, here)}, tally{apps: 1, wanted: 1, running: 1}},
		{"unknown", false, nil, []*instance{in("v1", 0, 2, here)}, tally{undesired: 1, running: 1}},
	} {
		r := row
		if tc.alter != nil {
			tc.alter(&r)
		}
		if !tc.known {
			r = Row{}
		}
		var scratch []at
		if got := count(r, tc.known, tc.ins, &scratch); got != tc.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tc.name, got, tc.want)
		}
	}
}
