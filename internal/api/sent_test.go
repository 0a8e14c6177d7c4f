package api_test

import (
	"fmt"
	"strings"
	"testing"

	"hm/commands"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/raftfsm"
)

// TestSentCommandsAreCountedByReason: as HM9000 counted them (M14, M15). All series exist from the start, so that the
// first command is an increase; no command counts twice, so that a restart is no increase.
func TestSentCommandsAreCountedByReason(t *testing.T) {
	o := apitest.Fleet().Options()
	o.Ended = &api.CommandTotals{}
	base := serve(t, o)
	read := func() map[string]string {
		_, raw := ask(t, "GET", base+"/metrics", "")
		got := map[string]string{}
		for line := range strings.Lines(string(raw)) {
			if labels, ok := strings.CutPrefix(strings.TrimSpace(line), "hm_commands_sent_total"); ok {
				name, value, _ := strings.Cut(labels, " ")
				got[name] = value
			}
		}
		return got
	}
	series := []struct {
		labels string
		action commands.Action
		reason commands.Reason
	}{
		{`{action="start",reason="missing"}`, commands.Start, commands.ReasonMissing},
		{`{action="start",reason="crashed"}`, commands.Start, commands.ReasonCrashed},
		{`{action="start",reason="evacuating"}`, commands.Start, commands.ReasonEvacuating},
		{`{action="stop",reason="extra"}`, commands.Stop, commands.ReasonExtra},
		{`{action="stop",reason="duplicate"}`, commands.Stop, commands.ReasonDuplicate},
		{`{action="stop",reason="evacuation_complete"}`, commands.Stop, commands.ReasonEvacuationComplete},
	}
	sent := raftfsm.Result{}
	for i, s := range series {
		for range i + 1 {
			sent.Sent = append(sent.Sent, commands.Command{Action: s.action, Reason: s.reason, State: commands.Sent})
		}
	}
	for _, step := range []struct {
		name    string
		applied raftfsm.Applied
		times   int
	}{
		{"nothing yet", raftfsm.Applied{}, 0},
		{"replayed", raftfsm.Applied{Result: sent, Replayed: true}, 0},
		{"sent", raftfsm.Applied{Result: sent}, 1},
		{"again", raftfsm.Applied{Result: sent}, 2},
	} {
		o.Ended.Applied(step.applied)
		got := read()
		if len(got) != len(series) {
			t.Errorf("%s: series %v", step.name, got)
		}
		for i, s := range series {
			if want := fmt.Sprint(step.times * (i + 1)); got[s.labels] != want {
				t.Errorf("%s: %s is %s, want %s", step.name, s.labels, got[s.labels], want)
			}
		}
	}
}
