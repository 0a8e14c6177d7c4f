package liveview

import (
	"testing"

	tea "charm.land/bubbletea/v2"
)

// fakeViewModel records what the keys ask for.
type fakeViewModel struct {
	done    bool
	actions []Action
}

func (m *fakeViewModel) Frame() Frame             { return Frame{Title: "fake"} }
func (m *fakeViewModel) Keys() Keys               { return DevKeys }
func (m *fakeViewModel) Do(a Action)              { m.actions = append(m.actions, a) }
func (m *fakeViewModel) Changed() <-chan struct{} { return nil }
func (m *fakeViewModel) Done() bool               { return m.done }

func TestProgram(t *testing.T) {
	m := &fakeViewModel{}
	p := &program{model: m}
	if v := p.View(); v.Content != "" || !v.AltScreen {
		t.Errorf("before the size is known it draws %q", v.Content)
	}
	for key, want := range map[string]bool{"q": true, "z": false, "k": false} {
		_, cmd := p.Update(tea.KeyPressMsg{Code: rune(key[0]), Text: key})
		if quits := cmd != nil; quits != want {
			t.Errorf("key %s: quits is %v, want %v", key, quits, want)
		}
	}
	if len(m.actions) != 1 || m.actions[0] != KillDEA {
		t.Errorf("key k caused the actions %v", m.actions)
	}
	if _, cmd := p.Update(refresh{}); cmd != nil {
		t.Error("it quits before the view model is done")
	}
	m.done = true
	if _, cmd := p.Update(refresh{}); cmd == nil {
		t.Error("it does not quit when the view model is done")
	}
}
