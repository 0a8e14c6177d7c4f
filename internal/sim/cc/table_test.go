package cc

import (
	"testing"

	"pgregory.net/rapid"

	"hm/internal/app"
	"hm/internal/sim/wire"
)

// TestTablePages: even if rows are removed between the pages, a walk by id meets every row that stays exactly once, in
// ascending order, with any page size.
func TestTablePages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := newTable()
		ids := wire.NewIDGenerator(rapid.Uint64().Draw(t, "seed"), "test")
		var kept []app.GUID
		for range rapid.IntRange(0, 30).Draw(t, "rows") {
			r, err := tab.insert(Row{GUID: ids.UUID()})
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
		t.Error("a removed app was found")
	}
}
