// Package desired is the model of what should run: the Cloud Controller's apps, one complete read of them, and
// what a read changes against what is recorded. It is pure: desired/bulk and desired/sqldb do the reading.
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

// MaxInstances bounds App.Instances. A Cloud Controller that asks for more is taken to be broken.
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
	// Capitals says how the Cloud Controller spells Key. It compares guids by the letter, unless its database takes no
	// notice of case: what is sent to it is spelled as it spells it.
	Capitals app.KeyCapitals
}

// Wanted reports whether instances of the app should exist at all: STARTED, and STAGED or PENDING (D11).
func (a App) Wanted() bool {
	return a.State == Started && (a.Package == Staged || a.Package == Pending)
}

// Startable reports whether the app's instances may be started: wanted, and staged (R01, R13).
func (a App) Startable() bool { return a.State == Started && a.Package == Staged }

// Read is one complete read of the desired state. A value of it exists only if every page was read.
type Read struct {
	Source string // what was read, for people: "bulk http://…" without credentials
	Apps   []App  // sorted by Key, one entry a droplet
	// Lag is for how long before its begin, at most, the source was already behind what it was read for: a replica shows
	// a past of its primary. The read shows the desired state of no earlier moment than its begin less Lag.
	Lag time.Duration
	// Unreadable are the droplets whose row could not be understood, or told from another, sorted. What is recorded of them stays as it
	// is: an app that cannot be read is neither new nor gone (W49).
	Unreadable []app.GUID
}

// ErrAlike is why nothing is read of an app that has two rows, whose guids differ in case only.
var ErrAlike = errors.New("two rows have this guid, in capitals and in small letters: delete one of them")

// NewRead sorts apps and checks that they are one consistent picture. An app that two pages repeat unchanged is
// folded; one whose rows disagree means that the table changed between the pages, and the whole read is refused
// (W06). Two rows whose droplets differ in case only are two apps of the Cloud Controller that hm cannot tell apart:
// the droplet becomes one of Unreadable. NewRead takes ownership of apps.
func NewRead(source string, apps []App) (Read, error) {
	slices.SortFunc(apps, func(a, b App) int {
		return cmp.Or(a.Key.Droplet.Compare(b.Key.Droplet), cmp.Compare(a.Capitals.Droplet, b.Capitals.Droplet), a.Key.Version.Compare(b.Key.Version))
	})
	apps = slices.Compact(apps)
	var alike []app.GUID
	for i := 1; i < len(apps); i++ {
		a, b := &apps[i-1], &apps[i]
		switch {
		case a.Key.Droplet != b.Key.Droplet:
		case a.Capitals.Droplet == b.Capitals.Droplet:
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

// in reports whether a droplet is one of a sorted list.
func in(droplets []app.GUID, d app.GUID) bool {
	_, found := slices.BinarySearchFunc(droplets, d, app.GUID.Compare)
	return found
}

// WithUnreadable gives r with the droplets whose row could not be understood, in any order. A droplet that r has a
// readable row of as well was returned twice with different content, and the whole read is refused (W06).
// WithUnreadable takes ownership of droplets.
func (r Read) WithUnreadable(droplets []app.GUID) (Read, error) {
	droplets = append(droplets, r.Unreadable...)
	slices.SortFunc(droplets, app.GUID.Compare)
	droplets = slices.Compact(droplets)
	for _, d := range droplets {
		if _, found := slices.BinarySearchFunc(r.Apps, d, func(a App, d app.GUID) int { return a.Key.Droplet.Compare(d) }); found {
			return Read{}, fmt.Errorf("app %s was returned twice, once readable and once not: the desired state changed while it was read", d)
		}
	}
	r.Unreadable = droplets
	return r, nil
}

// Keeping gives r without what it says of some droplets, sorted: what is recorded of them is newer, and stays.
func (r Read) Keeping(droplets []app.GUID) Read {
	if len(droplets) == 0 {
		return r
	}
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

// Changes says what r changes. lookup finds a recorded row; recorded yields all of them, in any order.
func (r Read) Changes(lookup func(app.Key) (App, bool), recorded iter.Seq[App]) Changes {
	var c Changes
	for _, a := range r.Apps {
		if old, ok := lookup(a.Key); !ok || old != a {
			c.Upserts = append(c.Upserts, a)
		}
	}
	for a := range recorded {
		if in(r.Unreadable, a.Key.Droplet) {
			continue
		}
		if _, found := slices.BinarySearchFunc(r.Apps, a.Key, func(a App, k app.Key) int { return a.Key.Compare(k) }); !found {
			c.Removes = append(c.Removes, a.Key)
		}
	}
	slices.SortFunc(c.Removes, app.Key.Compare)
	return c
}

// Changes are what one read asks to be recorded: rows that are new or differ, and keys that are gone.
type Changes struct {
	Upserts []App     // sorted by Key
	Removes []app.Key // sorted
}

// Empty reports whether there is nothing to record.
func (c Changes) Empty() bool { return len(c.Upserts) == 0 && len(c.Removes) == 0 }
