package words

import (
	"testing"
	"time"

	"hm/internal/api"
)

func TestOneSentenceAnIndex(t *testing.T) {
	at := func(d time.Duration) api.Timestamp {
		return api.Timestamp{Time: time.Unix(1_700_000_000, 0).UTC().Add(d)}
	}
	e := api.Explanation{Basis: api.Basis{At: at(0)}}
	const instance = "c0000001-0000-4000-8000-000000000001"
	missing := api.Finding{Kind: "missing", Action: "start", Evidence: "no instance is live at the index", Command: "k", Rule: "R01"}
	with := func(f api.Finding, change func(*api.Finding)) api.Finding { change(&f); return f }
	sent := []api.Command{{ID: "other", SentAt: at(-time.Hour)}, {ID: "k", SentAt: at(-9 * time.Second)}}
	waiting := func(f *api.Finding) { f.Bucket, f.DueInMS = "wait", 40_000 }
	for _, c := range []struct {
		want     string
		commands []api.Command
		findings []api.Finding
	}{
		{"index 3: it is as desired: hm does nothing.", nil, []api.Finding{{Bucket: "keep", Detail: "as desired"}}},
		{"index 3: hm leaves it as it is, because it crashed: there is nothing to stop.", nil,
			[]api.Finding{{Bucket: "keep", Rule: "R05", Detail: "crashed: there is nothing to stop"}}},
		{"index 3: hm starts it now, because no instance is live at the index.", nil,
			[]api.Finding{with(missing, func(f *api.Finding) { f.Bucket = "start" }), {Bucket: "keep"}}},
		{"index 3: hm starts it in 40s, because no instance is live at the index (the grace), unless an instance is heard there first.", nil,
			[]api.Finding{with(missing, func(f *api.Finding) { waiting(f); f.WaitsFor = "the grace" })}},
		{"index 3: hm starts it as soon as that is over, because no instance is live at the index (the replacement is starting), unless an instance is heard there first.", nil,
			[]api.Finding{with(missing, func(f *api.Finding) { f.Bucket, f.WaitsFor = "wait", "the replacement is starting" })}},
		{"index 3: hm starts it when the gate opens, because it crashed twice; the gate is closed, because somebody paused hm, and hm is in shadow mode: it decides, and sends nothing.", nil,
			[]api.Finding{with(missing, func(f *api.Finding) {
				f.Bucket, f.Kind, f.Evidence, f.HeldBy = "hold", "crashed", "crashed twice", []string{"paused", "shadow"}
			})}},
		{"index 3: hm starts it in 40s, because no instance is live at the index, unless an instance is heard there first; if the gate is still closed then (paused), that waits for the gate.", nil,
			[]api.Finding{with(missing, func(f *api.Finding) { waiting(f); f.HeldBy = []string{"paused"} })}},
		{"index 3: hm sent the start 9.0s ago, because no instance is live at the index; it has 40s to take effect.", sent,
			[]api.Finding{with(missing, waiting)}},
		{"index 3: hm could not send the start: NATS refused it; it decides anew in 40s, because no instance is live at the index.",
			[]api.Command{{ID: "k", Detail: "NATS refused it"}}, []api.Finding{with(missing, waiting)}},
		{"index 3: hm stops instance c0000001 now, because it is evacuating; hm stops instance c0000001 in 40s, because 2 instances are live at the index, unless another copy goes first.", nil,
			[]api.Finding{
				{Bucket: "stop", Kind: "evacuating", Action: "stop", Instance: instance, Evidence: "evacuating"},
				{Bucket: "wait", Kind: "duplicate", Action: "stop", Instance: instance, Evidence: "2 instances are live at the index", DueInMS: 40_000},
			}},
		{"index 3: hm does nothing, because no instance of the app was ever heard, and the app is not staged.", nil,
			[]api.Finding{with(missing, func(f *api.Finding) {
				f.Action, f.Evidence, f.WaitsFor = "none", "no instance of the app was ever heard", "the app is not staged"
			})}},
		{"index 3: hm starts it now, because the whole detail of an older node.", nil,
			[]api.Finding{with(missing, func(f *api.Finding) {
				f.Bucket, f.Evidence, f.Detail = "start", "", "the whole detail of an older node"
			})}},
	} {
		x := api.ExplainedIndex{Index: 3, Commands: c.commands, Findings: c.findings}
		if got := Sentence(e, x, "", Short).String(); got != c.want {
			t.Errorf("got\n%s, want\n%s", got, c.want)
		}
	}
	for kind := range unless {
		found := false
		for _, k := range DriftKinds {
			found = found || k == kind
		}
		if !found || len(unless) != len(DriftKinds) {
			t.Errorf("%q: the kinds of drift are %q", kind, DriftKinds)
		}
	}
}
