package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/raftfsm"
)

// waitOf gives what the only outstanding command of an app waits for, by GET /v1/commands. GET /v1/apps/{guid} must say
// the same.
func waitOf(t *testing.T, w *apitest.Node, k app.Key) string {
	t.Helper()
	base := serve(t, w.Options())
	var list []api.Command
	var one api.App
	for path, v := range map[string]any{"/v1/commands?app=": &list, "/v1/apps/": &one} {
		if _, raw := ask(t, "GET", base+path+k.Droplet.String(), ""); json.Unmarshal(raw, v) != nil {
			t.Fatalf("%s", raw)
		}
	}
	if len(list) != 1 || len(one.Versions) != 1 || len(one.Versions[0].Commands) != 1 {
		t.Fatalf("commands: %+v, %+v", list, one)
	}
	if got := one.Versions[0].Commands[0].WaitsFor; got != list[0].WaitsFor {
		t.Errorf("the app's command waits for %q, the list's for %q", got, list[0].WaitsFor)
	}
	return list[0].WaitsFor
}

// TestACommandSaysWhatItWaitsFor: in each state that it can be in.
func TestACommandSaysWhatItWaitsFor(t *testing.T) {
	due := apitest.Start.Add(66 * time.Second) // the start of Gappy is due then
	for _, c := range []struct {
		name   string
		app    app.Key
		change func(*apitest.Node)
		want   string
	}{
		{"in its grace", apitest.Gappy, nil, "missing for less than the grace period"},
		{"in its back-off", apitest.Crashy, nil, "crashed repeatedly: restart is delayed"},
		{"sent", apitest.Gone, nil, "the command was sent: waiting for its effect"},
		{"due", apitest.Gappy, func(w *apitest.Node) { w.At = due }, "nothing: it is due, and is sent next"},
		{"due, and the throttle is used up", apitest.Gappy, func(w *apitest.Node) { w.At, w.Over.StartsLimited = due, true },
			"a limit: no more starts are sent now (policy.start_limit, or a hold)"},
		{"due, and stops are limited", apitest.Gappy, func(w *apitest.Node) { w.At, w.Over.StopsLimited = due, true },
			"nothing: it is due, and is sent next"},
		{"due, and the gate is closed", apitest.Gappy, func(w *apitest.Node) { w.At = due; w.CloseGate("nats-down", "actual-stale") },
			"the gate: nats-down, actual-stale"},
		{"not needed any more", apitest.Gappy, func(w *apitest.Node) {
			w.Must(w.At, raftfsm.DEAChanges{DEA: "1-dea-two", Upserts: []actual.Instance{apitest.Instance(apitest.Gappy, 14, 2, actual.Running)}})
		}, "nothing: it is not needed any more, and is dropped next"},
		{"sent, and its effect is there", apitest.Gone, func(w *apitest.Node) {
			w.Must(w.At, raftfsm.DEAChanges{DEA: "1-dea-two", Removes: []app.GUID{apitest.Instance(apitest.Gone, 13, 0, actual.Running).GUID}})
		}, "its effect, or the end of its time: nothing else is to be done there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := apitest.Fleet()
			if c.change != nil {
				c.change(w)
			}
			if got := waitOf(t, w, c.app); got != c.want {
				t.Errorf("waits for %q, want %q", got, c.want)
			}
		})
	}
}
