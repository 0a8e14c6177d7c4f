package reconcile

import (
	"fmt"
	"maps"
	"testing"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// runningState is a record with one app that is desired in version v2 with a number of instances, and with instances as
// "guid version index STATE". An instance with a number sign behind its state has been claimed for a stop.
func runningState(t *testing.T, wanted uint32, instances ...string) *raftfsm.State {
	t.Helper()
	state := raftfsm.NewState()
	apply := func(at app.Time, records ...raftfsm.Record) {
		t.Helper()
		r := state.Apply(state.Index()+1, 1, raftfsm.Entry{At: at, Records: records})
		if r.Err != nil || len(r.Refused) > 0 {
			t.Fatalf("%+v", r)
		}
	}
	if wanted > 0 {
		row := desired.App{Key: runningKey("v2"), Instances: wanted, State: desired.Started, Package: desired.Staged}
		apply(1, raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{row}}, raftfsm.DesiredCommit{Generation: 1, Parts: 1})
	}
	for n, text := range instances {
		var guid, version, word string
		var index uint32
		if _, err := fmt.Sscan(text, &guid, &version, &index, &word); err != nil {
			t.Fatal(text, err)
		}
		stopped := word[len(word)-1] == '#'
		if stopped {
			word = word[:len(word)-1]
		}
		in := actual.Instance{App: runningKey(version), GUID: app.MustGUID(guid), Index: index, State: actual.StateOf(word)}
		apply(2, raftfsm.DEAChanges{DEA: fmt.Sprintf("dea-%d", n), Upserts: []actual.Instance{in}})
		if !stopped {
			continue
		}
		c := commands.Command{ID: commands.ID{byte(n + 1)}, Action: commands.Stop, App: in.App, Index: index, Instance: in.GUID, Reason: commands.ReasonExtra, State: commands.Pending}
		apply(3, raftfsm.CommandsScheduled{Commands: []commands.Command{c}})
		apply(4, raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{{ID: c.ID, Term: 1, Basis: state.Basis(in.App, index)}}})
	}
	return state.Freeze()
}

func runningKey(version string) app.Key {
	return app.Key{Droplet: app.MustGUID("d"), Version: app.MustGUID(version)}
}

