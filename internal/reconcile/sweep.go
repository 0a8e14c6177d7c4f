package reconcile

import (
	"context"
	"fmt"

	"hm/internal/app"
	"hm/raftfsm"
)

// How many sweeps there are in a heartbeat period: at least, and at most. A sweep looks at every
// DEA, and many DEAs may fall silent one after another.
const (
	sweepsPerPeriod    = 5
	maxSweepsPerPeriod = 200
)

// tidyPeriods is after how many heartbeat periods all crash marks are looked at again.
const tidyPeriods = 12

// sweep does what becomes due by time alone: it records DEAs that fell silent, releases holds that
// are over, and drops records that are not needed. The next sweep is due when the next DEA falls
// silent or the next hold ends, and soon in any case. Sweeps lie at fixed fractions of a heartbeat
// period in hm time, the same for every leader and for a replay; one more is due when what is heard
// becomes fresh (becameFresh).
func (c *Core) sweep(ctx context.Context, now app.Time) error {
	next := now.Next(c.opts.Policy.HeartbeatPeriod / sweepsPerPeriod)
	at := func(t app.Time) {
		if t > now {
			next = min(next, (t - 1).Next(c.opts.Policy.HeartbeatPeriod/maxSweepsPerPeriod))
		}
	}
	view := c.log.View()
	c.intake.Forget(view)
	var records []raftfsm.Record
	var hold raftfsm.Record
	namedNow := false // a hold names all known losses
	if c.due(&c.nextLate, now, c.opts.Policy.HeartbeatPeriod) {
		hold, namedNow = c.laterLoss(view, now)
	}
	if hold != nil {
		records = append(records, hold)
	}
	silent, present, nextSilent := c.intake.Silent(view, now)
	at(nextSilent)
	unknown := c.intake.Unknown(view)
	c.heardByPeers.fresh, _, _ = c.intake.Fresh(now)
	silent, again := c.silentForAll(silent, unknown, now)
	at(again)
	c.compareHearing(present, unknown, now)
	if c.heardByPeers.deaf { // it does not know enough to tell, and sends nothing
		silent = nil
	}
	recorded := func(error) {}
	if len(silent) > 0 {
		var gone []raftfsm.Record
		gone, recorded = c.guardLoss(view, now, []raftfsm.Record{raftfsm.DEAsGone{DEAs: silent}})
		records = append(records, gone...)
		c.logger.Info("DEAs fell silent", "deas", len(silent), "first", silent[0])
	}
	records = append(records, c.endedHolds(view, now, len(silent) > 0 || hold != nil, at)...)
	records = append(records, c.forgettable(view, now)...)
	if len(records) > 0 {
		err := c.propose(ctx, records...)
		if recorded(err); err != nil {
			c.nextSweep = c.retryAt(now)
			return fmt.Errorf("recording silent DEAs and ended holds: %w", err)
		}
	}
	if namedNow && len(silent) == 0 {
		c.losses.places = nil
	}
	c.nextSweep = next
	return nil
}

// endedHolds gives the records that release holds which are over: their time has passed, or what
// was lost is back. While losing is set, no hold ends early: view does not have what is lost now. It calls at with the times at which
// other holds may end.
func (c *Core) endedHolds(view *raftfsm.State, now app.Time, losing bool, at func(app.Time)) []raftfsm.Record {
	c.forgetRecoveries(view)
	var records []raftfsm.Record
	for _, h := range view.Holds() {
		if !h.InForce(now) {
			c.logger.Info("a hold is over", "hold", h.Name)
			records = append(records, raftfsm.HoldReleased{Name: h.Name})
			continue
		}
		at(h.Until)
		if losing {
			continue
		}
		over, again := c.isRecovered(view, now, h)
		if at(again); over {
			c.logger.Info("a hold is over: what was lost is back", "hold", h.Name)
			records = append(records, raftfsm.HoldReleased{Name: h.Name})
		}
	}
	return records
}

// forgettable gives the records that drop DEAs that left long ago, and crash series that are over
// (R08).
func (c *Core) forgettable(view *raftfsm.State, now app.Time) []raftfsm.Record {
	var records []raftfsm.Record
	var deas []string
	keep := max(2*c.opts.Guard.MassLossHold, fullPassPeriods*c.opts.Policy.HeartbeatPeriod)
	if view.Counts().GoneDEAs > 0 {
		for d := range view.DEAs() {
			if d.GoneAt != 0 && now.Sub(d.GoneAt) >= keep {
				deas = append(deas, d.ID)
			}
		}
	}
	if len(deas) > 0 {
		records = append(records, raftfsm.DEAsForgotten{DEAs: deas})
	}
	var crashes []raftfsm.CrashRef
	for k, crash := range view.AllCrashes() {
		counted := crash.Count > 0 && now.Sub(crash.Last) < c.opts.Policy.CrashMemory()
		noted := !crash.Exited.IsZero() && now.Sub(crash.ExitedAt) < c.opts.Policy.CrashMemory()
		tried := crash.Tries > 0 && now.Sub(crash.TriedAt) < c.opts.Policy.CrashMemory()
		if !counted && !noted && !tried {
			crashes = append(crashes, raftfsm.CrashRef{App: k, Index: crash.Index})
		}
	}
	// If it does not hear all, a DEA may list a crash, and this leader has not heard so yet.
	if c.due(&c.nextTidy, now, tidyPeriods*c.opts.Policy.HeartbeatPeriod) && c.hearsAll(now) {
		for m := range view.UnlistedMarks() {
			if now.Sub(m.At) >= c.opts.Policy.CrashMemory() {
				crashes = append(crashes, m.CrashRef)
			}
		}
	}
	if len(crashes) > 0 {
		records = append(records, raftfsm.CrashesForgotten{Crashes: crashes})
	}
	return records
}

// hearsAll reports whether this leader has heard what each DEA lists that any node hears.
func (c *Core) hearsAll(now app.Time) bool {
	fresh, _, _ := c.intake.Fresh(now)
	return fresh && !c.intake.Awaits() && !c.heardByPeers.deaf && !c.heardByPeers.unsure
}
