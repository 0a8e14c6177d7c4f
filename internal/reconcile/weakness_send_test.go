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

// TestW21ReactsWithinAHeartbeatAndTheGrace, whatever the size of the fleet (W51): nothing waits for
// a pass over the fleet.
func TestW21ReactsWithinAHeartbeatAndTheGrace(t *testing.T) {
	const moment = 200 * time.Millisecond // for the read that a decision may ask for
	for _, apps := range []int{10, 2_500} {
		for _, c := range []struct {
			name   string
			happen func(*simCF)
			limit  time.Duration
		}{
			{"a DEA no longer lists an instance", func(cf *simCF) { cf.deas["dea-003"].list = cf.deas["dea-003"].list[1:] }, hb + testPolicy.Grace},
			{"a crash shows in a heartbeat", func(cf *simCF) { cf.deas["dea-003"].list[0].State = actual.Crashed }, hb},
			{"an evacuation shows in a heartbeat", func(cf *simCF) { cf.deas["dea-003"].list[0].State = actual.Evacuating }, hb},
			{"an app is stopped, and droplet.updated says so", func(cf *simCF) { cf.apps[1].State = desired.Stopped; cf.intake.Updated(app.GUID{}) }, hb},
			{"an app is stopped, and nobody says so", func(cf *simCF) { cf.apps[1].State = desired.Stopped }, 6 * hb},
			{"an app is scaled up, and droplet.updated says so", func(cf *simCF) { cf.apps[1].Instances = 5; cf.intake.Updated(app.GUID{}) }, hb + testPolicy.Grace},
		} {
			t.Run(fmt.Sprintf("%s, %d apps", c.name, apps), func(t *testing.T) {
				cf := steadyFleet(t, 6, apps, testOptions())
				began := cf.now
				c.happen(cf)
				cf.run(c.limit + moment)
				if len(cf.sent) == 0 {
					t.Fatalf("nothing was sent within %v", c.limit)
				}
				t.Logf("%v", cf.sent[0].at.Sub(began))
			})
		}
	}
}

// choosy is a Cloud Controller that ignores some commands and tells nobody.
type choosy struct {
	cf    *simCF
	likes func(commands.Command) bool
}

func (p choosy) Publish(_ context.Context, _ uint64, cmds []commands.Command) []error {
	for _, c := range cmds {
		p.cf.sent = append(p.cf.sent, sentCommand{c, p.cf.now})
		if p.likes(c) {
			p.cf.obey(c)
		}
	}
	return make([]error, len(cmds))
}

// TestW23RefusedStartsHoldUpOthersNoLongerThanTheLimitSays: starts that a Cloud Controller ignores
// use a part of the limit again and again, in turn with all others.
func TestW23RefusedStartsHoldUpOthersNoLongerThanTheLimitSays(t *testing.T) {
	for _, refused := range []int{0, 150, 600} {
		t.Run(fmt.Sprint(refused), func(t *testing.T) {
			cf := steadyFleet(t, 6, 10, testOptions())
			cf.core = NewCore(cf.opts, cf, choosy{cf, func(c commands.Command) bool {
				return !strings.HasPrefix(c.App.Droplet.String(), "no-")
			}}, cf.intake, cf.endedCommands)
			for i := range refused {
				k := app.Key{Droplet: app.MustGUID(fmt.Sprintf("no-%d", i)), Version: app.MustGUID("v1")}
				cf.apps = append(cf.apps, desired.App{Key: k, Instances: 1, State: desired.Started, Package: desired.Staged})
			}
			cf.run(40 * hb)
			began := cf.now
			d := cf.deas["dea-001"]
			lost := d.list[0]
			d.list = d.list[1:]
			limit := hb + testPolicy.Grace + time.Duration(refused/cf.opts.StartLimit+1)*hb
			cf.run(limit)
			i := slices.IndexFunc(cf.sent, func(c sentCommand) bool { return c.App == lost.App && c.Index == lost.Index })
			if i < 0 {
				t.Fatalf("an instance that was lost among %d refused starts was not restarted within %v", refused, limit)
			}
			t.Logf("restarted after %v", cf.sent[i].at.Sub(began))
		})
	}
}

