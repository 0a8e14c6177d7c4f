package cc

import (
	"testing"

	"hm/desired"
	"hm/internal/app"
)

// goodRow is an app for which every start is accepted and every stop refused.
func goodRow() Row {
	return Row{GUID: app.MustGUID("app"), Version: app.MustGUID("v1"), Instances: 2, State: desired.Started,
		Package: desired.Staged, Droplet: true}
}

func TestDecideStart(t *testing.T) {
	good := goodRow()
	for _, tc := range []struct {
		name    string
		alter   func(*Row)
		known   bool
		version string
		index   int
		check   string
	}{
		{"accepted", nil, true, "v1", 1, CheckNone},
		{"unknown", nil, false, "v1", 0, CheckUnknownApp},
		{"on Diego", func(r *Row) { r.Diego = true }, true, "v1", 0, CheckDiego},
		{"Diego before version", func(r *Row) { r.Diego = true }, true, "v2", 0, CheckDiego},
		{"another version", nil, true, "v2", 0, CheckVersion},
		{"version before index", nil, true, "v2", 9, CheckVersion},
		{"index at the number of instances", nil, true, "v1", 2, CheckIndex},
		{"index before droplet", func(r *Row) { r.Droplet = false }, true, "v1", 2, CheckIndex},
		{"no droplet", func(r *Row) { r.Droplet = false; r.Package = desired.Pending }, true, "v1", 0, CheckNoDroplet},
		{"pending", func(r *Row) { r.Package = desired.Pending; r.State = desired.Stopped }, true, "v1", 0,
			CheckNotStaged},
		{"failed", func(r *Row) { r.Package = desired.Failed }, true, "v1", 0, CheckNotStaged},
		{"stopped", func(r *Row) { r.State = desired.Stopped }, true, "v1", 0, CheckNotStarted},
	} {
		row := good
		if tc.alter != nil {
			tc.alter(&row)
		}
		accept, check := decideStart(row, tc.known, app.MustGUID(tc.version), tc.index)
		if check != tc.check || accept != (tc.check == CheckNone) {
			t.Errorf("%s: accept %v, check %q, want %q", tc.name, accept, check, tc.check)
		}
	}
}

func TestDecideStop(t *testing.T) {
	good := goodRow()
	for _, tc := range []struct {
		name      string
		alter     func(*Row)
		known     bool
		version   string
		index     int
		duplicate bool
		check     string
	}{
		{"refused", nil, true, "v1", 1, false, CheckNone},
		{"pending is no reason", func(r *Row) { r.Package = desired.Pending }, true, "v1", 1, false, CheckNone},
		{"unknown", nil, false, "v1", 0, true, CheckUnknownApp},
		{"on Diego", func(r *Row) { r.Diego = true; r.Package = desired.Failed }, true, "v1", 0, false, CheckDiego},
		{"staging failed", func(r *Row) { r.Package = desired.Failed }, true, "v1", 0, true, CheckStageFailed},
		{"duplicate", nil, true, "v1", 0, true, CheckDuplicate},
		{"duplicate before version", nil, true, "v2", 0, true, CheckDuplicate},
		{"another version", nil, true, "v2", 9, false, CheckVersion},
		{"index", func(r *Row) { r.State = desired.Stopped }, true, "v1", 2, false, CheckIndex},
		{"stopped", func(r *Row) { r.State = desired.Stopped }, true, "v1", 1, false, CheckStopped},
	} {
		row := good
		if tc.alter != nil {
			tc.alter(&row)
		}
		accept, check := decideStop(row, tc.known, app.MustGUID(tc.version), tc.index, tc.duplicate)
		if check != tc.check || accept != (tc.check != CheckNone) {
			t.Errorf("%s: accept %v, check %q, want %q", tc.name, accept, check, tc.check)
		}
	}
}
