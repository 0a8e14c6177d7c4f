package raftfsm

import (
	"cmp"
	"iter"
	"slices"

	"github.com/zeebo/xxh3"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// App gives what is recorded of an app: there is a record while it is desired or anything else refers to it.
func (s *State) App(k app.Key) (App, bool) {
	h, ok := s.lookup.find(&s.apps, k)
	if !ok {
		return App{}, false
	}
	return s.apps.get(uint32(h)).answer(), true
}

func (a *appRec) answer() App {
	return App{Key: a.key, Desired: a.row(), HasDesired: a.has, Rev: a.rev, GrewAt: a.grewAt, Instances: int(a.instances)}
}

// Basis gives what a decision about an index of an app rests on. It may be asked for an app that is not recorded.
func (s *State) Basis(k app.Key, index uint32) Basis {
	var b Basis
	h, ok := s.lookup.find(&s.apps, k)
	if !ok {
		return b
	}
	rec := s.apps.get(uint32(h))
	b.Desired = rec.rev
	var buf [256]byte
	for _, num := range rec.deas() {
		d := *s.deas.get(num)
		lo, hi := d.at(h, index)
		for i := lo; i < hi; i++ {
			b.Index += xxh3.HashSeed(append(d.guid(i).AppendWire(buf[:0]), byte(d.inst[i].state)), d.seed)
		}
	}
	for c := range s.commandsFrom(k, index) {
		if c.Index != index {
			break
		}
		if c.State != commands.Pending {
			b.Index += xxh3.Hash(c.ID[:])
		}
	}
	return b
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

func (s *State) anyLive(h Handle) bool {
	for _, num := range s.apps.get(uint32(h)).deas() {
		d := *s.deas.get(num)
		lo, hi := d.of(h)
		for i := lo; i < hi; i++ {
			if d.inst[i].state.Live() {
				return true
			}
		}
	}
	return false
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

// Apps yields every app record, in no order that means anything.
func (s *State) Apps() iter.Seq[App] {
	return func(yield func(App) bool) {
		for h := range s.apps.len() {
			if a := s.apps.get(uint32(h)); a.used() && !yield(a.answer()) {
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

// Instances appends an app's instances to dst, sorted by index, then guid. If two DEAs hold one guid the DEA that
// was recorded later has it (W10).
func (s *State) Instances(dst []actual.Located, k app.Key) []actual.Located {
	h, ok := s.lookup.find(&s.apps, k)
	if !ok {
		return dst
	}
	start := len(dst)
	deas := s.apps.get(uint32(h)).deas()
	for _, num := range deas {
		d := *s.deas.get(num)
		lo, hi := d.of(h)
		for i := lo; i < hi; i++ {
			dst = append(dst, s.located(d, i, k))
		}
	}
	if len(deas) > 1 {
		dst = dst[:start+s.latest(dst[start:])]
	}
	slices.SortFunc(dst[start:], func(a, b actual.Located) int {
		if a.Index != b.Index {
			return int(a.Index) - int(b.Index)
		}
		return a.GUID.Compare(b.GUID)
	})
	return dst
}

// EachInstanceOf calls fn for every instance record of an app, in any order, and gives what else is recorded of it. A
// guid that is recorded on two DEAs comes twice (W10). It allocates nothing.
func (s *State) EachInstanceOf(k app.Key, fn func(index uint32, st actual.State)) (App, bool) {
	h, ok := s.lookup.find(&s.apps, k)
	if !ok {
		return App{}, false
	}
	rec := s.apps.get(uint32(h))
	for _, num := range rec.deas() {
		d := *s.deas.get(num)
		lo, hi := d.of(h)
		for i := lo; i < hi; i++ {
			fn(uint32(d.inst[i].index), d.inst[i].state)
		}
	}
	return rec.answer(), true
}

// latest moves to the front of list one instance for each guid, that of the DEA that was recorded last, and gives
// their number.
func (s *State) latest(list []actual.Located) int {
	const few = 32 // instances that are compared with each other as fast as looked up
	var seen map[app.GUID]int
	if len(list) > few {
		seen = make(map[app.GUID]int, len(list))
	}
	n := 0
	for _, x := range list {
		at, twice := seen[x.GUID]
		if seen == nil {
			at = slices.IndexFunc(list[:n], func(o actual.Located) bool { return o.GUID == x.GUID })
			twice = at >= 0
		}
		if twice {
			if s.deaByID(x.DEA).born > s.deaByID(list[at].DEA).born {
				list[at] = x
			}
			continue
		}
		if seen != nil {
			seen[x.GUID] = n
		}
		list[n] = x
		n++
	}
	return n
}

// DEA gives what is recorded of a DEA, gone ones included.
func (s *State) DEA(id string) (DEA, bool) {
	if d := s.deaByID(id); d != nil {
		return d.DEA, true
	}
	return DEA{}, false
}

// DEAs yields every recorded DEA, gone ones included, sorted by id.
func (s *State) DEAs() iter.Seq[DEA] {
	return func(yield func(DEA) bool) {
		s.names.Scan(func(n deaName) bool { return yield((*s.deas.get(n.num)).DEA) })
	}
}

// DEAInstances appends a DEA's instances to dst. Their order means nothing and differs between nodes.
func (s *State) DEAInstances(dst []actual.Instance, id string) []actual.Instance {
	d := s.deaByID(id)
	if d == nil {
		return dst
	}
	dst = slices.Grow(dst, len(d.inst))
	for i := range d.inst {
		dst = append(dst, d.instance(i, s.apps.get(uint32(d.inst[i].app)).key))
	}
	return dst
}

// Located gives a DEA's instances, sorted by app, index and instance, with what is recorded beyond their listing.
func (s *State) Located(id string) (out []actual.Located) {
	d := s.deaByID(id)
	if d == nil {
		return nil
	}
	for i := range d.inst {
		out = append(out, s.located(d, i, s.apps.get(uint32(d.inst[i].app)).key))
	}
	slices.SortFunc(out, func(a, b actual.Located) int {
		return cmp.Or(a.App.Compare(b.App), cmp.Compare(a.Index, b.Index), a.GUID.Compare(b.GUID))
	})
	return out
}

// located gives instance i of a DEA, which is of app k.
func (s *State) located(d *deaRec, i int, k app.Key) actual.Located {
	x := actual.Located{Instance: d.instance(i, k), DEA: d.ID, Heard: app.Time(d.inst[i].heard.ms())}
	if x.State == actual.Crashed {
		x.Mark = s.markOf(k, x.Index, x.GUID)
	}
	return x
}

// Crashes gives an app's crash records, sorted by index.
func (s *State) Crashes(k app.Key) []actual.Crash {
	var out []actual.Crash
	s.crashes.Ascend(&crashRec{key: k}, func(c *crashRec) bool {
		if c.key != k {
			return false
		}
		out = append(out, c.Crash)
		return true
	})
	return out
}

// AllCrashes yields every crash record, sorted by app and index.
func (s *State) AllCrashes() iter.Seq2[app.Key, actual.Crash] {
	return func(yield func(app.Key, actual.Crash) bool) {
		s.crashes.Scan(func(c *crashRec) bool { return yield(c.key, c.Crash) })
	}
}

// Command gives an outstanding command.
func (s *State) Command(id commands.ID) (commands.Command, bool) {
	c, ok := s.byID.Get(commandID{id: id})
	if !ok {
		return commands.Command{}, false
	}
	return *c.c, true
}

// Commands gives an app's outstanding commands, in the order of commands.Command.Compare.
func (s *State) Commands(k app.Key) []commands.Command {
	var out []commands.Command
	for c := range s.commandsFrom(k, 0) {
		out = append(out, *c)
	}
	return out
}

// commandsFrom yields an app's outstanding commands from index on, in order.
func (s *State) commandsFrom(k app.Key, index uint32) iter.Seq[*commands.Command] {
	return func(yield func(*commands.Command) bool) {
		if s.cmds.Len() == 0 {
			return
		}
		s.cmds.Ascend(&commands.Command{App: k, Index: index}, func(c *commands.Command) bool {
			return c.App == k && yield(c)
		})
	}
}

// HasCommands reports whether an app has outstanding commands.
func (s *State) HasCommands(k app.Key) bool {
	for range s.commandsFrom(k, 0) {
		return true
	}
	return false
}

// AllCommands yields every outstanding command, in the order of commands.Command.Compare.
func (s *State) AllCommands() iter.Seq[commands.Command] {
	return func(yield func(commands.Command) bool) {
		s.cmds.Scan(func(c *commands.Command) bool { return yield(*c) })
	}
}

// Holds gives the holds that are set, sorted by name. Until is for whoever releases them: one that has passed is
// still here.
func (s *State) Holds() []Hold { return slices.Clone(s.holds) }

// NextGeneration is the number for the next read of the desired state: above what is committed and above what a leader
// has staged and never committed, so that the parts of two reads never mix.
func (s *State) NextGeneration() uint64 {
	newest := s.meta.Generation
	if len(s.staged) > 0 {
		newest = max(newest, s.staged[0].Generation)
	}
	return newest + 1
}

// DesiredMeta gives what is recorded of the newest committed read of the desired state.
func (s *State) DesiredMeta() DesiredMeta {
	m := s.meta
	m.Apps, m.Instances = s.counts.Apps, s.counts.DesiredInstances
	return m
}

// Counts gives the totals, at no cost.
func (s *State) Counts() Counts { return s.counts }

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

// EachInstance calls fn for every instance record, DEA by DEA. A guid that is recorded on two DEAs comes twice
// (W10). It allocates nothing.
func (s *State) EachInstance(fn func(h Handle, index uint32, st actual.State)) {
	for num := range s.deas.len() {
		d := *s.deas.get(uint32(num))
		if d == nil {
			continue
		}
		for i := range d.inst {
			p := &d.inst[i]
			fn(p.app, uint32(p.index), p.state)
		}
	}
}

// EachDesired calls fn for every desired row, in the order of handles, until it returns false.
func (s *State) EachDesired(fn func(h Handle, d desired.App) bool) {
	for h := range s.apps.len() {
		if a := s.apps.get(uint32(h)); a.has && !fn(Handle(h), a.row()) {
			return
		}
	}
}
