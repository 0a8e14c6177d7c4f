package liveview

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
)

func press(s Screen, f Frame, keys ...string) (Screen, Effect) {
	var e Effect
	for _, k := range keys {
		text := k
		if len([]rune(k)) > 1 {
			text = ""
		}
		f = answered(f, s.Query())
		s, e = s.Press(k, text, f, 80, 24, f.Keys)
	}
	return s, e
}

// Enter opens what is under the cursor, and Esc leads back to it, with the cursor where it was.
func TestBackLeadsToWhereOneWas(t *testing.T) {
	f := massLoss()
	s, _ := press(Screen{}, f, "2", "down", "down", "down")
	at := s.cursor
	s, _ = press(s, f, "enter")
	if q := s.Query(); q.Page != PageApp || q.ID != f.Apps.Items[2].App {
		t.Fatalf("Enter on the third app opens %+v", q)
	}
	s, _ = press(s, f, "v")
	if q := s.Query(); q.Page != PageDetail || q.ID != "app "+f.Apps.Items[2].App {
		t.Fatalf("v on the app opens %+v", q)
	}
	if s, _ = press(s, f, "esc", "esc"); s.Query().Page != PageApps || s.cursor != at {
		t.Errorf("back is %+v at %q, not at %q", s.Query(), s.cursor, at)
	}
	if s, _ = press(s, f, "esc", "esc", "esc"); s.Query().Page != Overview {
		t.Errorf("the way back ends at %+v", s.Query())
	}
	for i := range 10 * maxBack {
		s, _ = press(s, f, fmt.Sprint(i%6+1))
	}
	if len(s.back) > maxBack {
		t.Errorf("the way back has %d pages", len(s.back))
	}
}

// The cursor stays on the same thing when the list changes its order, and goes where the thing was if it is gone.
func TestTheCursorFollowsItsRow(t *testing.T) {
	f := massLoss()
	s, _ := press(Screen{}, f, "2", "down", "down")
	second := f.Apps.Items[1]
	f.Apps.Items = append([]api.AppItem{}, f.Apps.Items...)
	f.Apps.Items[1], f.Apps.Items[9] = f.Apps.Items[9], f.Apps.Items[1]
	if s, _ = press(s, f, "enter"); s.Query().ID != second.App {
		t.Errorf("after a change of the order Enter opens %s, not %s", s.Query().ID, second.App)
	}
}

// What is typed into a filter is text, also q; Enter applies it, Esc does not, and Esc afterwards takes it away.
func TestFilterIsTyped(t *testing.T) {
	f := massLoss()
	s, e := press(Screen{}, f, "3", "/", "q", "p", "1", "backspace", "2")
	if e != (Effect{}) || !s.Typing() || s.Query().Filter != "" {
		t.Fatalf("while it is typed: %+v, %+v", e, s.Query())
	}
	applied, _ := press(s, f, "enter")
	if applied.Query().Filter != "qp2" {
		t.Errorf("applied is %q", applied.Query().Filter)
	}
	if s, _ = press(s, f, "esc"); s.Query().Filter != "" || s.Typing() {
		t.Errorf("after Esc: %+v", s.Query())
	}
	if s, _ = press(applied, f, "esc"); s.Query().Filter != "" || s.Query().Page != PageDEAs {
		t.Errorf("Esc on a filtered list: %+v", s.Query())
	}
	s, _ = press(Screen{}, f, "3", "/")
	if s = s.Paste("a\x1b[31m" + strings.Repeat("b", 20)); s.typed != "a [31m"+strings.Repeat("b", 20) {
		t.Errorf("pasted is %q", s.typed)
	}
	if s = s.Paste(strings.Repeat("c", maxTyped)); len(s.typed) > maxTyped {
		t.Errorf("%d bytes are typed", len(s.typed))
	}
}

// A change needs its confirmation: no key that may be pressed by mistake makes one.
func TestChangesAreConfirmed(t *testing.T) {
	f := massLoss()
	for name, tc := range map[string]struct {
		frame Frame
		keys  []string
		want  *Change
	}{
		"pause":              {f, []string{"p", "w", "h", "y", "enter"}, &Change{Pause: true, Reason: "why"}},
		"pause, esc":         {f, []string{"p", "w", "esc"}, nil},
		"release":            {f, []string{"x", "y"}, &Change{Release: "mass-loss"}},
		"release, enter":     {f, []string{"x", "enter"}, nil},
		"release, esc, y":    {f, []string{"x", "esc", "y"}, nil},
		"release the chosen": {f, []string{"6", "end", "x", "y"}, &Change{Release: "mass-loss"}},
		"nothing to release": {steady(), []string{"x", "y"}, nil},
		"resume":             {pausedFrame(), []string{"p", "y"}, &Change{Release: "paused"}},
		"which":              {pausedFrame(), []string{"x", "2", "y"}, &Change{Release: "mass-loss"}},
		"which, none":        {pausedFrame(), []string{"x", "7", "y"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := press(Screen{}, tc.frame, tc.keys...)
			if (e.Change == nil) != (tc.want == nil) || e.Change != nil && *e.Change != *tc.want {
				t.Errorf("%v asks for %+v, want %+v", tc.keys, e.Change, tc.want)
			}
		})
	}
}

