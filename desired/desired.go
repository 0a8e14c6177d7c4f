// Package desired is the model of what should run: the Cloud Controller's apps, a complete read of them, and the
// changes from what is recorded to a read. It is pure; desired/bulk and desired/sqldb read.
package desired

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"hm/internal/app"
)

// MaxInstances is the largest App.Instances. A row that asks for more is treated as an error of the Cloud Controller.
const MaxInstances = 1 << 16

// RunState is an app's wanted state as the Cloud Controller writes it.
type RunState uint8

// The run states. Their numbers are recorded and never change.
const (
	Stopped RunState = 1
	Started RunState = 2
)

// PackageState is how far staging got.
type PackageState uint8

// The package states. Their numbers are recorded and never change.
const (
	Pending PackageState = 1
	Staged  PackageState = 2
	Failed  PackageState = 3
)

// ParseRunState reads the Cloud Controller's word.
func ParseRunState[T string | []byte](s T) (RunState, error) {
	switch string(s) {
	case "STARTED":
		return Started, nil
	case "STOPPED":
		return Stopped, nil
	}
	return 0, fmt.Errorf("state %.40q is neither STARTED nor STOPPED", s)
}

// String gives the Cloud Controller's word.
func (s RunState) String() string { return word(int(s), "", "STOPPED", "STARTED") }

// ParsePackageState reads the Cloud Controller's word.
func ParsePackageState[T string | []byte](s T) (PackageState, error) {
	switch string(s) {
	case "PENDING":
		return Pending, nil
	case "STAGED":
		return Staged, nil
	case "FAILED":
		return Failed, nil
	}
	return 0, fmt.Errorf("package_state %.40q is none of PENDING, STAGED, FAILED", s)
}

// String gives the Cloud Controller's word.
func (s PackageState) String() string { return word(int(s), "", "PENDING", "STAGED", "FAILED") }

func word(i int, words ...string) string {
	if i < len(words) {
		return words[i]
	}
	return fmt.Sprintf("UNKNOWN(%d)", i)
}

// App is one row of the Cloud Controller's answer (N43, D03).
type App struct {
	Key       app.Key
	Instances uint32 // 0 to MaxInstances
	State     RunState
	Package   PackageState
	// LetterCase says how the Cloud Controller writes Key. Commands write it in the same way, because most databases
	// of a Cloud Controller compare guids letter by letter.
	LetterCase app.KeyLetterCase
}

// Wanted reports whether the app should have instances: it is STARTED, and STAGED or PENDING (D11).
func (a App) Wanted() bool {
	return a.State == Started && (a.Package == Staged || a.Package == Pending)
}

// Startable reports whether instances of the app may be started: it is STARTED and STAGED (R01, R13).
func (a App) Startable() bool { return a.State == Started && a.Package == Staged }

// Read is one complete read of the desired state. It exists only if every page was read.
type Read struct {
	Source string // what was read, for people, without credentials: "bulk http://…"
	Apps   []App  // sorted by Key, one for each droplet
	// Lag is how far the source may have been behind the Cloud Controller when the read was begun: a replica of a
	// database is behind its primary. The read shows the desired state at its begin less Lag, or later.
	Lag time.Duration
	// Unreadable are the droplets whose row could not be read, or not be told from another row, sorted. What is
	// recorded of them stays as it is: an app that cannot be read is neither new nor gone (W49).
	Unreadable []app.GUID
	// Digest, if it is not zero, tells whether something has changed: two complete reads of one source with the same Digest
	// have the same Apps and Unreadable. Zero: not known.
	Digest [16]byte
}

// ErrAlike is the reason why an app is unreadable that has two rows, whose guids differ only in the case of letters.
var ErrAlike = errors.New("two rows have this guid, in capitals and in small letters: delete one of them")

