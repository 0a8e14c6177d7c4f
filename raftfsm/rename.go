package raftfsm

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"hm/commands"
	"hm/internal/app"
)

// Names gives other names for those in a State. Different names must be given different ones.
type Names struct {
	GUID    func(app.GUID) app.GUID // of droplets, versions and instances; never asked for the zero guid
	DEA     func(string) string
	Command func(commands.ID) commands.ID
	Hold    func(Hold) Hold // its name, and what people said of it
	Source  string          // of the desired state
}

// Renamed gives a State that records the same of others: every guid, id and text is replaced, and nothing else
// differs. While it runs the state must not change: freeze it first.
func (s *State) Renamed(n Names) (*State, error) {
	// Only what a snapshot is written of is made here; restoring that makes the rest, and finds every name that cannot
	// be, and most that were given twice.
	t := NewState()
	t.index, t.term, t.now, t.rev, t.births, t.meta, t.counts = s.index, s.term, s.now, s.rev, s.births, s.meta, s.counts
	t.meta.Source = n.Source
	for h := range s.apps.len() {
		a := *s.apps.get(uint32(h))
		if a.used() {
			a.key = n.key(a.key)
		}
		t.apps.push(a)
	}
	for i := range s.deas.len() {
		d := *s.deas.get(uint32(i))
		if d != nil {
			d = n.dea(d)
			if _, twice := t.names.Set(deaName{id: d.ID, num: d.num}); twice {
				return nil, fmt.Errorf("renaming what a state records: two DEAs are named %s", d.ID)
			}
		}
		t.deas.push(d)
	}
	for c := range s.AllCommands() {
		c.ID, c.App, c.Instance, c.Crashed = n.Command(c.ID), n.key(c.App), n.guid(c.Instance), n.guid(c.Crashed)
		if _, twice := t.cmds.Set(&c); twice {
			return nil, fmt.Errorf("renaming what a state records: two commands are named %s", commands.IDString(c.ID))
		}
	}
	for k, c := range s.AllCrashes() {
		c.Instance, c.Exited = n.guid(c.Instance), n.guid(c.Exited)
		if _, twice := t.crashes.Set(&crashRec{key: n.key(k), Crash: c}); twice {
			return nil, fmt.Errorf("renaming what a state records: two apps are named %s", n.key(k))
		}
	}
	for m := range s.allMarks() {
		m.key, m.guid = n.key(m.key), n.guid(m.guid)
		if _, twice := t.marks.Set(m); twice {
			return nil, fmt.Errorf("renaming what a state records: two instances are named %s", m.guid)
		}
	}
	for _, h := range s.holds {
		t.holds = append(t.holds, n.Hold(h))
	}
	slices.SortFunc(t.holds, func(a, b Hold) int { return cmp.Compare(a.Name, b.Name) })
	for i := range s.staged {
		t.staged = append(t.staged, n.staged(&s.staged[i]))
	}
	var snapshot bytes.Buffer
	if err := t.WriteSnapshot(&snapshot); err != nil {
		return nil, fmt.Errorf("renaming what a state records: %w", err)
	}
	renamed, _, err := restore(&snapshot) // the hash in its header is of no state
	if err != nil {
		return nil, fmt.Errorf("renaming what a state records: %w", err)
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
		c.Upserts[i].Key = n.key(c.Upserts[i].Key)
	}
	for i := range c.Removes {
		c.Removes[i] = n.key(c.Removes[i])
	}
	return c
}
