package raftfsm

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"hm/commands"
	"hm/internal/app"
)

// Names maps the names in a State to other names. Different names must be mapped to different names.
type Names struct {
	GUID    func(app.GUID) app.GUID // of droplets, versions and instances; never called with the zero guid
	DEA     func(string) string
	Command func(commands.ID) commands.ID
	Hold    func(Hold) Hold // changes Name, Reason and By; Lost is mapped with GUID
	Source  string          // new source of the desired state
}

// Renamed returns a copy of the State in which every guid, id and text is replaced; nothing else differs. The
// cluster keeps its id, which is random. The state must not change meanwhile: freeze it first.
func (s *State) Renamed(n Names) (*State, error) {
	// This makes only what goes into a snapshot. Restoring the snapshot makes the rest, and finds every invalid name and
	// most names that were used twice.
	t := NewState()
	t.index, t.term, t.now, t.rev, t.births, t.meta, t.counts = s.index, s.term, s.now, s.rev, s.births, s.meta, s.counts
	t.meta.Source, t.cluster = n.Source, s.cluster
	for h := range s.apps.len() {
		h := Handle(h)
		t.apps.push(n.key(s.apps.key(h)), *s.apps.get(h)) // without letter case: it belongs to the old name
	}
	for i := range s.deas.len() {
		d := *s.deas.get(uint32(i))
		if d != nil {
			d = n.dea(d)
			if _, twice := t.names.Set(deaName{id: d.ID, num: d.num}); twice {
				return nil, fmt.Errorf("renaming a recorded state: two DEAs are named %s", d.ID)
			}
		}
		t.deas.push(d)
	}
	for c := range s.AllCommands() {
		c.ID, c.App, c.Instance, c.Crashed = n.Command(c.ID), n.key(c.App), n.guid(c.Instance), n.guid(c.Crashed)
		if _, twice := t.cmds.Set(orderCommand(&c)); twice {
			return nil, fmt.Errorf("renaming a recorded state: two commands are named %s", c.ID.String())
		}
	}
	for k, c := range s.AllCrashes() {
		c.Instance, c.Exited = n.guid(c.Instance), n.guid(c.Exited)
		if _, twice := t.crashes.Set(orderCrash(&crashRec{key: n.key(k), Crash: c})); twice {
			return nil, fmt.Errorf("renaming a recorded state: two apps are named %s", n.key(k))
		}
	}
	for m := range s.allMarks() {
		m.guid = n.guid(m.guid)
		if _, twice := t.marks.Set(m); twice {
			return nil, fmt.Errorf("renaming a recorded state: two instances are named %s", m.guid)
		}
	}
	for _, h := range s.holds {
		renamed := n.Hold(h)
		renamed.Lost = n.places(h.Lost)
		t.holds = append(t.holds, renamed)
	}
	slices.SortFunc(t.holds, func(a, b Hold) int { return cmp.Compare(a.Name, b.Name) })
	for i := range s.staged {
		t.staged = append(t.staged, n.staged(&s.staged[i]))
	}
	var snapshot bytes.Buffer
	if err := t.WriteSnapshot(&snapshot); err != nil {
		return nil, fmt.Errorf("renaming a recorded state: %w", err)
	}
	renamed, _, err := restore(&snapshot) // does not check the hash in the header, which is wrong here
	if err != nil {
		return nil, fmt.Errorf("renaming a recorded state: %w", err)
	}
	return renamed, nil
}

func (n Names) guid(g app.GUID) app.GUID {
	if g.IsZero() {
		return g
	}
	return n.GUID(g)
}

func (n Names) key(k app.Key) app.Key {
	return app.Key{Droplet: n.guid(k.Droplet), Version: n.guid(k.Version)}
}

func (n Names) places(p Places) Places {
	var list []Place
	for place := range p.All() {
		list = append(list, Place{App: n.key(place.App), Index: place.Index})
	}
	return NewPlaces(list)
}

func (n Names) dea(d *deaRec) *deaRec {
	c := *d
	c.ID, c.inst, c.side = n.DEA(d.ID), nil, nil
	for i, p := range d.inst {
		g := n.GUID(d.guid(i))
		p.guid, p.form = g.Binary()
		c.inst, c.side = store(c.inst, c.side, p, g)
	}
	return &c
}

func (n Names) staged(d *DesiredChanges) DesiredChanges {
	c := DesiredChanges{Generation: d.Generation, Upserts: slices.Clone(d.Upserts), Removes: slices.Clone(d.Removes)}
	for i := range c.Upserts {
		c.Upserts[i].Key, c.Upserts[i].LetterCase = n.key(c.Upserts[i].Key), app.KeyLetterCase{}
	}
	for i := range c.Removes {
		c.Removes[i] = n.key(c.Removes[i])
	}
	return c
}
