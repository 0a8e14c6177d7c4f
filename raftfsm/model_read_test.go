package raftfsm

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

func (s *model) Index() uint64  { return s.index }
func (s *model) Term() uint64   { return s.term }
func (s *model) Time() app.Time { return s.now }

func (s *model) Basis(k app.Key, index uint32) Basis {
	var b Basis
	if a := s.apps[k]; a != nil {
		b.Desired = a.rev
	}
	for _, d := range s.deas {
		for _, i := range d.inst {
			if i.App == k && i.Index == index {
				b.Index += xxh3.HashSeed(append(i.GUID.AppendWire(nil), byte(i.State)), xxh3.HashString(d.ID))
			}
		}
	}
	for _, c := range s.cmds {
		if c.App == k && c.Index == index && c.State != commands.Pending {
			b.Index += xxh3.Hash(c.ID[:])
		}
	}
	return b
}

func (s *model) countOf(k app.Key) (n int) {
	for _, d := range s.deas {
		for _, i := range d.inst {
			if i.App == k {
				n++
			}
		}
	}
	return n
}

func (s *model) App(k app.Key) (App, bool) {
	a := s.apps[k]
	if a == nil {
		return App{}, false
	}
	return App{Key: k, Desired: a.row, HasDesired: a.has, Rev: a.rev, GrewAt: a.grewAt, Instances: s.countOf(k)}, true
}

func (s *model) keys() []app.Key { return slices.SortedFunc(maps.Keys(s.apps), app.Key.Compare) }

func (s *model) Versions(droplet app.GUID) []app.Key {
	var out []app.Key
	for _, k := range s.keys() {
		if k.Droplet == droplet {
			out = append(out, k)
		}
	}
	return out
}

func (s *model) DesiredVersion(droplet app.GUID) app.GUID {
	for _, k := range s.Versions(droplet) {
		if s.apps[k].has {
			return k.Version
		}
	}
	return app.GUID{}
}

func (s *model) Apps() iter.Seq[App] {
	return func(yield func(App) bool) {
		for _, k := range s.keys() {
			if a, _ := s.App(k); !yield(a) {
				return
			}
		}
	}
}

func (s *model) DesiredApps() iter.Seq[desired.App] {
	return func(yield func(desired.App) bool) {
		for _, k := range s.keys() {
			if a := s.apps[k]; a.has && !yield(a.row) {
				return
			}
		}
	}
}

func (s *model) Instances(dst []actual.Located, k app.Key) []actual.Located {
	best := map[app.GUID]*modelDEA{}
	for _, d := range s.deas {
		for g, i := range d.inst {
			if i.App == k && (best[g] == nil || best[g].born < d.born) {
				best[g] = d
			}
		}
	}
	n := len(dst)
	for g, d := range best {
		i := d.inst[g]
		x := actual.Located{Instance: i.Instance, DEA: d.ID, Heard: i.heard}
		if i.State == actual.Crashed {
			x.Mark = s.marks[CrashRef{k, i.Index, g}].mark
		}
		dst = append(dst, x)
	}
	slices.SortFunc(dst[n:], func(a, b actual.Located) int { return cmp.Or(cmp.Compare(a.Index, b.Index), a.GUID.Compare(b.GUID)) })
	return dst
}

func (s *model) DEA(id string) (DEA, bool) {
	d := s.deas[id]
	if d == nil {
		return DEA{}, false
	}
	v := d.DEA
	v.Len = len(d.inst)
	return v, true
}

func (s *model) DEAs() iter.Seq[DEA] {
	return func(yield func(DEA) bool) {
		for _, id := range slices.Sorted(maps.Keys(s.deas)) {
			if d, _ := s.DEA(id); !yield(d) {
				return
			}
		}
	}
}

func (s *model) DEAInstances(dst []actual.Instance, id string) []actual.Instance {
	if d := s.deas[id]; d != nil {
		for _, i := range d.inst {
			dst = append(dst, i.Instance)
		}
	}
	return dst
}

func (s *model) Crashes(k app.Key) []actual.Crash {
	var out []actual.Crash
	for a, c := range s.AllCrashes() {
		if a == k {
			out = append(out, c)
		}
	}
	return out
}

func (s *model) AllCrashes() iter.Seq2[app.Key, actual.Crash] {
	refs := slices.SortedFunc(maps.Keys(s.crashes), func(a, b CrashRef) int {
		return cmp.Or(a.App.Compare(b.App), cmp.Compare(a.Index, b.Index))
	})
	return func(yield func(app.Key, actual.Crash) bool) {
		for _, r := range refs {
			if !yield(r.App, s.crashes[r]) {
				return
			}
		}
	}
}

func (s *model) UnlistedMarks() iter.Seq[CrashMarked] {
	return func(yield func(CrashMarked) bool) {
		for r, m := range s.marks {
			if slices.Contains(s.crashedAt(CrashRef{App: r.App, Index: r.Index}), r.Instance) {
				continue
			}
			if !yield(CrashMarked{r, m.mark, m.at}) {
				return
			}
		}
	}
}

func (s *model) Commands(k app.Key) []commands.Command {
	var out []commands.Command
	for c := range s.AllCommands() {
		if c.App == k {
			out = append(out, c)
		}
	}
	return out
}

func (s *model) AllCommands() iter.Seq[commands.Command] {
	return slices.Values(slices.SortedFunc(maps.Values(s.cmds), commands.Command.Compare))
}

func (s *model) Command(id commands.ID) (commands.Command, bool) { c, ok := s.cmds[id]; return c, ok }

func (s *model) Holds() []Hold {
	return slices.SortedFunc(maps.Values(s.holds), func(a, b Hold) int { return strings.Compare(a.Name, b.Name) })
}

func (s *model) DesiredMeta() DesiredMeta {
	m := s.meta
	for _, a := range s.apps {
		if a.has && a.row.Wanted() {
			m.Apps++
			m.Instances += int(a.row.Instances)
		}
	}
	return m
}

func (s *model) Counts() Counts {
	m := s.DesiredMeta()
	c := Counts{Apps: m.Apps, DesiredInstances: m.Instances, SentStarts: s.sent[1], SentStops: s.sent[2]}
	for _, d := range s.deas {
		if d.GoneAt == 0 {
			c.DEAs++
		} else {
			c.GoneDEAs++
		}
		for _, i := range d.inst {
			c.Instances++
			switch i.State {
			case actual.Starting:
				c.Starting++
			case actual.Running:
				c.Running++
			case actual.Crashed:
				c.Crashed++
			case actual.Evacuating:
				c.Evacuating++
			}
		}
	}
	for _, x := range s.cmds {
		if x.State == commands.Pending {
			if x.Action == 1 {
				c.PendingStarts++
			} else {
				c.PendingStops++
			}
		}
	}
	return c
}