// TestW31EverythingIsLookedAtAgainBeforeItIsSent: a scheduled command that is no longer needed when
// it is due is not sent.
func TestW31EverythingIsLookedAtAgainBeforeItIsSent(t *testing.T) {
	for _, c := range []struct {
		name          string
		happen, later func(*simCF)
		starts, stops int
	}{
		{"staged anew", func(cf *simCF) { cf.lose(1) }, func(cf *simCF) { cf.apps[0].Package = desired.Pending }, 0, 0},
		{"scaled below it", func(cf *simCF) { cf.lose(3) }, func(cf *simCF) { cf.apps[0].Instances = 3 }, 0, 0},
		{"it is back", func(cf *simCF) { cf.lose(1) }, func(cf *simCF) {
			cf.deas["dea-000"].list = append(cf.deas["dea-000"].list, cf.instance(cf.apps[0].Key, 1, actual.Running))
		}, 0, 0},
		{"the copy is gone: index 0 is not stopped for it", func(cf *simCF) { cf.copies(1) }, func(cf *simCF) {
			d := cf.deas["dea-000"]
			d.list = d.list[:len(d.list)-1]
		}, 0, 0},
		{"nothing changes", func(cf *simCF) { cf.lose(1) }, func(*simCF) {}, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 30, testOptions())
			c.happen(cf)
			cf.run(hb + time.Second)
			if n := cf.View().Counts(); n.PendingStarts+n.PendingStops != 1 {
				t.Fatalf("%d starts and %d stops are pending, want one command", n.PendingStarts, n.PendingStops)
			}
			c.later(cf)
			cf.intake.Updated(cf.apps[0].Key.Droplet)
			cf.run(30 * hb)
			cf.wantSent(c.name, c.starts, c.stops)
		})
	}
}

// lose takes an instance of the first app away.
func (cf *simCF) lose(index uint32) {
	d, i := cf.at(cf.apps[0].Key, index)
	guid := i.GUID
	d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == guid })
}

// TestW32StopsAreLimitedAndCanBePaused with policy.stop_limit. Without it there is no limit.
func TestW32StopsAreLimitedAndCanBePaused(t *testing.T) {
	opts := testOptions()
	opts.StopLimit = 5
	cf := steadyFleet(t, 6, 30, opts)
	for i := range 10 {
		cf.apps[i].State = desired.Stopped
	}
	for len(cf.sent) < 15 {
		cf.run(hb / 10)
	}
	cf.pause(10 * hb)
	sent := len(cf.sent)
	cf.run(10*hb - time.Second)
	if len(cf.sent) != sent {
		t.Errorf("%d stops were sent while paused", len(cf.sent)-sent)
	}
	cf.run(20 * hb)
	cf.wantSent("ten apps of four instances are stopped", 0, 40)
	for i := 5; i < len(cf.sent); i++ {
		if d := cf.sent[i].at.Sub(cf.sent[i-5].at); d < hb {
			t.Errorf("six stops within %v, the limit is 5 in %v", d, hb)
		}
	}
}

// TestW35OnlyInstancesAreStopped: no stop is sent for an app without known live instances, and
// every stop names its instance.
func TestW35OnlyInstancesAreStopped(t *testing.T) {
	cf := steadyFleet(t, 6, 30, testOptions())
	for i := range uint32(4) {
		cf.crash(cf.apps[0].Key, i, false)
		cf.crash(cf.apps[1].Key, i, true)
	}
	cf.apps = cf.apps[2:] // both are deleted; of the first one crashed instances are listed
	cf.apps[0].State = desired.Stopped
	cf.readErr = errTest // the crashes are heard before the deletion is read
	cf.pause(4 * hb)
	cf.run(2 * hb)
	cf.readErr = nil
	cf.run(40 * hb)
	cf.wantSent("two apps have nothing live, a third is stopped", 0, 4)
	for _, c := range cf.sent {
		if c.Instance.IsZero() || c.App != cf.apps[0].Key {
			t.Errorf("a stop of %q of %s", c.Instance, c.App)
		}
	}
}