// NewRead sorts apps and checks that they are consistent. An app that two pages repeat unchanged counts once. If two
// rows of an app disagree, the table changed between the pages, and the whole read is refused (W06). If the droplets
// of two rows differ only in the case of letters, hm cannot tell these apps apart: the droplet is added to
// Unreadable. NewRead takes ownership of apps.
func NewRead(source string, apps []App) (Read, error) {
	slices.SortFunc(apps, func(a, b App) int {
		return cmp.Or(a.Key.Droplet.Compare(b.Key.Droplet), cmp.Compare(a.LetterCase.Droplet, b.LetterCase.Droplet), a.Key.Version.Compare(b.Key.Version))
	})
	apps = slices.Compact(apps)
	var alike []app.GUID
	for i := 1; i < len(apps); i++ {
		a, b := &apps[i-1], &apps[i]
		switch {
		case a.Key.Droplet != b.Key.Droplet:
		case a.LetterCase.Droplet == b.LetterCase.Droplet:
			return Read{}, fmt.Errorf("app %s was returned twice with different content: the desired state changed while it was read", b.Key.Droplet)
		case len(alike) == 0 || alike[len(alike)-1] != b.Key.Droplet:
			alike = append(alike, b.Key.Droplet)
		}
	}
	if len(alike) > 0 {
		apps = slices.DeleteFunc(apps, func(a App) bool { return in(alike, a.Key.Droplet) })
	}
	return Read{Source: source, Apps: apps, Unreadable: alike}, nil
}

// in reports whether a sorted list has a droplet.
func in(droplets []app.GUID, d app.GUID) bool {
	_, found := slices.BinarySearchFunc(droplets, d, app.GUID.Compare)
	return found
}

// WithUnreadable adds the droplets whose rows could not be read to r, in any order. If r also has a readable row of
// one of them, it was returned twice with different content, and the whole read is refused (W06). WithUnreadable
// takes ownership of droplets.
func (r Read) WithUnreadable(droplets []app.GUID) (Read, error) {
	droplets = append(droplets, r.Unreadable...)
	slices.SortFunc(droplets, app.GUID.Compare)
	droplets = slices.Compact(droplets)
	for _, d := range droplets {
		if _, found := slices.BinarySearchFunc(r.Apps, d, func(a App, d app.GUID) int { return a.Key.Droplet.Compare(d) }); found {
			return Read{}, fmt.Errorf("app %s was returned twice, once readable and once not: the desired state changed while it was read", d)
		}
	}
	r.Unreadable, r.Digest = droplets, [16]byte{}
	return r, nil
}

// Keeping gives r as if some droplets, sorted, were unreadable: what is recorded of them is newer than r, and stays.
func (r Read) Keeping(droplets []app.GUID) Read {
	if len(droplets) == 0 {
		return r
	}
	r.Digest = [16]byte{}
	kept := slices.Clone(r.Apps)
	r.Apps = slices.DeleteFunc(kept, func(a App) bool { return in(droplets, a.Key.Droplet) })
	r.Unreadable = slices.Concat(r.Unreadable, droplets)
	slices.SortFunc(r.Unreadable, app.GUID.Compare)
	r.Unreadable = slices.Compact(r.Unreadable)
	return r
}

// Wanted counts the apps of the read for which Wanted holds, and their instances.
func (r Read) Wanted() (apps, instances int) {
	for _, a := range r.Apps {
		if a.Wanted() {
			apps, instances = apps+1, instances+int(a.Instances)
		}
	}
	return apps, instances
}

// Changes gives the changes from the recorded rows to r. find gives a recorded row and its place, a number of its own from
// 0 on; recorded yields all recorded rows with their places, in any order.
func (r Read) Changes(find func(app.Key) (place int, row App, ok bool), recorded iter.Seq2[int, App]) Changes {
	var c Changes
	var kept []uint64 // a bit for each place whose row the read has
	for i, a := range r.Apps {
		place, old, ok := find(a.Key)
		if ok {
			for len(kept) <= place/64 {
				kept = append(kept, 0)
			}
			kept[place/64] |= 1 << (place % 64)
		}
		switch {
		case ok && old == a:
		case len(c.Upserts) == i: // all are new so far, as in a first read: they need no copy
			c.Upserts = r.Apps[: i+1 : i+1]
		default:
			c.Upserts = append(c.Upserts, a)
		}
	}
	for place, a := range recorded {
		if place/64 < len(kept) && kept[place/64]&(1<<(place%64)) != 0 || in(r.Unreadable, a.Key.Droplet) {
			continue
		}
		c.Removes = append(c.Removes, a.Key)
	}
	slices.SortFunc(c.Removes, app.Key.Compare)
	return c
}

// Changes is what has to be recorded of a read.
type Changes struct {
	Upserts []App     // rows that are new or differ, sorted by Key; nobody changes them: they may be those of the read
	Removes []app.Key // keys that the read does not have, sorted
}

// Empty reports whether there is nothing to record.
func (c Changes) Empty() bool { return len(c.Upserts) == 0 && len(c.Removes) == 0 }
