package raftfsm

import (
	"iter"
	"slices"

	"hm/desired"
	"hm/internal/app"
)

// App is what is recorded of one app, instances aside.
type App struct {
	Key        app.Key
	Desired    desired.App // zero unless HasDesired
	HasDesired bool
	Rev        uint64   // Basis.Desired
	GrewAt     app.Time // when an instance was last added, 0 if never
	Instances  int      // records of instances; a guid that is recorded on two DEAs counts twice (W10)
}

// Handle addresses an app's record within one State and the views frozen from it. It means nothing to another
// State, and it may come to name another app once its own has left the record.
type Handle uint32

// App gives what is recorded of an app: there is a record while it is desired or anything else refers to it.
func (s *State) App(k app.Key) (App, bool) {
	h, ok := s.lookup.find(&s.apps, k)
	if !ok {
		return App{}, false
	}
	return s.answer(h), true
}

func (s *State) answer(h Handle) App {
	a := s.apps.get(uint32(h))
	return App{Key: a.key, Desired: s.row(h), HasDesired: a.has, Rev: a.rev, GrewAt: a.grewAt, Instances: int(a.instances)}
}

// Versions gives every recorded version of a droplet, sorted.
func (s *State) Versions(droplet app.GUID) []app.Key {
	var out []app.Key
	s.lookup.each(&s.apps, droplet, func(h Handle) bool {
		out = append(out, s.apps.get(uint32(h)).key)
		return true
	})
	slices.SortFunc(out, app.Key.Compare)
	return out
}

// DesiredVersion gives the version in which a droplet is desired, zero if it is not.
func (s *State) DesiredVersion(droplet app.GUID) app.GUID {
	var v app.GUID
	s.lookup.each(&s.apps, droplet, func(h Handle) bool {
		if rec := s.apps.get(uint32(h)); rec.has {
			v = rec.key.Version
			return false
		}
		return true
	})
	return v
}

// OthersGrewAt is when an instance was last added to another version of an app, of those that have a live instance; 0 if
// none has.
func (s *State) OthersGrewAt(k app.Key) (at app.Time) {
	s.lookup.each(&s.apps, k.Droplet, func(h Handle) bool {
		if rec := s.apps.get(uint32(h)); rec.key != k && rec.grewAt > at && s.anyLive(h) {
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
			other := s.apps.get(uint32(h)).key
			return other == k || !s.HasCommands(other) || yield(other)
		})
	}
}

// Apps yields every app record, in no order that means anything.
func (s *State) Apps() iter.Seq[App] {
	return func(yield func(App) bool) {
		for h := range s.apps.len() {
			if a := s.apps.get(uint32(h)); a.used() && !yield(s.answer(Handle(h))) {
				return
			}
		}
	}
}

// DesiredApps yields every desired row, in no order that means anything.
func (s *State) DesiredApps() iter.Seq[desired.App] {
	return func(yield func(desired.App) bool) {
		s.EachDesired(func(_ Handle, d desired.App) bool { return yield(d) })
	}
}

// EachDesired calls fn for every desired row, in the order of handles, until it returns false.
func (s *State) EachDesired(fn func(h Handle, d desired.App) bool) {
	for h := range s.apps.len() {
		a := s.apps.get(uint32(h))
		if !a.has {
			continue
		}
		d := a.row()
		d.Capitals = s.capitals(Handle(h))
		if !fn(Handle(h), d) {
			return
		}
	}
}

// Handles bounds the handles in use: each is less than Handles.
func (s *State) Handles() int { return s.apps.len() }

// KeyOf gives the app that a handle addresses.
func (s *State) KeyOf(h Handle) (app.Key, bool) {
	if int(h) >= s.apps.len() {
		return app.Key{}, false
	}
	rec := s.apps.get(uint32(h))
	return rec.key, rec.used()
}
