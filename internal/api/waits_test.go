package api

import (
	"fmt"
	"testing"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
)

// TestQueueCountsAppsByWhatTheyWaitFor: an app counts once for each thing that one of its findings waits for. Behind a
// closed gate it waits for the gate alone. A finding whose command was sent waits for nothing.
func TestQueueCountsAppsByWhatTheyWaitFor(t *testing.T) {
	start := func(b diff.Bucket, why diff.Why, due app.Time) diff.Finding {
		return diff.Finding{Kind: diff.KindMissing, Action: commands.Start, Bucket: b, Why: why, Due: due}
	}
	stop := func(b diff.Bucket, why diff.Why, due app.Time) diff.Finding {
		return diff.Finding{Kind: diff.KindExtra, Action: commands.Stop, Bucket: b, Why: why, Due: due}
	}
	fleet := [][]diff.Finding{
		{start(diff.Wait, diff.WhyGrace, 90), start(diff.Wait, diff.WhyGrace, 91), start(diff.Wait, diff.WhyBackoff, 900)},
		{start(diff.ToStart, diff.WhyNothing, 70), start(diff.ToStart, diff.WhyNothing, 60), stop(diff.Wait, diff.WhyStartsFirst, 99)},
		{stop(diff.ToStop, diff.WhyNothing, 80)},
		{start(diff.Wait, diff.WhySent, 99)},
		{{Kind: diff.KindNone}, {Kind: diff.KindNone, Bucket: diff.Keep, Why: diff.WhyCrashedInstance}},
		{},
	}
	limited := reconcile.Overview{StartsLimited: true, Lead: reconcile.Lead{Leader: true}, GateSince: 50}
	for _, c := range []struct {
		name  string
		over  reconcile.Overview
		held  []string
		want  map[string]int
		since app.Time
	}{
		{"open", reconcile.Overview{}, nil, map[string]int{"grace": 1, "back-off": 1, "due": 2, "starts-first": 1}, 60},
		{"limited", limited, nil, map[string]int{"grace": 1, "back-off": 1, "start-limit": 1, "due": 1, "starts-first": 1}, 60},
		{"closed", limited, []string{"nats-down", "actual-stale"}, map[string]int{"nats-down": 3, "actual-stale": 3}, 50},
		{"closed, on a follower", reconcile.Overview{GateSince: 50}, []string{"nats-down"}, map[string]int{"nats-down": 3}, 0},
		{"in shadow mode", limited, []string{"shadow"}, map[string]int{"grace": 1, "back-off": 1, "start-limit": 1, "due": 1, "starts-first": 1}, 60},
	} {
		p := &pass{know: reconcile.Knowledge{Held: c.held}}
		for _, findings := range fleet {
			p.waits.add(findings, len(p.shut()) > 0)
		}
		q := snapshot{over: c.over}.queue(p)
		if q.Waiting != 3 || fmt.Sprint(q.ByCause) != fmt.Sprint(c.want) {
			t.Errorf("%s: %d apps wait for %v, want 3 for %v", c.name, q.Waiting, q.ByCause, c.want)
		}
		if want := (Wall{}).Time(c.since); q.Since != want {
			t.Errorf("%s: the first is late since %v, want %v", c.name, q.Since, want)
		}
	}
}
