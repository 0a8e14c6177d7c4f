package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// TestW21ReactsWithinAHeartbeatAndTheGrace: whatever the size of the fleet (W51), nothing waits for a pass.
func TestW21ReactsWithinAHeartbeatAndTheGrace(t *testing.T) {
	const moment = 200 * time.Millisecond // for the read that a decision may ask for
	for _, apps := range []int{10, 2_500} {
		for _, c := range []struct {
			name   string
			happen func(*world)
			limit  time.Duration
		}{
			{"a DEA no longer lists an instance", func(w *world) { w.deas["dea-003"].list = w.deas["dea-003"].list[1:] }, hb + testPolicy.Grace},
			{"a crash shows in a heartbeat", func(w *world) { w.deas["dea-003"].list[0].State = actual.Crashed }, hb},
			{"an evacuation shows in a heartbeat", func(w *world) { w.deas["dea-003"].list[0].State = actual.Evacuating }, hb},
			{"an app is stopped, and droplet.updated says so", func(w *world) { w.apps[1].State = desired.Stopped; w.intake.Updated(app.GUID{}) }, hb},
			{"an app is stopped, and nobody says so", func(w *world) { w.apps[1].State = desired.Stopped }, 6 * hb},
			{"an app is scaled up, and droplet.updated says so", func(w *world) { w.apps[1].Instances = 5; w.intake.Updated(app.GUID{}) }, hb + testPolicy.Grace},
		} {
			t.Run(fmt.Sprintf("%s, %d apps", c.name, apps), func(t *testing.T) {
				w := steady(t, 6, apps, testOptions())
				began := w.now
				c.happen(w)
				w.run(c.limit + moment)
				if len(w.sent) == 0 {
					t.Fatalf("nothing was sent within %v", c.limit)
				}
				t.Logf("%v", w.sent[0].at.Sub(began))
			})
		}
	}
}

// choosy is a Cloud Controller that carries out only what it likes, and tells nobody.
type choosy struct {
	w     *world
	likes func(commands.Command) bool
}

func (p choosy) Publish(_ context.Context, _ uint64, cmds []commands.Command) []error {
	for _, c := range cmds {
		p.w.sent = append(p.w.sent, sentCommand{c, p.w.now})
		if p.likes(c) {
			p.w.obey(c)
		}
	}
	return make([]error, len(cmds))
}

// TestW23RefusedStartsHoldUpOthersNoLongerThanTheLimitSays: starts that a Cloud Controller refuses take their share
// of the limit again and again, in turn with all others.
func TestW23RefusedStartsHoldUpOthersNoLongerThanTheLimitSays(t *testing.T) {
	for _, refused := range []int{0, 150, 600} {
		t.Run(fmt.Sprint(refused), func(t *testing.T) {
			w := steady(t, 6, 10, testOptions())
			w.core = NewCore(w.opts, w, choosy{w, func(c commands.Command) bool {
				return !strings.HasPrefix(c.App.Droplet.String(), "no-")
			}}, w.intake, w.endedCommands)
			for i := range refused {
				k := app.Key{Droplet: app.MustGUID(fmt.Sprintf("no-%d", i)), Version: app.MustGUID("v1")}
				w.apps = append(w.apps, desired.App{Key: k, Instances: 1, State: desired.Started, Package: desired.Staged})
			}
			w.run(40 * hb)
			began := w.now
			d := w.deas["dea-001"]
			lost := d.list[0]
			d.list = d.list[1:]
			limit := hb + testPolicy.Grace + time.Duration(refused/w.opts.StartLimit+1)*hb
			w.run(limit)
			i := slices.IndexFunc(w.sent, func(c sentCommand) bool { return c.App == lost.App && c.Index == lost.Index })
			if i < 0 {
				t.Fatalf("an instance that was lost among %d refused starts was not restarted within %v", refused, limit)
			}
			t.Logf("restarted after %v", w.sent[i].at.Sub(began))
		})
	}
}

