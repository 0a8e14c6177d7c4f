package desired

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hm/internal/app"
)

func row(droplet, version string, instances uint32) App {
	return App{Key: app.Key{Droplet: app.MustGUID(droplet), Version: app.MustGUID(version)}, Instances: instances, State: Started, Package: Staged}
}

func guids(texts ...string) []app.GUID {
	list := make([]app.GUID, len(texts))
	for i, t := range texts {
		list[i] = app.MustGUID(t)
	}
	return list
}

func TestNewRead(t *testing.T) {
	a, b := row("a", "1", 1), row("b", "1", 1)
	pending := a
	pending.Package = Pending
	for _, c := range []struct {
		name string
		in   []App
		want []App // nil: refused
	}{
		{"nothing", nil, []App{}},
		{"sorted", []App{b, a}, []App{a, b}},
		{"repeated unchanged", []App{b, a, b}, []App{a, b}},
		{"another count", []App{a, b, row("a", "1", 2)}, nil},
		{"another version", []App{a, row("a", "2", 1)}, nil},
		{"another version far away", []App{row("a", "9", 1), b, a}, nil},
		{"another package state", []App{a, pending}, nil},
	} {
		read, err := NewRead("test", slices.Clone(c.in))
		if c.want == nil {
			if err == nil || !strings.Contains(err.Error(), "app a was returned twice") || read.Apps != nil || read.Source != "" {
				t.Errorf("%s: %+v, %v; want it refused", c.name, read, err)
			}
			continue
		}
		if err != nil || !slices.Equal(read.Apps, c.want) || read.Source != "test" {
			t.Errorf("%s: %+v, %v; want %v", c.name, read, err, c.want)
		}
	}
}

// A database that tells capitals from small letters may have two rows that are one app to hm. Nothing is read of them,
// and the rest of the read counts.
func TestRowsThatDifferInCaseOnly(t *testing.T) {
	const small, other = "6f1c2d3e-0a1b-4c5d-8e9f-00112233aabb", "7f1c2d3e-0a1b-4c5d-8e9f-00112233aabb"
	spelled := func(droplet string, instances uint32) App {
		a := row(droplet, "1", instances)
		a.LetterCase.Droplet = app.LetterCaseOf(a.Key.Droplet, droplet)
		return a
	}
	a, b, c := spelled(small, 1), spelled(strings.ToUpper(small), 1), spelled(strings.ToUpper(other), 2)
	read, err := NewRead("test", []App{b, c, a, b, c})
	if err != nil || !slices.Equal(read.Apps, []App{c}) || !slices.Equal(read.Unreadable, guids(small)) {
		t.Fatalf("%+v, %v", read, err)
	}
	if read, err = read.WithUnreadable(guids("z")); err != nil || !slices.Equal(read.Unreadable, guids(small, "z")) {
		t.Errorf("%+v, %v", read, err)
	}
	recorded := []App{spelled(small, 3), spelled(other, 2)}
	changes := read.Changes(finder(recorded), slices.All(recorded))
	if len(changes.Removes) != 0 || !slices.Equal(changes.Upserts, []App{c}) {
		t.Errorf("changes %+v; want only how %s is spelled", changes, other)
	}
	if _, err := NewRead("test", []App{a, b, spelled(strings.ToUpper(small), 9)}); err == nil || !strings.Contains(err.Error(), "returned twice") {
		t.Errorf("rows of one spelling that disagree: %v", err)
	}
}

