package sandbox

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/config"
	"hm/internal/liveview"
	"hm/internal/sim"
)

// The nodes read the simulated Cloud Controller's database without any set-up, also when its bulk API is broken. A
// later sandbox on the same directory does the same.
func TestDesiredSQL(t *testing.T) {
	takesSeconds(t)
	o := testOptions()
	o.Nodes, o.Desired, o.CCPassive = 1, config.SourceSQL, true
	o.DataDir = t.TempDir()
	r := start(t, o)
	fromDB := func(f liveview.Frame) bool {
		return gateOpen(f) && f.Status.Desired.Fresh && strings.HasPrefix(f.Status.Desired.Source, "sql sqlite ")
	}
	f := r.await("gate and no drift", func(f liveview.Frame) bool { return fromDB(f) && f.Status.Drift.Total() == 0 })
	if f.Status.Desired.Apps != 50 || f.Status.Desired.Instances != f.Truth.Desired {
		t.Errorf("desired %+v, drift %+v, in truth %+v", f.Status.Desired, f.Status.Drift, f.Truth)
	}
	t.Log(f.Status.Desired.Source)
	if text := r.press("b"); !strings.Contains(text, "do not need it") {
		t.Error(text)
	}
	wanted := f.Status.Desired.Instances
	t.Log(r.press("s"))
	r.await("the scale", func(f liveview.Frame) bool {
		return fromDB(f) && f.Status.Desired.Instances == wanted+1 && f.Truth.Converged
	})
	t.Log(r.press("d"))
	f = r.await("the deletion", func(f liveview.Frame) bool {
		return fromDB(f) && f.Status.Desired.Apps == 49 && f.Truth.Converged
	})
	if f.Status.Commands.SentStarts != 1 || f.Truth.Harmful != 0 {
		t.Errorf("commands %+v, in truth %+v", f.Status.Commands, f.Truth)
	}
	r.close()

	o.Desired = config.SourceBulk // the saved value replaces this default
	r = start(t, o)
	if f = r.await("gate", gateOpen); !fromDB(f) {
		t.Errorf("continued with %+v", f.Status.Desired)
	}
}

// With pollTestPeriod a poll of 60 heartbeats is so long that a change that shows much earlier was not polled.
const (
	pollTestPeriod   = 500 * time.Millisecond
	pollTestBeats    = 60
	pollTestInterval = pollTestBeats * pollTestPeriod
)

// startSlowPoll runs a node that polls the desired state twice a minute, and waits until nothing drifts.
func startSlowPoll(t *testing.T, source string) *run {
	t.Helper()
	takesSeconds(t)
	o := testOptions()
	o.Nodes, o.Heartbeat, o.Desired, o.CCPassive = 1, pollTestPeriod, source, true
	o.Sets = append(o.Sets, "desired.poll_interval=60", "desired.ttl=120", "policy.start_limit=1000")
	r := start(t, o)
	r.await("gate", func(f liveview.Frame) bool { return gateOpen(f) && f.Truth.Converged && f.Status.Drift.Total() == 0 })
	return r
}

func (r *run) status() api.Status {
	r.t.Helper()
	status, _, err := r.nodes[0].client.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return status
}

func (r *run) apps() []sim.AppView {
	return slices.DeleteFunc(r.sim.Apps(0, maxApps), func(v sim.AppView) bool { return v.State != "STARTED" })
}

// awaitStart waits until the start of an index is scheduled.
func (r *run) awaitStart(app string, index int) api.Command {
	r.t.Helper()
	client := r.nodes[0].client
	for end := time.Now().Add(testDeadline); time.Now().Before(end); time.Sleep(time.Millisecond) {
		outstanding, err := client.Commands(r.t.Context(), app, 100)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, c := range outstanding.Items {
			if c.App == app && c.Action == "start" && c.Index == uint32(index) {
				return c
			}
		}
	}
	r.t.Fatalf("app %s: no start of index %d is scheduled within %v", app, index, testDeadline)
	return api.Command{}
}

// When the Cloud Controller announces a scaled app (droplet.updated), hm reads that app at once. It schedules the
// command within milliseconds; the command is due when the policy says.
func TestScaleShowsAtOnceOverSQL(t *testing.T) {
	t.Parallel()
	r := startSlowPoll(t, config.SourceSQL)
	before := r.status()
	var took, due []time.Duration
	for _, v := range r.apps()[:20] {
		began := time.Now()
		if _, err := r.sim.CC.ScaleApp(v.GUID, v.Instances+1); err != nil {
			t.Fatal(err)
		}
		c := r.awaitStart(v.GUID.String(), v.Instances)
		took = append(took, time.Since(began))
		due = append(due, c.DueAt.Sub(c.CreatedAt.Time))
		if c.Reason != "MISSING" || c.State != "pending" {
			t.Errorf("app %s: %+v", v.GUID, c)
		}
	}
	after := r.status()
	if !after.Desired.SyncedAt.Equal(before.Desired.SyncedAt.Time) || after.Desired.Error != "" {
		t.Errorf("a complete read has started: %+v, before %+v", after.Desired, before.Desired)
	}
	if got, want := after.Desired.Instances, before.Desired.Instances+20; got != want {
		t.Errorf("%d instances are desired, want %d", got, want)
	}
	slices.Sort(took)
	slices.Sort(due)
	t.Logf("from the scale in the Cloud Controller's database to the scheduled start, %d apps: median %v, longest %v; due %v to %v after that; polled every %v",
		len(took), took[len(took)/2], took[len(took)-1], due[0], due[len(due)-1], pollTestInterval)
	if took[len(took)/2] > pollTestInterval/10 {
		t.Errorf("it takes a median of %v", took[len(took)/2])
	}
	r.await("the starts", func(f liveview.Frame) bool { return f.Truth.Converged && f.Status.Drift.Total() == 0 })
	if c := r.status().Commands; c.SentStarts != 20 || c.SentStops != 0 {
		t.Errorf("commands %+v", c)
	}
}

// The bulk API cannot return a single app. A change leads to an early read of all apps, and many changes to few reads.
func TestScaleIsReadEarlyOverBulk(t *testing.T) {
	t.Parallel()
	r := startSlowPoll(t, config.SourceBulk)
	before := r.status().Desired
	began := time.Now()
	apps := r.apps()[:40]
	for _, v := range apps {
		if _, err := r.sim.CC.ScaleApp(v.GUID, v.Instances+1); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[time.Time]bool{before.SyncedAt.UTC(): true}
	for d := before; d.Instances != before.Instances+len(apps) || len(seen) == 1; time.Sleep(time.Millisecond) {
		if time.Since(began) > testDeadline {
			t.Fatalf("%d instances are desired after %d reads, want %d", d.Instances, len(seen)-1, before.Instances+len(apps))
		}
		d = r.status().Desired
		seen[d.SyncedAt.UTC()] = true
	}
	took, reads := time.Since(began), len(seen)-1
	t.Logf("%d scaled apps were in the desired state after %v and %d complete reads; polled every %v", len(apps), took,
		reads, pollTestInterval)
	if took > pollTestInterval/3 {
		t.Errorf("it took %v: not an early read", took)
	}
	if limit := 1 + int(took/pollTestPeriod); reads < 1 || reads > limit {
		t.Errorf("%d reads within %v, want 1 to %d", reads, took, limit)
	}
}
