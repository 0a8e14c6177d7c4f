package cc

import (
	"testing"

	"hm/desired"
	"hm/internal/app"
)

func TestDecideHealthStart(t *testing.T) {
	for _, tc := range []struct {
		name    string
		alter   func(*Row)
		known   bool
		version string
		running map[string]int
		check   string
	}{
		{"accepted", nil, true, "v1", map[string]int{"v1": 1}, CheckNone},
		{"none runs", nil, true, "v1", nil, CheckNone},
		{"others do not count", nil, true, "v1", map[string]int{"v2": 9}, CheckNone},
		{"unknown", nil, false, "v1", nil, CheckUnknownApp},
		{"stopped", func(r *Row) { r.State = desired.Stopped }, true, "v2", nil, CheckNotStarted},
		{"another version", nil, true, "v2", map[string]int{"v2": 9}, CheckVersion},
		{"not staged yet", func(r *Row) { r.Package, r.Droplet = desired.Pending, false }, true, "v1", map[string]int{"v1": 9}, CheckNoDroplet},
		{"staged again is no reason", func(r *Row) { r.Package = desired.Pending }, true, "v1", nil, CheckNone},
		{"failed without a droplet is no reason", func(r *Row) { r.Package, r.Droplet = desired.Failed, false }, true, "v1", nil, CheckNone},
		{"on Diego is no reason", func(r *Row) { r.Diego = true }, true, "v1", nil, CheckNone},
		{"enough", nil, true, "v1", map[string]int{"v1": 2}, CheckEnoughRun},
		{"more than enough", nil, true, "v1", map[string]int{"v1": 3}, CheckEnoughRun},
		{"none wanted", func(r *Row) { r.Instances = 0 }, true, "v1", nil, CheckEnoughRun},
	} {
		row := goodRow()
		if tc.alter != nil {
			tc.alter(&row)
		}
		accept, check := decideHealthStart(row, tc.known, app.MustGUID(tc.version), tc.running)
		if check != tc.check || accept != (tc.check == CheckNone) {
			t.Errorf("%s: accept %v, check %q, want %q", tc.name, accept, check, tc.check)
		}
	}
}

func TestDecideHealthStop(t *testing.T) {
	for _, tc := range []struct {
		name    string
		alter   func(*Row)
		known   bool
		asked   map[string]int
		running map[string]int
		check   string
		accept  bool
	}{
		{"one too many", nil, true, map[string]int{"v1": 1}, map[string]int{"v1": 3}, CheckNone, true},
		{"just enough", nil, true, map[string]int{"v1": 1}, map[string]int{"v1": 2}, CheckTooFew, false},
		{"two asked", nil, true, map[string]int{"v1": 2}, map[string]int{"v1": 3}, CheckTooFew, false},
		{"not counted", nil, true, map[string]int{"v1": 1}, nil, CheckTooFew, false},
		{"stopped", func(r *Row) { r.State = desired.Stopped }, true, map[string]int{"v1": 2}, map[string]int{"v1": 2}, CheckNone, true},
		{"staging failed is no reason", func(r *Row) { r.Package = desired.Failed }, true, map[string]int{"v1": 1}, map[string]int{"v1": 2}, CheckTooFew, false},
		{"old version, new one runs", nil, true, map[string]int{"v0": 2}, map[string]int{"v0": 2, "v1": 1}, CheckNone, true},
		{"old version, new one does not run", nil, true, map[string]int{"v0": 1}, map[string]int{"v0": 2}, CheckNoneRuns, false},
		{"old version of a stopped app", func(r *Row) { r.State = desired.Stopped }, true, map[string]int{"v0": 1}, map[string]int{"v0": 2}, CheckNoneRuns, false},
		{"both, old refused", nil, true, map[string]int{"v0": 1, "v1": 1}, map[string]int{"v0": 2}, CheckNoneRuns, false},
		{"both, new refused", nil, true, map[string]int{"v0": 1, "v1": 1}, map[string]int{"v0": 2, "v1": 2}, CheckTooFew, false},
		{"unknown", nil, false, map[string]int{"v1": 1}, nil, CheckUnknownApp, true},
		{"nothing asked (W35)", nil, true, nil, nil, CheckNone, true},
	} {
		row := goodRow()
		if tc.alter != nil {
			tc.alter(&row)
		}
		asked := map[app.GUID]int{}
		for v, n := range tc.asked {
			asked[app.MustGUID(v)] = n
		}
		accept, check := decideHealthStop(row, tc.known, asked, tc.running)
		if check != tc.check || accept != tc.accept {
			t.Errorf("%s: accept %v, check %q, want %v, %q", tc.name, accept, check, tc.accept, tc.check)
		}
	}
}