func TestWithUnreadable(t *testing.T) {
	read, err := NewRead("test", []App{row("a", "1", 1), row("c", "1", 1)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := read.WithUnreadable(guids("d", "b", "d"))
	if err != nil || !slices.Equal(got.Unreadable, guids("b", "d")) || len(got.Apps) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := read.WithUnreadable(guids("b", "c")); err == nil || !strings.Contains(err.Error(), "app c was returned twice") || got.Apps != nil {
		t.Errorf("%+v, %v; want it refused", got, err)
	}
}

// finder finds a recorded row, and its place in the list.
func finder(recorded []App) func(app.Key) (int, App, bool) {
	return func(k app.Key) (int, App, bool) {
		i := slices.IndexFunc(recorded, func(r App) bool { return r.Key == k })
		if i < 0 {
			return 0, App{}, false
		}
		return i, recorded[i], true
	}
}

func TestChanges(t *testing.T) {
	recorded := []App{row("a", "1", 1), row("b", "1", 1), row("c", "1", 1), row("d", "1", 1), row("d", "0", 1)}
	stopped := row("a", "1", 1)
	stopped.State = Stopped
	for _, c := range []struct {
		name       string
		apps       []App
		unreadable []app.GUID
		upserts    []App
		removes    string
	}{
		{"the same", recorded[:4], nil, nil, "d,0"},
		{"nothing left", nil, nil, nil, "a,1 b,1 c,1 d,0 d,1"},
		{"nothing left that can be read", nil, guids("b", "d"), nil, "a,1 c,1"},
		{"one field differs", append([]App{stopped}, recorded[1:4]...), nil, []App{stopped}, "d,0"},
		{"a new version", append([]App{row("a", "2", 1)}, recorded[1:4]...), nil, []App{row("a", "2", 1)}, "a,1 d,0"},
		{"a new app", append(slices.Clone(recorded[:4]), row("e", "1", 0)), nil, []App{row("e", "1", 0)}, "d,0"},
		{"an unreadable app that is not recorded", recorded[:4], guids("x"), nil, "d,0"},
	} {
		read, err := NewRead("test", slices.Clone(c.apps))
		if err == nil {
			read, err = read.WithUnreadable(c.unreadable)
		}
		if err != nil {
			t.Fatal(err)
		}
		got := read.Changes(finder(recorded), slices.All(recorded))
		removes := strings.Trim(fmt.Sprint(got.Removes), "[]")
		if !slices.Equal(got.Upserts, c.upserts) || removes != c.removes {
			t.Errorf("%s: upserts %v removes %s, want %v and %s", c.name, got.Upserts, removes, c.upserts, c.removes)
		}
		if got.Empty() != (len(c.upserts) == 0 && c.removes == "") {
			t.Errorf("%s: Empty is %v", c.name, got.Empty())
		}
	}
}

// TestChangesOfAFirstRead: the changes of a read of which all is new are its own rows. A copy of a large read would be what
// a node needs most memory for.
func TestChangesOfAFirstRead(t *testing.T) {
	read, err := NewRead("test", []App{row("a", "1", 1), row("b", "1", 1), row("c", "1", 1)})
	if err != nil {
		t.Fatal(err)
	}
	recorded := []App{row("d", "1", 1)}
	changes := read.Changes(finder(recorded), slices.All(recorded))
	if len(changes.Upserts) != 3 || &changes.Upserts[0] != &read.Apps[0] || cap(changes.Upserts) != 3 {
		t.Errorf("the changes %v are not the rows of the read", changes.Upserts)
	}
	recorded = []App{row("b", "1", 1)}
	changes = read.Changes(finder(recorded), slices.All(recorded))
	if !slices.Equal(changes.Upserts, []App{row("a", "1", 1), row("c", "1", 1)}) || read.Apps[1] != recorded[0] {
		t.Errorf("the changes are %v, and the read has become %v", changes.Upserts, read.Apps)
	}
}

// Applied to what is recorded, the changes of a read give the read's rows, and leave the unreadable ones as they
// were; a second read of the same changes nothing. The order of rows and of the record does not matter.
func TestChangesLeadToTheRead(t *testing.T) {
	anyApp := rapid.Custom(func(t *rapid.T) App {
		return App{
			Key:       app.Key{Droplet: app.MustGUID(rapid.StringMatching(`d[0-9]`).Draw(t, "droplet")), Version: app.MustGUID(rapid.StringMatching(`v[0-2]`).Draw(t, "version"))},
			Instances: rapid.Uint32Range(0, 2).Draw(t, "instances"),
			State:     rapid.SampledFrom([]RunState{Stopped, Started}).Draw(t, "state"),
			Package:   rapid.SampledFrom([]PackageState{Pending, Staged, Failed}).Draw(t, "package"),
		}
	})
	droplet := func(a App) app.GUID { return a.Key.Droplet }
	rapid.Check(t, func(t *rapid.T) {
		record := map[app.Key]App{}
		for _, a := range rapid.SliceOf(anyApp).Draw(t, "recorded") {
			record[a.Key] = a
		}
		apps := rapid.SliceOfDistinct(anyApp, droplet).Draw(t, "apps")
		var unreadable []app.GUID
		for _, g := range guids("d0", "d1", "d2", "d3") {
			if !slices.ContainsFunc(apps, func(a App) bool { return a.Key.Droplet == g }) && rapid.Bool().Draw(t, "unreadable") {
				unreadable = append(unreadable, g)
			}
		}
		read, err := NewRead("test", rapid.Permutation(apps).Draw(t, "order"))
		if err == nil {
			read, err = read.WithUnreadable(rapid.Permutation(unreadable).Draw(t, "order of the unreadable"))
		}
		if err != nil {
			t.Fatal(err)
		}
		want := map[app.Key]App{}
		for k, a := range record {
			if slices.Contains(unreadable, k.Droplet) {
				want[k] = a
			}
		}
		for _, a := range apps {
			want[a.Key] = a
		}
		rows := slices.Collect(maps.Values(record)) // in any order
		changes := read.Changes(finder(rows), slices.All(rows))
		if !slices.IsSortedFunc(changes.Upserts, func(a, b App) int { return a.Key.Compare(b.Key) }) || !slices.IsSortedFunc(changes.Removes, app.Key.Compare) {
			t.Fatalf("changes are not sorted: %v", changes)
		}
		for _, a := range changes.Upserts {
			record[a.Key] = a
		}
		for _, k := range changes.Removes {
			if _, ok := record[k]; !ok {
				t.Fatalf("removes %s, which is not recorded", k)
			}
			delete(record, k)
		}
		if !maps.Equal(record, want) {
			t.Fatalf("leads to %v, want %v", record, want)
		}
		rows = slices.Collect(maps.Values(record))
		if again := read.Changes(finder(rows), slices.All(rows)); !again.Empty() {
			t.Fatalf("the same read changes again: %v", again)
		}
	})
}

func TestWanted(t *testing.T) {
	var apps []App
	for i, c := range []struct {
		state             RunState
		pkg               PackageState
		wanted, startable bool
	}{
		{Started, Staged, true, true},
		{Started, Pending, true, false},
		{Started, Failed, false, false},
		{Stopped, Staged, false, false},
		{Stopped, Pending, false, false},
		{Stopped, Failed, false, false},
	} {
		a := row(fmt.Sprint(i), "1", 3)
		a.State, a.Package = c.state, c.pkg
		if a.Wanted() != c.wanted || a.Startable() != c.startable {
			t.Errorf("%s %s: wanted %v startable %v", c.state, c.pkg, a.Wanted(), a.Startable())
		}
		apps = append(apps, a)
	}
	if n, instances := (Read{Apps: apps}).Wanted(); n != 2 || instances != 6 {
		t.Errorf("%d apps with %d instances are wanted, want 2 with 6", n, instances)
	}
}

func TestWordsAreReadBack(t *testing.T) {
	for _, s := range []RunState{Stopped, Started} {
		if got, err := ParseRunState(s.String()); got != s || err != nil {
			t.Errorf("%s is read as %s, %v", s, got, err)
		}
	}
	for _, s := range []PackageState{Pending, Staged, Failed} {
		if got, err := ParsePackageState([]byte(s.String())); got != s || err != nil {
			t.Errorf("%s is read as %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "started", "STARTED ", "UNKNOWN(3)", strings.Repeat("x", 1000)} {
		_, err := ParseRunState(s)
		_, err2 := ParsePackageState(s)
		if err == nil || err2 == nil || len(err.Error()) > 200 {
			t.Errorf("%.20q: %v, %v", s, err, err2)
		}
	}
	if RunState(9).String() != "UNKNOWN(9)" {
		t.Error(RunState(9).String())
	}
}

// TestAReadThatIsChangedHasNoDigest: the digest is that of the rows as they were read.
func TestAReadThatIsChangedHasNoDigest(t *testing.T) {
	droplets := []app.GUID{app.MustGUID("b"), app.MustGUID("c")}
	read := Read{Apps: []App{{Key: app.Key{Droplet: app.MustGUID("a"), Version: app.MustGUID("v")}}}, Digest: [16]byte{1}}
	if got := read.Keeping(nil); got.Digest != read.Digest {
		t.Errorf("the digest %x is lost, and nothing has changed", read.Digest)
	}
	if got := read.Keeping(droplets); got.Digest != [16]byte{} {
		t.Errorf("with kept droplets the digest is %x", got.Digest)
	}
	if got, err := read.WithUnreadable(droplets); err != nil || got.Digest != [16]byte{} {
		t.Errorf("with unreadable droplets the digest is %x, error %v", got.Digest, err)
	}
}
