package words

import (
	"testing"
	"time"

	"hm/internal/api"
)

func TestDescribeGate(t *testing.T) {
	at := api.Timestamp{Time: time.Unix(1_700_000_000, 0)}
	since := api.Timestamp{Time: at.Add(-31 * time.Second)}
	for _, c := range []struct {
		want string
		gate api.Gate
	}{
		{"open for 31s", api.Gate{Open: true, Since: since}},
		{"closed for 31s: paused, shadow", api.Gate{Since: since, Reasons: []string{"paused", "shadow"}}},
		{"open on the leader; this node does not lead", api.Gate{Since: since, Reasons: []string{"not-leader"}, OnLeader: "open"}},
		{"closed on the leader: paused", api.Gate{Since: since, Reasons: []string{"not-leader"}, OnLeader: "paused"}},
		{"closed for 31s: not-leader", api.Gate{Since: since, Reasons: []string{"not-leader"}}},
		{"closed for 31s: not-leader, nats-down", api.Gate{Since: since, Reasons: []string{"not-leader", "nats-down"}, OnLeader: "open"}},
	} {
		if got := Gate(api.Basis{At: at}, c.gate).String(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.gate, got, c.want)
		}
	}
}
