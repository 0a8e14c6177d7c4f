package raftfsm

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hm/commands"
	"hm/internal/app"
)

// otherNames returns Names that replace all names of a state, and Names that restore them.
func otherNames() (there, back Names) {
	guids, deas, ids, holds := map[app.GUID]app.GUID{}, map[string]string{}, map[commands.ID]commands.ID{}, map[string]Hold{}
	there = Names{
		GUID: func(g app.GUID) app.GUID {
			b, form := g.Binary()
			for i := range b {
				b[i] ^= 0xa5
			}
			to := app.FromBinary(b, form)
			if form == 0 {
				to = app.MustGUID(fmt.Sprintf("%x", g.String()))
			}
			guids[to] = g
			return to
		},
		DEA: func(id string) string {
			to := fmt.Sprintf("%x", id) // has another order than the DEA records
			deas[to] = id
			return to
		},
		Command: func(id commands.ID) commands.ID {
			to := id
			to[0] ^= 0xff
			ids[to] = id
			return to
		},
		Hold: func(h Hold) Hold {
			to := Hold{Name: fmt.Sprintf("%x", h.Name), SetAt: h.SetAt, Until: h.Until}
			holds[to.Name] = h
			return to
		},
		Source: "elsewhere",
	}
	back = Names{
		GUID:    func(g app.GUID) app.GUID { return guids[g] },
		DEA:     func(id string) string { return deas[id] },
		Command: func(id commands.ID) commands.ID { return ids[id] },
		Hold:    func(h Hold) Hold { return holds[h.Name] },
	}
	return there, back
}

// thereAndBack renames a state and checks that renaming it back gives the same state. It returns the renamed state.
func thereAndBack(t interface {
	Fatal(...any)
	Errorf(string, ...any)
}, s *State) *State {
	there, back := otherNames()
	back.Source = s.DesiredMeta().Source
	renamed, err := s.Freeze().Renamed(there)
	if err != nil {
		t.Fatal(err)
	}
	same, err := renamed.Renamed(back)
	if err != nil {
		t.Fatal(err)
	}
	if same.Hash() != s.Hash() {
		t.Errorf("renamed there and back, the state is\n%s\nand was\n%s", inventory(same), inventory(s))
	}
	return renamed
}

func TestRenamed(t *testing.T) {
	thereAndBack(t, NewState())
	thereAndBack(t, newFleet(400, 40).state())
	s := sampleState(t)
	renamed := thereAndBack(t, s)
	text := inventory(renamed)
	for h := range s.Handles() {
		if k, ok := s.KeyOf(Handle(h)); ok && (strings.Contains(text, k.Droplet.String()) || strings.Contains(text, k.Version.String())) {
			t.Errorf("app %s is still in\n%s", k, text)
		}
	}
	for d := range s.DEAs() {
		for _, in := range s.DEAInstances(nil, d.ID) {
			if strings.Contains(text, in.GUID.String()) {
				t.Errorf("instance %s is still in\n%s", in.GUID, text)
			}
		}
		if _, ok := renamed.DEA(d.ID); ok {
			t.Errorf("DEA %s is still there", d.ID)
		}
	}
	for c := range s.AllCommands() {
		if strings.Contains(text, c.ID.String()) {
			t.Errorf("command %s is still in\n%s", c.ID.String(), text)
		}
	}
	if got := renamed.DesiredMeta().Source; got != "elsewhere" {
		t.Errorf("the source is %q", got)
	}
}

// If two names are mapped to one name, the renamed state would be wrong.
func TestRenamedRefusesEqualNames(t *testing.T) {
	s := sampleState(t)
	for what, spoil := range map[string]func(*Names){
		"DEAs":     func(n *Names) { n.DEA = func(string) string { return "the-same" } },
		"guids":    func(n *Names) { n.GUID = func(app.GUID) app.GUID { return testGUID('a', 1, 'u') } },
		"commands": func(n *Names) { n.Command = func(commands.ID) commands.ID { return testID(1) } },
	} {
		n, _ := otherNames()
		spoil(&n)
		if _, err := s.Renamed(n); err == nil || !strings.Contains(err.Error(), "renaming a recorded state") {
			t.Errorf("equal names of %s: %v", what, err)
		}
	}
}

func TestRenamedKeepsTheRestOfTheState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &entryGenerator{t: rt, s: NewState(), lower: true} // Renamed drops the letter case
		for i := range rapid.IntRange(1, 30).Draw(rt, "entries") {
			w.s.Apply(uint64(i+1), 1, w.entry())
		}
		thereAndBack(rt, w.s)
	})
}
