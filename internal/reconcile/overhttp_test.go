package reconcile

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"hm/commands"
	"hm/internal/app"
)

// noRoom is a simulation whose Cloud Controller answers that no DEA has room, until there is.
type noRoom struct {
	*simCF
	tried []app.Time
	room  bool
}

func (r *noRoom) Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error {
	if r.room {
		return r.simCF.Publish(ctx, epoch, cmds)
	}
	errs := make([]error, len(cmds))
	for i := range cmds {
		r.tried = append(r.tried, r.now)
		errs[i] = fmt.Errorf("%w: no DEA has room", ErrNoEffect)
	}
	return errs
}

// TestW23ACommandInVainCountsAsSent: a start to which the Cloud Controller answers that it does nothing counts as sent, is
// told, and is repeated after its grace, and then after pauses that double.
func TestW23ACommandInVainCountsAsSent(t *testing.T) {
	var told []CommandEvent
	opts := testOptions()
	opts.OnCommand = func(e CommandEvent) { told = append(told, e) }
	cf := steadyFleet(t, 4, 10, opts)
	r := &noRoom{simCF: cf}
	cf.core = NewCore(cf.opts, cf, r, cf.intake, cf.endedCommands)
	cf.core.Learn(cf.now, cf.now)
	cf.lose(1)
	for len(r.tried) == 0 {
		cf.run(time.Second)
	}
	const why = "the command was sent and has no effect: no DEA has room"
	if n := cf.View().Counts(); n.SentStarts != 1 {
		t.Errorf("%d starts count as sent, want 1", n.SentStarts)
	}
	if len(told) == 0 || told[len(told)-1].State != commands.Sent || told[len(told)-1].Detail != why {
		t.Errorf("told was %+v", told)
	}
	for len(r.tried) < 3 {
		cf.run(time.Second)
	}
	first, second := r.tried[1].Sub(r.tried[0]), r.tried[2].Sub(r.tried[1])
	if first < testPolicy.Grace || second < 2*testPolicy.Grace {
		t.Errorf("it was repeated after %v and %v, want pauses of at least %v and %v", first, second, testPolicy.Grace, 2*testPolicy.Grace)
	}
	if e := cf.endedCommands.Newest(10); e[len(e)-1].State != commands.Expired || e[len(e)-1].Detail != why {
		t.Errorf("it ended as %s %q", e[len(e)-1].State, e[len(e)-1].Detail)
	}
	r.room = true
	cf.run(40 * hb)
	cf.wantSent("there is room", 1, 0)
	if len(cf.core.claims) != 0 {
		t.Errorf("%d commands are remembered", len(cf.core.claims))
	}
}

// TestI1NoCommandWhileTheCloudControllerIsUnreachable: the gate is shut on a leader that does not know that it can be
// reached, in this term, and opens at once when it can. What was heard meanwhile is recorded.
func TestI1NoCommandWhileTheCloudControllerIsUnreachable(t *testing.T) {
	reachable := map[uint64]bool{}
	opts := testOptions()
	var terms []uint64
	opts.CCReachable = func(term uint64) bool {
		terms = append(terms, term)
		return reachable[term]
	}
	cf := newSimCF(t, opts)
	cf.addDEAs(4)
	cf.desire(10, 4, true)
	cf.run(5 * hb)
	cf.wantGate("nothing is known of the Cloud Controller", ReasonCCUnreachable)
	if slices.Contains(terms, 0) || !slices.Contains(terms, cf.term) {
		t.Errorf("it was asked for the terms %v", terms)
	}
	cf.lose(1)
	cf.run(20 * hb)
	cf.wantGate("still nothing", ReasonCCUnreachable)
	cf.wantSent("unreachable", 0, 0)
	if n := cf.View().Counts(); n.PendingStarts != 0 {
		t.Errorf("%d starts were decided while the gate was shut", n.PendingStarts)
	}
	reachable[cf.term] = true
	cf.step()
	cf.wantGate("it answers")
	cf.run(10 * hb)
	cf.wantSent("it answers", 1, 0)
	reachable[cf.term] = false
	cf.step()
	cf.wantGate("it is lost", ReasonCCUnreachable)
}

// TestGateAsksForTheCloudController on a leader alone.
func TestGateAsksForTheCloudController(t *testing.T) {
	in := GateInput{Lead: Lead{Leader: true, Known: true}, NATSUp: true, ActualFresh: true, DesiredFresh: true}
	for _, c := range []struct {
		leader, unreachable, shadow bool
		want                        string
	}{
		{true, false, false, "[]"}, {true, true, false, "[cc-unreachable]"}, {false, true, false, "[not-leader]"},
		{true, true, true, "[cc-unreachable shadow]"},
	} {
		in.Lead.Leader, in.CCUnreachable, in.Shadow = c.leader, c.unreachable, c.shadow
		reasons := Gate(in, 1)
		if got := fmt.Sprint(reasons); got != c.want {
			t.Errorf("%+v: the gate says %s", c, got)
		}
		if c.leader && !onlyHeld(reasons) {
			t.Errorf("%+v: the picture counts as not fresh", c)
		}
	}
}
