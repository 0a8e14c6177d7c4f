package reconcile

import (
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

// at gives the live instance at an index, nil if there is none.
func (cf *simCF) at(k app.Key, index uint32) (*simDEA, *actual.Instance) {
	for _, d := range cf.deas {
		for i := range d.list {
			if d.list[i].App == k && d.list[i].Index == index && d.list[i].State.Live() {
				return d, &d.list[i]
			}
		}
	}
	return nil, nil
}

// crash makes the instance at an index crash. A forgetful DEA does not list it any more: only
// droplet.exited tells.
func (cf *simCF) crash(k app.Key, index uint32, forgetful bool) {
	d, i := cf.at(k, index)
	if i == nil {
		return
	}
	cf.intake.Exit(actual.Exit{App: k, Instance: i.GUID, Index: index, Reason: actual.ExitCrashed})
	i.State = actual.Crashed
	if forgetful {
		guid := i.GUID
		d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == guid })
	}
}

// TestW19BackOffSurvivesForgetfulDEAs: DEAs keep only the newest crash of an app. hm's delays stay
// the same.
func TestW19BackOffSurvivesForgetfulDEAs(t *testing.T) {
	cf := steadyFleet(t, 4, 1, testOptions())
	k := cf.apps[0].Key
	var starts []app.Time
	for range 250 {
		if _, i := cf.at(k, 1); i != nil {
			cf.crash(k, 1, true)
			cf.crash(k, 2, true) // the other one, at the same time
		}
		sent := len(cf.sent)
		cf.run(hb)
		for _, c := range cf.sent[sent:] {
			if c.Index == 1 {
				starts = append(starts, c.at)
			}
		}
	}
	var gaps []int
	for i := 1; i < len(starts); i++ {
		gaps = append(gaps, int((starts[i].Sub(starts[i-1])+hb/2)/hb))
	}
	if len(gaps) < 7 || slices.Max(gaps[:2]) > 4 || gaps[3] < 6 || gaps[4] < 12 || gaps[5] < 24 || gaps[6] < 48 {
		t.Errorf("heartbeats between restarts: %v, want a back-off that doubles", gaps)
	}
}

// TestW19BackOffHoldsForWhatVanishes: in a crash loop an instance vanishes, and no message says
// that it crashed.
func TestW19BackOffHoldsForWhatVanishes(t *testing.T) {
	cf := steadyFleet(t, 4, 1, testOptions())
	k := cf.apps[0].Key
	for range 5 {
		cf.crash(k, 1, true)
		for range 40 {
			if cf.run(hb); cf.liveAt(k, 1) > 0 {
				break
			}
		}
	}
	count := cf.View().Crashes(k)[0].Count
	before := cf.sent[len(cf.sent)-1].at
	cf.lose(1)
	cf.run(60 * hb)
	after := cf.sent[len(cf.sent)-1].at.Sub(before)
	if backoff := testPolicy.Backoff(count); count != 5 || after < backoff || after > backoff+3*hb {
		t.Errorf("restarted %v after the restart before it, want the back-off of %d crashes, %v", after, count, backoff)
	}
	if after := cf.View().Crashes(k)[0].Count; after > count {
		t.Errorf("%d crashes are counted, nobody told of a further one than %d", after, count)
	}
}

// TestW20HealthyRunEndsTheSeries: an app that runs well after a crash loop is restarted at once
// when it crashes again.
func TestW20HealthyRunEndsTheSeries(t *testing.T) {
	for _, c := range []struct {
		healthy time.Duration
		atOnce  bool
	}{{hb, false}, {40 * hb, true}} {
		t.Run(c.healthy.String(), func(t *testing.T) {
			cf := steadyFleet(t, 4, 1, testOptions())
			k := cf.apps[0].Key
			for range 5 {
				cf.crash(k, 1, false)
				for range 40 {
					if cf.run(hb); cf.liveAt(k, 1) > 0 {
						break
					}
				}
			}
			cf.run(c.healthy)
			sent := len(cf.sent)
			cf.crash(k, 1, false)
			cf.run(time.Second)
			if atOnce := len(cf.sent) > sent; atOnce != c.atOnce {
				t.Errorf("restarted at once: %v, want %v", atOnce, c.atOnce)
			}
		})
	}
}

// TestW42ExitsOfWhatIsNotWanted: what follows from an exit depends on what is desired.
func TestW42ExitsOfWhatIsNotWanted(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*desired.App)
		index  uint32
		starts int
	}{
		"wanted":           {func(*desired.App) {}, 1, 1},
		"stopped":          {func(a *desired.App) { a.State = desired.Stopped }, 1, 0},
		"another version":  {func(a *desired.App) { a.Key.Version = app.MustGUID("v2"); a.Instances = 0 }, 1, 0},
		"not staged":       {func(a *desired.App) { a.Package = desired.Pending }, 1, 0},
		"staging failed":   {func(a *desired.App) { a.Package = desired.Failed }, 1, 0},
		"out of range":     {func(a *desired.App) { a.Instances = 1 }, 1, 0},
		"beyond all range": {func(*desired.App) {}, 60_000, 0},
	} {
		for _, reason := range []actual.ExitReason{actual.ExitCrashed, actual.ExitShutdown, actual.ExitEvacuation, actual.ExitStopped, actual.ExitOther} {
			t.Run(name+" "+reason.String(), func(t *testing.T) {
				cf := steadyFleet(t, 4, 30, testOptions())
				k := cf.apps[0].Key
				d, i := cf.at(k, 1)
				exit := actual.Exit{App: k, Instance: i.GUID, Index: c.index, Reason: reason}
				if c.index != 1 {
					exit.Instance = app.MustGUID("never-heard-of")
				} else {
					guid := i.GUID
					d.list = slices.DeleteFunc(d.list, func(i actual.Instance) bool { return i.GUID == guid })
				}
				c.change(&cf.apps[0])
				cf.intake.Updated(k.Droplet)
				cf.run(2 * time.Second) // read, recorded
				cf.intake.Exit(exit)
				cf.run(20 * hb)
				starts := 0
				for _, s := range cf.sent {
					if s.Reason < 4 { // a start
						starts++
					}
				}
				if starts != c.starts {
					t.Errorf("%d starts, want %d", starts, c.starts)
				}
			})
		}
	}
}

// TestW44OldExitsAgain: a restarted DEA reports all its old crashes again, while replacements run.
func TestW44OldExitsAgain(t *testing.T) {
	cf := steadyFleet(t, 4, 5, testOptions())
	k := cf.apps[0].Key
	var old []actual.Exit
	for range 3 {
		_, i := cf.at(k, 2)
		old = append(old, actual.Exit{App: k, Instance: i.GUID, Index: 2, Reason: actual.ExitCrashed})
		cf.crash(k, 2, true)
		cf.run(2 * hb)
	}
	cf.run(5 * hb)
	cf.wantSent("three crashes", 3, 0)
	hash := cf.View().Hash()
	count := cf.View().Crashes(k)[0].Count
	for range 5 {
		for _, e := range old {
			cf.intake.Exit(e)
		}
		cf.intake.Exit(actual.Exit{App: k, Instance: app.MustGUID("older-still"), Index: 2, Reason: actual.ExitCrashed})
		cf.run(4 * hb)
	}
	cf.wantSent("their exits again", 3, 0)
	if cf.View().Hash() != hash || cf.View().Crashes(k)[0].Count != count {
		t.Errorf("old exits changed the record: %+v", cf.View().Crashes(k))
	}
	if cf.liveAt(k, 2) != 1 {
		t.Error("the replacement is gone")
	}
}
