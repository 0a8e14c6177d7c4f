package sim

import (
	"slices"
	"testing"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
)

func TestCountBuckets(t *testing.T) {
	row := cc.Row{GUID: app.MustGUID("app"), Version: app.MustGUID("v1"), Instances: 2, State: desired.Started,
		Package: desired.Staged, Droplet: true}
	const here, away = false, true
	in := func(version string, index uint32, state uint8, cutOff bool) fleet.Instance {
		return fleet.Instance{App: app.Key{Version: app.MustGUID(version)}, Index: index, State: actual.State(state),
			CutOff: cutOff}
	}
	for _, tc := range []struct {
		name  string
		known bool
		alter func(*cc.Row)
		ins   []fleet.Instance
		want  tally
	}{
		{"settled", true, nil, []fleet.Instance{in("v1", 0, 2, here), in("v1", 1, 2, here)},
			tally{apps: 1, wanted: 1, desired: 2, settled: 2, running: 2}},
		{"one missing, one crashed", true, nil, []fleet.Instance{in("v1", 0, 3, here), in("v1", 1, 2, here)},
			tally{apps: 1, wanted: 1, desired: 2, settled: 1, missing: 1, running: 1, crashed: 1}},
		{"starting is neither", true, nil, []fleet.Instance{in("v1", 0, 1, here), in("v1", 1, 2, here)},
			tally{apps: 1, wanted: 1, desired: 2, settled: 1, running: 1, starting: 1}},
		{"duplicate", true, nil, []fleet.Instance{in("v1", 0, 2, here), in("v1", 0, 1, here), in("v1", 1, 2, here)},
			tally{apps: 1, wanted: 1, desired: 2, settled: 1, duplicate: 1, running: 2, starting: 1}},
		{"evacuating", true, nil, []fleet.Instance{in("v1", 0, 4, here), in("v1", 1, 2, here)},
			tally{apps: 1, wanted: 1, desired: 2, settled: 1, running: 1, evacuating: 1}},
		{"out of range and old version", true, nil, []fleet.Instance{in("v1", 2, 2, here), in("v0", 0, 2, here)},
			tally{apps: 1, wanted: 1, desired: 2, missing: 2, undesired: 2, running: 2}},
		{"cut off", true, nil, []fleet.Instance{in("v1", 0, 2, away), in("v1", 1, 2, here)},
			tally{apps: 1, wanted: 1, desired: 2, settled: 1, missing: 1, running: 1, cutOff: 1}},
		{"stopped", true, func(r *cc.Row) { r.State = desired.Stopped }, []fleet.Instance{in("v1", 0, 2, here)},
			tally{apps: 1, undesired: 1, running: 1}},
		{"pending may run", true, func(r *cc.Row) { r.Package = desired.Pending },
			[]fleet.Instance{in("v1", 0, 2, here)}, tally{apps: 1, wanted: 1, running: 1}},
		{"unknown", false, nil, []fleet.Instance{in("v1", 0, 2, here)}, tally{undesired: 1, running: 1}},
	} {
		r := row
		if tc.alter != nil {
			tc.alter(&r)
		}
		if !tc.known {
			r = cc.Row{}
		}
		var scratch []indexTally
		if got := count(r, tc.known, slices.Values(tc.ins), &scratch); got != tc.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tc.name, got, tc.want)
		}
	}
}
