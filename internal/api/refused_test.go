package api_test

import (
	"strings"
	"testing"
	"time"

	"hm/commands"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/bus"
	"hm/raftfsm"
)

// TestRefusalTextIsBounded: every peer gets the text four times a second, and refuses a message with a longer one.
func TestRefusalTextIsBounded(t *testing.T) {
	one := bus.Refusal{Action: "publish", Subject: "a", Error: "no\nway"}
	if got, want := api.RefusalText([]bus.Refusal{one, one}, nil), "publish a: no way\npublish a: no way"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	many := make([]bus.Refusal, 1000)
	for i := range many {
		many[i] = bus.Refusal{Action: "publish", Subject: strings.Repeat("x", i%300), Error: "no"}
	}
	if got := api.RefusalText(many, nil); len(got) > 1000 || !strings.HasSuffix(got, ": no") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-10:])
	}
	if got := api.RefusalText([]bus.Refusal{{Error: strings.Repeat("x", 2000)}}, nil); got != "" {
		t.Errorf("%d bytes", len(got))
	}
}

// TestRefusalsOverHTTPAreTold: what the Cloud Controller refuses is told like what NATS refuses, to the leader and, by its
// word, to followers.
func TestRefusalsOverHTTPAreTold(t *testing.T) {
	const why = "the Cloud Controller answers 401 Unauthorized"
	cc := &api.CC{URL: "http://cc", Refused: []api.CCRefusal{{Action: "start", Error: why, Count: 2}}}
	text := api.RefusalText([]bus.Refusal{{Action: "publish", Subject: "a", Error: "no"}}, cc)
	if want := "publish a: no\npost start: " + why; text != want {
		t.Fatalf("the text is %q, want %q", text, want)
	}
	for name, prepare := range map[string]func(*apitest.Node, *api.Options){
		"on the leader": func(_ *apitest.Node, o *api.Options) { o.CC = func() *api.CC { return cc } },
		"on a follower": func(w *apitest.Node, o *api.Options) {
			w.Follow("hm-2", "hm-1", "x:1")
			w.Peers[0].Info.NATSRefused = text
			*o = w.Options()
		},
		"not for a start": func(_ *apitest.Node, o *api.Options) {
			o.CC = func() *api.CC { return &api.CC{Refused: []api.CCRefusal{{Action: "stop", Error: why}}} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := apitest.Fleet()
			cmd := claimStart(t, w)
			o := w.Options()
			prepare(w, &o)
			_, raw := ask(t, "GET", serve(t, o)+"/v1/commands", "")
			shown := strings.Contains(string(raw), `"detail":"`+why+`"`) && strings.Contains(string(raw), `"the Cloud Controller to accept it"`)
			if shown != (name != "not for a start") {
				t.Errorf("the claimed start %s is shown as\n%s", cmd, raw)
			}
		})
	}
}

// claimStart claims a pending start.
func claimStart(t *testing.T, w *apitest.Node) commands.ID {
	t.Helper()
	for cmd := range w.View().AllCommands() {
		if cmd.Action == commands.Start && cmd.State == commands.Pending {
			w.Must(w.Now(), raftfsm.CommandsClaimed{Claims: []raftfsm.Claim{{ID: cmd.ID, Term: 7, Basis: w.View().Basis(cmd.App, cmd.Index)}}})
			return cmd.ID
		}
	}
	t.Fatal("no start is pending")
	return commands.ID{}
}

// TestWhatIsNotedOfACommandIsTold until the command ends, by hm commands, hm explain and hm drift.
func TestWhatIsNotedOfACommandIsTold(t *testing.T) {
	const why = "the command was sent and has no effect: no DEA has room"
	w := apitest.Fleet()
	id := claimStart(t, w)
	details := &api.CommandDetails{}
	note := raftfsm.NoteFact{Note: raftfsm.Note{Detail: why, Commands: []commands.ID{id}}}
	rule := raftfsm.NoteFact{Note: raftfsm.Note{Rule: "R01", Commands: []commands.ID{id}}}
	details.Applied(raftfsm.Applied{Result: raftfsm.Result{Facts: []raftfsm.Fact{rule, note}}})
	w.Must(w.Now(), raftfsm.CommandsResolved{Outcomes: []raftfsm.Outcome{{ID: id, State: commands.Sent}}})
	cmd, _ := w.View().Command(id)
	o := w.Options()
	o.Details = details
	url := serve(t, o)
	paths := []string{"/v1/commands", "/v1/drift", "/v1/apps/" + cmd.App.Droplet.String() + "/explain"}
	for _, path := range paths {
		if _, raw := ask(t, "GET", url+path, ""); strings.Count(string(raw), why) == 0 {
			t.Errorf("%s does not tell it:\n%s", path, raw)
		}
	}
	details.Applied(raftfsm.Applied{Result: raftfsm.Result{Ended: []raftfsm.EndedCommand{{Command: cmd}}}})
	for _, path := range paths {
		if _, raw := ask(t, "GET", url+path, ""); strings.Contains(string(raw), why) {
			t.Errorf("%s tells it after its end:\n%s", path, raw)
		}
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
			claimStart(t, w)
			c.prepare(w)
			_, raw := ask(t, "GET", serve(t, w.Options())+"/v1/commands", "")
			if n := strings.Count(string(raw), want); n != map[bool]int{true: 1}[c.told] {
				t.Errorf("shown %d times, want it for the one claimed command: %v\n%s", n, c.told, raw)
			}
		})
	}
}