// TestW31EverythingIsLookedAtAgainBeforeItIsSent: what is scheduled and no longer holds when it is due is not sent.
func TestW31EverythingIsLookedAtAgainBeforeItIsSent(t *testing.T) {
	for _, c := range []struct {
		name          string
		happen, later func(*world)
		starts, stops int
	}{
		{"staged anew", func(w *world) { w.lose(1) }, func(w *world) { w.apps[0].Package = desired.Pending }, 0, 0},
		{"scaled below it", func(w *world) { w.lose(3) }, func(w *world) { w.apps[0].Instances = 3 }, 0, 0},
		{"it is back", func(w *world) { w.lose(1) }, func(w *world) {
			w.deas["dea-000"].list = append(w.deas["dea-000"].list, w.instance(w.apps[0].Key, 1, actual.Running))
		}, 0, 0},
		{"the copy is gone: index 0 is not stopped for it", func(w *world) { w.copies(1) }, func(w *world) {
			d := w.deas["dea-000"]
			d.list = d.list[:len(d.list)-1]
		}, 0, 0},
		{"nothing changes", func(w *world) { w.lose(1) }, func(*world) {}, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := steady(t, 4, 30, testOptions())
			c.happen(w)
			w.run(hb + time.Second)
			if n := w.View().Counts(); n.PendingStarts+n.PendingStops != 1 {
				t.Fatalf("%d starts and %d stops are pending, want one command", n.PendingStarts, n.PendingStops)
			}
			c.later(w)
			w.intake.Updated(w.apps[0].Key.Droplet)
			w.run(30 * hb)
			w.wantSent(c.name, c.starts, c.stops)
		})
	}
}

// lose takes an instance of the first app away.
func (w *world) lose(index uint32) {
	d, i := w.at(w.apps[0].Key, index)
	guid := i.GUID
	d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == guid })
}

// TestW32StopsAreLimitedAndCanBePaused: with policy.stop_limit set. Without it stops are as many as are due.
func TestW32StopsAreLimitedAndCanBePaused(t *testing.T) {
	opts := testOptions()
	opts.StopLimit = 5
	w := steady(t, 6, 30, opts)
	for i := range 10 {
		w.apps[i].State = desired.Stopped
	}
	for len(w.sent) < 15 {
		w.run(hb / 10)
	}
	w.pause(10 * hb)
	sent := len(w.sent)
	w.run(10*hb - time.Second)
	if len(w.sent) != sent {
		t.Errorf("%d stops were sent while paused", len(w.sent)-sent)
	}
	w.run(20 * hb)
	w.wantSent("ten apps of four instances are stopped", 0, 40)
	for i := 5; i < len(w.sent); i++ {
		if d := w.sent[i].at.Sub(w.sent[i-5].at); d < hb {
			t.Errorf("six stops within %v, the limit is 5 in %v", d, hb)
		}
	}
}

// TestW35OnlyInstancesAreStopped: nothing is sent for an app that nothing live is known of, and every stop names
// the instance that it is about.
func TestW35OnlyInstancesAreStopped(t *testing.T) {
	w := steady(t, 6, 30, testOptions())
	for i := range uint32(4) {
		w.crash(w.apps[0].Key, i, false)
		w.crash(w.apps[1].Key, i, true)
	}
	w.apps = w.apps[2:] // both are deleted; of the first one crashed instances are listed
	w.apps[0].State = desired.Stopped
	w.readErr = errTest // the crashes are heard before the deletion is read
	w.pause(4 * hb)
	w.run(2 * hb)
	w.readErr = nil
	w.run(40 * hb)
	w.wantSent("two apps have nothing live, a third is stopped", 0, 4)
	for _, c := range w.sent {
		if c.Instance.IsZero() || c.App != w.apps[0].Key {
			t.Errorf("a stop of %q of %s", c.Instance, c.App)
		}
	}
}

