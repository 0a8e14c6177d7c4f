package api_test

import (
	"strings"
	"testing"

	"hm/internal/api"
)

func TestParseTarget(t *testing.T) {
	for _, tc := range []struct{ arg, index, guid, wantIndex, hint string }{
		{"web", "", "web", "", ""},
		{"web/3", "", "web", "3", "say --index all"},
		{"web/3", "all", "web/3", "", ""},
		{"web/3", "1", "web/3", "1", ""},
		{"web/x", "", "web/x", "", `because "x" is not a number from 0 to 65535`},
		{"web/65536", "", "web/65536", "", "because"},
		{"/", "", "/", "", "because"},
	} {
		got, err := api.ParseTarget(tc.arg, tc.index)
		if err != nil || got.GUID != tc.guid || got.Index != tc.wantIndex || !strings.Contains(got.Hint(), tc.hint) || (got.Hint() == "") != (tc.hint == "") {
			t.Errorf("%q with --index %q is %+v, %v", tc.arg, tc.index, got, err)
		}
	}
	for _, index := range []string{"x", "-1", "65536", "0x1"} {
		if got, err := api.ParseTarget("web", index); err == nil {
			t.Errorf("--index %q is %+v", index, got)
		}
	}
}