func pausedFrame() Frame {
	f := steady()
	f.Status.Gate = api.Gate{Reasons: []string{"paused", "hold:mass-loss"}, Since: ago(time.Minute)}
	f.Status.Holds = []api.Hold{{Name: "paused", By: "amy@desk", SetAt: ago(time.Minute)}, {Name: "mass-loss", By: "hm", SetAt: ago(time.Minute)}}
	return f
}

// The keys of hm dev come before those of the screen, and are text while something is typed.
func TestOwnKeysComeFirst(t *testing.T) {
	f := busy()
	if _, e := press(Screen{}, f, "k"); e.Action != KillDEA {
		t.Errorf("k asks for %+v", e)
	}
	if s, e := press(Screen{}, f, "2", "/", "k"); e.Action != "" || s.typed != "k" {
		t.Errorf("k in a filter asks for %+v", e)
	}
	for _, k := range DevKeys {
		if a, ok := append(append(Keys{}, pageKeys...), lookKeys...).ActionOf(k.Name); ok && len(k.Name) == 1 && k.Name != "k" {
			t.Errorf("key %s of hm dev hides %q of the screen", k.Name, a)
		}
	}
}

// A frame is old as soon as a question fails, or when the answer is late.
func TestBlindness(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	for name, tc := range map[string]struct {
		s     *Source
		blind bool
		since time.Time
	}{
		"a recording":     {nil, false, time.Time{}},
		"just answered":   {&Source{Every: 2 * time.Second, Began: at(-9), At: at(0), Now: at(1)}, false, time.Time{}},
		"late":            {&Source{Every: 2 * time.Second, Began: at(-9), At: at(0), Now: at(7)}, true, at(0)},
		"refused":         {&Source{Every: 2 * time.Second, Began: at(-9), At: at(0), Now: at(1), Error: "no"}, true, at(0)},
		"not yet":         {&Source{Every: 2 * time.Second, Began: at(0), Now: at(1)}, false, time.Time{}},
		"never an answer": {&Source{Every: 2 * time.Second, Began: at(0), Now: at(7)}, true, at(0)},
	} {
		if since, blind := tc.s.Blind(); blind != tc.blind || !since.Equal(tc.since) {
			t.Errorf("%s: blind %v since %s", name, blind, since)
		}
	}
}

// Periods without commands count as well, and what is too old to belong to one is left out.
func TestRates(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	r := NewRates(10*time.Second).Add(at(3), 1, 0, 0).Add(at(9), 1, 0, 0)
	old := r
	r = r.Until(at(35)).Add(at(12), 0, 5, 0).Add(at(-20), 9, 9, 9)
	got := ""
	for _, p := range r.periods {
		got += fmt.Sprintf("%s %d %d, ", p.At.Format("05"), p.Sent, p.Confirmed)
	}
	if want := "00 2 0, 10 0 5, 20 0 0, 30 0 0, "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(old.periods) != 1 || r.newest().At != at(20) {
		t.Errorf("the old rates have %d periods; the newest whole period is %s", len(old.periods), r.newest().At)
	}
	if n := len(r.Until(at(100_000)).periods); n > HistoryLength {
		t.Errorf("%d periods are kept", n)
	}
	if none := (Rates{}).Add(noon, 1, 1, 1); len(none.periods) != 0 {
		t.Error("without a period something is counted")
	}
}

// A lost zone is one line among the newest events, whatever happened at the same time.
func TestAlikeEventsAreGrouped(t *testing.T) {
	var all []Event
	for i := range 20 {
		kind := []string{"dea.lost", "command.scheduled"}[i%2]
		all = append(all, Event{At: noon.Add(-time.Duration(i) * time.Millisecond), Kind: kind})
	}
	all = append(all, Event{At: noon.Add(-time.Minute), Kind: "dea.lost"}, Event{At: noon.Add(-time.Hour), Text: "you"}, Event{At: noon.Add(-time.Hour), Text: "you"})
	got := ""
	for _, g := range grouped(all, 10) {
		got += fmt.Sprintf("%d %s, ", g.n, g.Kind)
	}
	if want := "10 dea.lost, 10 command.scheduled, 1 dea.lost, 1 , 1 , "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(grouped(all, 1)); n != 1 {
		t.Errorf("%d groups of at most 1", n)
	}
}

// The document has the keys as they are.
func TestKeysAreDocumented(t *testing.T) {
	const path = "../../docs/top.md"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const from, to = "<!-- keys: go test ./internal/liveview -update -->\n", "<!-- end of keys -->"
	before, rest, found := strings.Cut(string(raw), from)
	_, after, closed := strings.Cut(rest, to)
	if !found || !closed {
		t.Fatalf("%s has no place for the keys", path)
	}
	want := before + from + "\n" + KeyTable() + to + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(raw) {
		t.Errorf("%s has other keys (-update rewrites them)", path)
	}
}
