package api_test

import (
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/bus"
	"hm/raftfsm"
)

// TestRefusalTextIsBounded: every peer gets the text four times a second, and refuses a message with a longer one.
func TestRefusalTextIsBounded(t *testing.T) {
	one := bus.Refusal{Action: "publish", Subject: "a", Error: "no\nway"}
	if got, want := api.RefusalText([]bus.Refusal{one, one}), "publish a: no way\npublish a: no way"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	many := make([]bus.Refusal, 1000)
	for i := range many {
		many[i] = bus.Refusal{Action: "publish", Subject: strings.Repeat("x", i%300), Error: "no"}
	}
	if got := api.RefusalText(many); len(got) > 1000 || !strings.HasSuffix(got, ": no") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-10:])
	}
	if got := api.RefusalText([]bus.Refusal{{Error: strings.Repeat("x", 2000)}}); got != "" {
		t.Errorf("%d bytes", len(got))
	}
}

// TestRefusedCommandsShowTheReason: only a claimed command shows why it was refused, because the server has accepted
// one that was sent. The leader knows the reason from its own link, a follower from the leader.
func TestRefusedCommandsShowTheReason(t *testing.T) {
	refusal := bus.Refusal{Action: "publish", Subject: "hm9000.start", Error: `Permissions Violation for Publish to "hm9000.start"`, Since: time.Now(), Last: time.Now(), Count: 3}
	const want = `nats refuses hm9000.start: Permissions Violation for Publish to \"hm9000.start\"`
	for name, c := range map[string]struct {
		prepare func(*apitest.Node)
		told    bool
	}{
		"the leader's own link": {func(w *apitest.Node) { w.Refused = []bus.Refusal{refusal} }, true},
		"nothing is refused":    {func(*apitest.Node) {}, false},
		"a follower's own link": {func(w *apitest.Node) { w.Follow("hm-2", "hm-1", "x:1"); w.Refused = []bus.Refusal{refusal} }, false},
		"the leader's word to a follower": {func(w *apitest.Node) {
			w.Follow("hm-2", "hm-1", "x:1")
			w.Peers[0].Info.NATSRefused = refusal.String()
		}, true},
		"another subject": {func(w *apitest.Node) {
			w.Refused = []bus.Refusal{{Action: "publish", Subject: "hm9000.stop", Error: "no"}, {Action: "subscribe", Subject: "hm9000.start", Error: "no"}}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := apitest.Fleet()
			claimed := false
			for cmd := range w.View().AllCommands() {
				if cmd.Action.String() == "start" && cmd.State.String() == "pending" && !claimed {
					claimed = true
					w.Must(w.Now(), raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{{ID: cmd.ID, Term: 7, Basis: w.View().Basis(cmd.App, cmd.Index)}}})
				}
			}
			if !claimed {
				t.Fatal("no start is pending")
			}
			c.prepare(w)
			_, raw := ask(t, "GET", serve(t, w.Options())+"/v1/commands", "")
			if n := strings.Count(string(raw), want); n != map[bool]int{true: 1}[c.told] {
				t.Errorf("shown %d times, want it for the one claimed command: %v\n%s", n, c.told, raw)
			}
		})
	}
}
