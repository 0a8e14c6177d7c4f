package reconcile

import (
	"strings"
	"testing"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// stillLog has one view and a clock that stands still.
type stillLog struct {
	Log
	view *raftfsm.State
}

func (l stillLog) View() *raftfsm.State { return l.view }
func (l stillLog) Now() app.Time        { return 1000 }

// A command is spelled as the Cloud Controller spells the app, and where that says nothing, as the
// DEA does: neither finds it by another spelling.
func TestCommandsAreSpelledAsTheirReadersSpell(t *testing.T) {
	const d, other, v1, v2, i = "6f1c2d3e-0a1b-4c5d-8e9f-00112233aabb", "7f1c2d3e-0a1b-4c5d-8e9f-00112233aabb", "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002", "cccccccc000040008000000000000003"
	capitals := func(text string) app.LetterCase {
		return app.LetterCaseOf(app.MustGUID(text), strings.ToUpper(text))
	}
	key := func(droplet, version string) app.Key {
		return app.Key{Droplet: app.MustGUID(droplet), Version: app.MustGUID(version)}
	}
	// The Cloud Controller writes the droplet and its version in capitals. The DEA writes small
	// letters, but for another version, another app, and its instances.
	spelled := map[app.GUID]app.LetterCase{
		app.MustGUID(v2): capitals(v2), app.MustGUID(other): capitals(other), app.MustGUID(i): capitals(i),
	}
	state := raftfsm.NewState()
	row := desired.App{Key: key(d, v1), Instances: 1, State: desired.Started, Package: desired.Staged, LetterCase: app.KeyLetterCase{Droplet: capitals(d), Version: capitals(v1)}}
	instance := func(k app.Key) actual.Instance {
		return actual.Instance{App: k, GUID: app.MustGUID(i), State: actual.Running}
	}
	for _, k := range []app.Key{key(d, v1), key(d, v2), key(other, v2)} {
		dea := "dea-" + k.String()
		r := state.Apply(state.Index()+1, 1, raftfsm.Entry{At: 1, Records: []raftfsm.Record{raftfsm.DEAChanges{DEA: dea, Upserts: []actual.Instance{instance(k)}}}})
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if r := state.Apply(state.Index()+1, 1, raftfsm.Entry{At: 2, Records: []raftfsm.Record{
		raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{row}}, raftfsm.DesiredCommit{Generation: 1, Parts: 1},
	}}); r.Err != nil || len(r.Refused) > 0 {
		t.Fatal(r)
	}
	log := stillLog{view: state.Freeze()}
	intake := NewIntake(log, actual.NewLiveness(hb, 3*hb, 3*hb, 0), func() {})
	for _, k := range []app.Key{key(d, v1), key(d, v2), key(other, v2)} {
		dea := "dea-" + k.String()
		intake.Heartbeat(actual.Heartbeat{DEA: dea, Instances: []actual.Instance{instance(k)}, LetterCases: spelled}, actual.Digest{byte(len(intake.deas))})
	}
	for name, tt := range map[string]struct {
		cmd  commands.Command
		want [3]string
	}{
		"a start":                       {commands.Command{Action: commands.Start, App: key(d, v1)}, [3]string{strings.ToUpper(d), strings.ToUpper(v1), ""}},
		"a stop":                        {commands.Command{Action: commands.Stop, App: key(d, v1), Instance: app.MustGUID(i)}, [3]string{strings.ToUpper(d), strings.ToUpper(v1), strings.ToUpper(i)}},
		"a stop of another version":     {commands.Command{Action: commands.Stop, App: key(d, v2), Instance: app.MustGUID(i)}, [3]string{strings.ToUpper(d), strings.ToUpper(v2), strings.ToUpper(i)}},
		"a stop of what is not desired": {commands.Command{Action: commands.Stop, App: key(other, v2), Instance: app.MustGUID(i)}, [3]string{strings.ToUpper(other), strings.ToUpper(v2), strings.ToUpper(i)}},
		"of nothing that is recorded":   {commands.Command{Action: commands.Stop, App: key(other, v1), Instance: app.MustGUID(i)}, [3]string{other, v1, i}},
	} {
		s := intake.Spelling(log.view, tt.cmd)
		if got := [3]string{s.Droplet(tt.cmd), s.Version(tt.cmd), s.InstanceGUID(tt.cmd)}; got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
