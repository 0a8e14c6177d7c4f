package raftfsm

import (
	"iter"
	"slices"

	"hm/desired"
	"hm/internal/app"
)

// App is the record of one app without its instances.
type App struct {
	Key        app.Key
	Desired    desired.App // zero unless HasDesired
	HasDesired bool
	Rev        uint64   // Basis.Desired
	GrewAt     app.Time // when an instance was last added; 0: never
	Instances  int      // instance records; a guid that two DEAs list counts twice (W10)
}

// Handle is the number of an app's record in one State and in its frozen copies. It means nothing in another State.
// Once the app is no longer recorded, the handle may be reused for another app.
type Handle uint32

// App returns an app's record. It exists while the app is desired, or has instances, crash records or commands.
func (s *State) App(k app.Key) (App, bool) {
	h, ok := s.lookup.find(&s.apps, k)
	if !ok {
		return App{}, false
	}
	return s.appOf(h), true
}

func (s *State) appOf(h Handle) App {
	a := s.apps.get(h)
	return App{Key: s.apps.key(h), Desired: s.row(h), HasDesired: a.has, Rev: a.rev, GrewAt: a.grewAt, Instances: int(a.instances)}
}

// Versions returns the keys of all recorded versions of a droplet, sorted.
func (s *State) Versions(droplet app.GUID) []app.Key {
	var out []app.Key
	s.lookup.each(&s.apps, droplet, func(h Handle) bool {
		out = append(out, s.apps.key(h))
		return true
	})
	slices.SortFunc(out, app.Key.Compare)
	return out
}

// DesiredVersion returns the version in which a droplet is desired, or the zero guid.
func (s *State) DesiredVersion(droplet app.GUID) app.GUID {
	var v app.GUID
	s.lookup.each(&s.apps, droplet, func(h Handle) bool {
		if rec := s.apps.get(h); rec.has {
			v = s.apps.key(h).Version
			return false
		}
		return true
	})
	return v
}

// OthersGrewAt returns when an instance was last added to another version of an app. Only versions with a live instance
// count; 0 if there are none.
func (s *State) OthersGrewAt(k app.Key) (at app.Time) {
	s.lookup.each(&s.apps, k.Droplet, func(h Handle) bool {
		if rec := s.apps.get(h); rec.grewAt > at && s.apps.key(h) != k && s.anyLive(h) {
			at = rec.grewAt
		}
		return true
	})
	return at
}

// OthersWithCommands yields the other versions of an app that have outstanding commands.
func (s *State) OthersWithCommands(k app.Key) iter.Seq[app.Key] {
	return func(yield func(app.Key) bool) {
		if s.cmds.Len() == 0 {
			return
		}
		s.lookup.each(&s.apps, k.Droplet, func(h Handle) bool {
			other := s.apps.key(h)
			return other == k || !s.HasCommands(other) || yield(other)
		})
	}
}

// Apps yields every app record, in any order.
func (s *State) Apps() iter.Seq[App] {
	return func(yield func(App) bool) {
		for h := range s.apps.len() {
			if h := Handle(h); s.apps.get(h).used() && !yield(s.appOf(h)) {
				return
			}
		}
	}
}

// DesiredRow returns the desired row of an app, and its handle.
func (s *State) DesiredRow(k app.Key) (Handle, desired.App, bool) {
	h, ok := s.lookup.find(&s.apps, k)
	if !ok || !s.apps.get(h).has {
		return 0, desired.App{}, false
	}
	return h, s.row(h), true
}

// DesiredApps yields every desired row, in any order.
func (s *State) DesiredApps() iter.Seq[desired.App] {
	return func(yield func(desired.App) bool) {
		s.EachDesired(func(_ Handle, d desired.App) bool { return yield(d) })
	}
}

// EachDesired calls fn for every desired row, in the order of handles, until it returns false.
func (s *State) EachDesired(fn func(h Handle, d desired.App) bool) {
	for h := range s.apps.len() {
		h := Handle(h)
		if s.apps.get(h).has && !fn(h, s.row(h)) {
			return
		}
	}
}

// EachUnnamed is EachDesired with rows that have neither Key nor LetterCase. It takes a tenth of the time.
func (s *State) EachUnnamed(fn func(h Handle, d desired.App) bool) {
	for i, a := range s.apps.recs.all() {
		if a.has && !fn(Handle(i), desired.App{Instances: a.desired, State: a.run, Package: a.pkg}) {
			return
		}
	}
}

// Handles returns a number that is larger than every handle in use.
func (s *State) Handles() int { return s.apps.len() }

// KeyOf returns the app of a handle. It returns false if the handle is not in use.
func (s *State) KeyOf(h Handle) (app.Key, bool) {
	if int(h) >= s.apps.len() {
		return app.Key{}, false
	}
	return s.apps.key(h), s.apps.get(h).used()
}
