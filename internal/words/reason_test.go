package words

import (
	"slices"
	"strings"
	"testing"

	"hm/internal/api"
)

// TestEveryGateReasonIsExplained has each reason that the metrics name.
func TestEveryGateReasonIsExplained(t *testing.T) {
	for _, reason := range api.GateReasons() {
		w := Reason(reason)
		if strings.Contains(w.Means, "does not know") || w.Ends == "" {
			t.Errorf("%s is not explained: %s", reason, w)
		}
	}
	if w := Reason("hold:network-work"); !strings.Contains(w.String(), "hm release network-work") {
		t.Errorf("a hold of a person is explained as %s", w)
	}
	if w := Reason("moonlight"); w.Means == "" || w.Ends == "" {
		t.Error("a reason of a newer version has no words")
	}
}

func TestReasonsOfTheGateThatCounts(t *testing.T) {
	for _, c := range []struct {
		gate api.Gate
		want []string
	}{
		{api.Gate{Open: true}, nil},
		{api.Gate{Reasons: []string{"not-leader"}, OnLeader: "open"}, nil},
		{api.Gate{Reasons: []string{"not-leader"}, OnLeader: "paused, shadow"}, []string{"paused", "shadow"}},
		{api.Gate{Reasons: []string{"not-leader", "nats-down"}, OnLeader: "open"}, []string{"not-leader", "nats-down"}},
		{api.Gate{Reasons: []string{"nats-down"}}, []string{"nats-down"}},
	} {
		if got := GateReasons(c.gate); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.gate, got, c.want)
		}
	}
}
