package reconcile

import (
	"context"
	"fmt"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/internal/app"
)

// refusing is a simulation whose NATS server refuses what is published, until it is granted.
type refusing struct {
	*simCF
	tried   []app.Time
	granted bool
}

func (r *refusing) Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error {
	if r.granted {
		return r.simCF.Publish(ctx, epoch, cmds)
	}
	errs := make([]error, len(cmds))
	for i, c := range cmds {
		r.tried = append(r.tried, r.now)
		errs[i] = fmt.Errorf("%w: publish %s: not on this subject", ErrRefused, c.Action)
	}
	return errs
}

// TestARefusedCommandWaitsLikeOneWithoutEffect: it stays claimed until its grace is over, is tried
// again only then, never counts as sent, and is sent when the permission is there.
func TestARefusedCommandWaitsLikeOneWithoutEffect(t *testing.T) {
	for name, cause := range map[string]struct {
		drift         func(*simCF)
		starts, stops int
		why           string
	}{
		"start": {func(cf *simCF) { cf.lose(1) }, 1, 0, "the command was refused: publish start: not on this subject"},
		"stop": {func(cf *simCF) {
			d := cf.deas["dea-000"]
			d.list = append(d.list, cf.instance(cf.apps[0].Key, 7, actual.Running))
		}, 0, 1, "the command was refused: publish stop: not on this subject"},
	} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 10, testOptions())
			r := &refusing{simCF: cf}
			cf.core = NewCore(cf.opts, cf, r, cf.intake, cf.endedCommands)
			cf.core.Learn(cf.now, cf.now)
			cause.drift(cf)
			for len(r.tried) == 0 {
				cf.run(time.Second)
			}
			first := r.tried[0]
			for cf.now < first.Add(testPolicy.Grace-time.Second) {
				cf.run(time.Second)
				states := map[commands.State]int{}
				for c := range cf.View().AllCommands() {
					states[c.State]++
				}
				if len(states) != 1 || states[commands.Claimed] != 1 || len(r.tried) != 1 {
					t.Fatalf("%v after it was refused: commands by state %v, tried at %v", cf.now.Sub(first), states, r.tried)
				}
			}
			cf.run(4 * hb)
			if len(r.tried) < 2 || r.tried[1].Sub(first) < testPolicy.Grace {
				t.Errorf("tried at %v, want again after the grace of %v and not before", r.tried, testPolicy.Grace)
			}
			ended := cf.endedCommands.Newest(100)
			if len(ended) == 0 {
				t.Fatal("nothing has ended")
			}
			if e := ended[len(ended)-1]; e.State != commands.Expired || e.Detail != cause.why || e.SentAt != 0 {
				t.Errorf("the command ended as %s %q, sent at %d; want expired, %q and never", e.State, e.Detail, e.SentAt, cause.why)
			}
			if n := cf.View().Counts(); n.SentStarts+n.SentStops != 0 {
				t.Errorf("%d starts and %d stops count as sent", n.SentStarts, n.SentStops)
			}
			if len(cf.core.claims) > 1 {
				t.Errorf("%d commands are remembered, one was refused", len(cf.core.claims))
			}
			r.granted = true
			cf.run(20 * hb)
			cf.wantSent("the permission is there", cause.starts, cause.stops)
			if len(cf.core.claims) != 0 {
				t.Errorf("%d commands are remembered", len(cf.core.claims))
			}
		})
	}
}

// TestRefusedHeartbeatsShutTheGate with a reason of their own, and nothing expires meanwhile.
func TestRefusedHeartbeatsShutTheGate(t *testing.T) {
	is := false
	opts := testOptions()
	opts.NATSRefused = func() bool { return is }
	cf := steadyFleet(t, 4, 10, opts)
	before := cf.View().Counts()
	is = true
	cf.setLink(false) // as a node tells it: what cannot be heard is no silence
	cf.run(10 * hb)
	cf.wantGate("the heartbeats are refused", ReasonNATSRefused, ReasonActualStale)
	if got := cf.View().Counts(); got.GoneDEAs != 0 || got.Running != before.Running {
		t.Errorf("meanwhile %d DEAs were lost, %d instances run, before %d", got.GoneDEAs, got.Running, before.Running)
	}
	is = false
	cf.setLink(true)
	cf.run(5 * hb)
	cf.wantGate("granted")
	cf.wantSent("a refusal by itself", 0, 0)
}

func TestGateTellsARefusalFromAnOutage(t *testing.T) {
	in := GateInput{Lead: Lead{Leader: true, Known: true}, ActualFresh: true, DesiredFresh: true}
	for _, c := range []struct {
		up, refused bool
		want        string
	}{{true, false, "[]"}, {false, false, "[nats-down]"}, {false, true, "[nats-refused]"}, {true, true, "[nats-refused]"}} {
		in.NATSUp, in.NATSRefused = c.up, c.refused
		if got := fmt.Sprint(Gate(in, 1)); got != c.want {
			t.Errorf("up %v, refused %v: the gate says %s, want %s", c.up, c.refused, got, c.want)
		}
	}
}