// The counts answer what a Cloud Controller asks before it starts or stops an instance (N18, N20).
func TestRunningAnswersTheChecksOfTheCloudController(t *testing.T) {
	for _, tt := range []struct {
		name      string
		wanted    uint32
		instances []string
		cmd       string // start VERSION INDEX, or stop VERSION GUID
		want      map[string]int
	}{
		{"nothing runs", 2, nil, "start v2 0", map[string]int{"v2": 0}},
		{"the other index runs", 2, []string{"a v2 1 STARTING"}, "start v2 0", map[string]int{"v2": 1}},
		{"W46 a crashed instance does not run", 2, []string{"a v2 0 CRASHED", "b v2 1 RUNNING"}, "start v2 0", map[string]int{"v2": 1}},
		{"W52 an evacuating instance fills no index for its replacement", 2,
			[]string{"a v2 0 EVACUATING", "b v2 1 RUNNING"}, "start v2 0", map[string]int{"v2": 1}},
		{"a surplus instance serves for no missing index", 2,
			[]string{"a v2 5 RUNNING", "b v2 6 RUNNING"}, "start v2 0", map[string]int{"v2": 0}},
		{"a second copy serves for no missing index", 2,
			[]string{"a v2 1 RUNNING", "b v2 1 RUNNING"}, "start v2 0", map[string]int{"v2": 1}},
		{"R63 an instance that is STARTING for too long is replaced", 2,
			[]string{"a v2 0 STARTING", "b v2 1 RUNNING"}, "start v2 0", map[string]int{"v2": 1}},
		{"another version is told apart", 2, []string{"a v1 0 RUNNING", "b v1 1 RUNNING"}, "start v2 0", map[string]int{"v1": 2, "v2": 0}},

		{"R18 a surplus instance", 2, []string{"a v2 0 RUNNING", "b v2 1 RUNNING", "c v2 2 RUNNING"}, "stop v2 c", map[string]int{"v2": 3}},
		{"R20 a duplicate", 1, []string{"a v2 0 RUNNING", "b v2 0 STARTING"}, "stop v2 b", map[string]int{"v2": 2}},
		{"R26 an evacuating instance counts at its own stop", 1,
			[]string{"a v2 0 EVACUATING", "b v2 0 RUNNING"}, "stop v2 a", map[string]int{"v2": 2}},
		{"R26 others that evacuate still serve", 2,
			[]string{"a v2 0 EVACUATING", "b v2 0 RUNNING", "c v2 1 EVACUATING"}, "stop v2 a", map[string]int{"v2": 3}},
		{"R28 nothing would be left", 1, []string{"a v2 0 EVACUATING"}, "stop v2 a", map[string]int{"v2": 1}},
		{"R64 an instance in an unknown state counts at its own stop", 1,
			[]string{"a v2 0 RUNNING", "b v2 1 SLEEPING", "c v2 2 SLEEPING"}, "stop v2 b", map[string]int{"v2": 2}},
		{"what other stops end is not left", 2,
			[]string{"a v2 0 RUNNING", "b v2 1 RUNNING", "c v2 2 RUNNING#", "d v2 3 RUNNING#"}, "stop v2 d", map[string]int{"v2": 3}},
		{"R17 an old version", 2, []string{"a v1 0 RUNNING", "b v2 0 RUNNING", "c v2 1 STARTING"}, "stop v1 a", map[string]int{"v1": 1, "v2": 2}},
		{"R17 nothing of the new one runs", 2, []string{"a v1 0 RUNNING", "b v2 0 CRASHED"}, "stop v1 a", map[string]int{"v1": 1, "v2": 0}},
		{"R16 an app that is not desired", 0, []string{"a v1 0 RUNNING", "b v1 1 RUNNING"}, "stop v1 a", map[string]int{"v1": 2}},
	} {
		view := runningState(t, tt.wanted, tt.instances...)
		var action, version, target string
		if _, err := fmt.Sscan(tt.cmd, &action, &version, &target); err != nil {
			t.Fatal(err)
		}
		c := commands.Command{ID: commands.ID{99}, Action: commands.Start, App: runningKey(version)}
		if action == "stop" {
			c.Action, c.Instance = commands.Stop, app.MustGUID(target)
			claimed := false // the stop has been claimed when it is published
			for _, o := range view.Commands(c.App) {
				claimed = claimed || o.Instance == c.Instance
			}
			if !claimed {
				for i, text := range tt.instances {
					if text[:1] == target {
						tt.instances[i] += "#"
					}
				}
				view = runningState(t, tt.wanted, tt.instances...)
			}
		}
		got := map[string]int{}
		r := Running(view, []commands.Command{c})[0]
		for _, v := range r.Counts {
			got[v.Version.String()] = v.Instances
		}
		if !maps.Equal(got, tt.want) {
			t.Errorf("%s: %s says %v, want %v", tt.name, tt.cmd, got, tt.want)
		}
		if wanted := (tt.wanted > 0); wanted != (r.Desired == app.MustGUID("v2")) || wanted == r.Desired.IsZero() {
			t.Errorf("%s: the desired version is %s", tt.name, r.Desired)
		}
	}
}

// A batch has commands of several apps; each gets what runs of its own.
func TestRunningOfABatch(t *testing.T) {
	view := runningState(t, 2, "a v2 0 RUNNING", "b v1 0 RUNNING")
	other := app.Key{Droplet: app.MustGUID("other"), Version: app.MustGUID("v2")}
	late := commands.Command{Action: commands.Start, App: runningKey("v2"), Index: 1, Reason: commands.ReasonCrashed, CreatedAt: 5, DueAt: 6}
	soon := late
	soon.DueAt = 5
	r := Running(view, []commands.Command{late, {Action: commands.Start, App: other}, soon})
	if len(r) != 3 || len(r[0].Counts) != 2 || r[0].Counts[1].Instances != 1 || !r[1].Desired.IsZero() || len(r[1].Counts) != 0 {
		t.Errorf("%+v", r)
	}
	if !r[0].Flapping || r[2].Flapping {
		t.Errorf("flapping %v after a delay, %v without", r[0].Flapping, r[2].Flapping)
	}
}