// TestW37ExtrasGoByIndex: not by what was seen first.
func TestW37ExtrasGoByIndex(t *testing.T) {
	cf := steadyFleet(t, 4, 30, testOptions())
	k := cf.apps[0].Key
	cf.deas["dea-000"].list = append([]actual.Instance{cf.instance(k, 7, actual.Running)}, cf.deas["dea-000"].list...)
	cf.deas["dea-001"].list = append([]actual.Instance{cf.instance(k, 5, actual.Starting)}, cf.deas["dea-001"].list...)
	cf.change(k, func(a *desired.App) { a.Instances = 2 })
	cf.run(20 * hb)
	var stopped []uint32
	for _, c := range cf.sent {
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
	cf := steadyFleet(t, 4, 5, testOptions())
	reads := cf.readsMade
	for range 600 {
		cf.intake.Updated(cf.apps[0].Key.Droplet)
		cf.run(hb / 100)
	}
	if n := cf.readsMade - reads; n < 3 || n > 7 {
		t.Errorf("600 announcements in 6 heartbeats led to %d reads, want one a heartbeat", n)
	}
}

// TestW55NothingIsLeftBehind: an app that was evaluated many times leaves no timed evaluation
// behind.
func TestW55NothingIsLeftBehind(t *testing.T) {
	cf := steadyFleet(t, 4, 30, testOptions())
	d := cf.deas["dea-001"]
	for range 200 {
		list := d.list
		d.list = nil
		cf.run(hb)
		d.list = list
		cf.run(hb)
	}
	cf.run(60 * hb)
	cf.wantSent("a list came and went", 0, 0)
	if q := &cf.core.queue; len(q.order) > 0 || len(q.at) > 0 || len(q.now) > 0 || len(q.waiting) > 0 || len(cf.core.ready.apps) > 0 {
		t.Errorf("left are %d alarms for %d apps, %d queued, %d blocked, %d ready", len(q.order), len(q.at), len(q.now), len(q.waiting), len(cf.core.ready.apps))
	}
	if c := cf.View().Counts(); c.PendingStarts+c.PendingStops > 0 {
		t.Errorf("%d commands are pending", c.PendingStarts+c.PendingStops)
	}
}

// TestW59NewVersionOnTheSpot: dea.update gives every instance of an app a new version and a new
// guid. Until the next heartbeats hm may send stops of the old guids, which do not exist any more.
// It starts nothing, and no instance is lost.
func TestW59NewVersionOnTheSpot(t *testing.T) {
	for _, announced := range []bool{true, false} {
		t.Run(fmt.Sprint("announced: ", announced), func(t *testing.T) {
			cf := steadyFleet(t, 4, 30, testOptions())
			k := cf.apps[0].Key
			next := app.Key{Droplet: k.Droplet, Version: app.MustGUID("v2")}
			cf.apps[0].Key = next
			for _, d := range cf.deas {
				for i := range d.list {
					if d.list[i].App == k {
						d.list[i] = cf.instance(next, d.list[i].Index, actual.Running)
					}
				}
			}
			if announced {
				cf.intake.Updated(k.Droplet)
			}
			cf.run(30 * hb)
			for _, c := range cf.sent {
				if c.Action == commands.Start || c.App != k {
					t.Errorf("%s of %s/%d", c.Action, c.App, c.Index)
				}
			}
			if d := cf.drift(); len(d) > 0 || cf.live() != 120 {
				t.Errorf("%d live, want 120; drift %v", cf.live(), d)
			}
		})
	}
}
