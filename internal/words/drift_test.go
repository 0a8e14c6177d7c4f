package words

import (
	"testing"

	"hm/internal/api"
)

func TestDriftSaysHowOldItIs(t *testing.T) {
	for _, x := range []struct {
		counts api.DriftCounts
		want   string
	}{
		{api.DriftCounts{}, "none"},
		{api.DriftCounts{AgeMS: 1_999}, "none"},
		{api.DriftCounts{AgeMS: 2_000}, "none; counted 2.0s earlier"},
		{api.DriftCounts{Missing: 3, Due: 1, AgeMS: 61_000}, "3: 3 missing; 1 acted on now; counted 1m01s earlier"},
	} {
		if got := Drift(x.counts).String(); got != x.want {
			t.Errorf("%+v: %q, want %q", x.counts, got, x.want)
		}
	}
}