// TestW37ExtrasGoByIndex: not by what was seen first.
func TestW37ExtrasGoByIndex(t *testing.T) {
	w := steady(t, 4, 30, testOptions())
	k := w.apps[0].Key
	w.deas["dea-000"].list = append([]actual.Instance{w.instance(k, 7, actual.Running)}, w.deas["dea-000"].list...)
	w.deas["dea-001"].list = append([]actual.Instance{w.instance(k, 5, actual.Starting)}, w.deas["dea-001"].list...)
	w.change(k, func(a *desired.App) { a.Instances = 2 })
	w.run(20 * hb)
	var stopped []uint32
	for _, c := range w.sent {
		if c.Action != commands.Stop || c.App != k {
			t.Fatalf("%s of %s", c.Action, c.App)
		}
		stopped = append(stopped, c.Index)
	}
	if slices.Sort(stopped); !slices.Equal(stopped, []uint32{2, 3, 5, 7}) {
		t.Errorf("stopped are the indices %v, want 2 3 5 7", stopped)
	}
}

// TestW50AnnouncementsAreReadTogether: however many droplet.updated arrive, one read answers them.
func TestW50AnnouncementsAreReadTogether(t *testing.T) {
	w := steady(t, 4, 5, testOptions())
	reads := w.reads2
	for range 600 {
		w.intake.Updated(w.apps[0].Key.Droplet)
		w.run(hb / 100)
	}
	if n := w.reads2 - reads; n < 3 || n > 7 {
		t.Errorf("600 announcements in 6 heartbeats led to %d reads, want one a heartbeat", n)
	}
}

// TestW55NothingIsLeftBehind: of an app that was looked at again and again no alarm remains.
func TestW55NothingIsLeftBehind(t *testing.T) {
	w := steady(t, 4, 30, testOptions())
	d := w.deas["dea-001"]
	for range 200 {
		list := d.list
		d.list = nil
		w.run(hb)
		d.list = list
		w.run(hb)
	}
	w.run(60 * hb)
	w.wantSent("a list came and went", 0, 0)
	if q := &w.core.queue; len(q.order) > 0 || len(q.at) > 0 || len(q.now) > 0 || len(q.waiting) > 0 || len(w.core.ready.apps) > 0 {
		t.Errorf("left are %d alarms for %d apps, %d queued, %d blocked, %d ready", len(q.order), len(q.at), len(q.now), len(q.waiting), len(w.core.ready.apps))
	}
	if c := w.View().Counts(); c.PendingStarts+c.PendingStops > 0 {
		t.Errorf("%d commands are pending", c.PendingStarts+c.PendingStops)
	}
}

// TestW59NewVersionOnTheSpot: dea.update gives every instance of an app a new version and a new guid. Until their
// DEAs have beaten, hm may ask for stops of the old guids, which nobody has any more; it starts nothing and no
// instance is lost.
func TestW59NewVersionOnTheSpot(t *testing.T) {
	for _, announced := range []bool{true, false} {
		t.Run(fmt.Sprint("announced: ", announced), func(t *testing.T) {
			w := steady(t, 4, 30, testOptions())
			k := w.apps[0].Key
			next := app.Key{Droplet: k.Droplet, Version: app.MustGUID("v2")}
			w.apps[0].Key = next
			for _, d := range w.deas {
				for i := range d.list {
					if d.list[i].App == k {
						d.list[i] = w.instance(next, d.list[i].Index, actual.Running)
					}
				}
			}
			if announced {
				w.intake.Updated(k.Droplet)
			}
			w.run(30 * hb)
			for _, c := range w.sent {
				if c.Action == commands.Start || c.App != k {
					t.Errorf("%s of %s/%d", c.Action, c.App, c.Index)
				}
			}
			if d := w.drift(); len(d) > 0 || w.live() != 120 {
				t.Errorf("%d live, want 120; drift %v", w.live(), d)
			}
		})
	}
}
