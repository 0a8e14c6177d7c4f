package reconcile

import (
	"context"
	"fmt"

	"hm/internal/app"
	"hm/raftfsm"
)

// How often a sweep is made in a heartbeat period: when nothing is known to be due, and at the most, since a sweep
// looks at every DEA and many may fall silent one by one.
const (
	sweepsPerPeriod    = 5
	maxSweepsPerPeriod = 200
)

// tidyPeriods is how many heartbeat periods lie between two looks at all crash marks.
const tidyPeriods = 12

// sweep does what only time asks for: DEAs that fell silent, holds that are over, records that nobody needs. It says
// when the next one is due: when the next DEA falls silent or the next hold ends, and in any case soon. These moments
// divide a heartbeat period by hm time, so that they are the same for whoever leads, and for a replay.
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
	namedNow := false // all that is known to be lost is named by a hold
	if c.due(&c.nextLate, now, c.opts.Policy.HeartbeatPeriod) {
		hold, namedNow = c.laterLoss(view, now)
	}
	if hold != nil {
		records = append(records, hold)
	}
	silent, present, nextSilent := c.intake.Silent(view, now)
	at(nextSilent)
	silent, again := c.silentForAll(silent, now)
	at(again)
	c.compareHearing(present, now)
	recorded := func(error) {}
	if len(silent) > 0 {
		var gone []raftfsm.Record
		gone, recorded = c.guardLoss(view, now, []raftfsm.Record{raftfsm.DEAsGone{DEAs: silent}})
		records = append(records, gone...)
		c.logger.Info("DEAs fell silent", "deas", len(silent), "first", silent[0])
	}
	records = append(records, c.endedHolds(view, now, len(silent) > 0, at)...)
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

// endedHolds gives the records that release holds which are over: their time has come, or what was lost is back, unless
// something is lost just now. It has at called with the times at which others may be.
func (c *Core) endedHolds(view *raftfsm.State, now app.Time, losing bool, at func(app.Time)) []raftfsm.Record {
	c.forgetRecoveries(view)
	var records []raftfsm.Record
	for _, h := range view.Holds() {
		if !h.InForce(now) {
			c.logger.Info("hold is over", "hold", h.Name)
			records = append(records, raftfsm.HoldReleased{Name: h.Name})
			continue
		}
		at(h.Until)
		if losing {
			continue
		}
		over, again := c.isRecovered(view, now, h)
		if at(again); over {
			c.logger.Info("hold is over: what was lost is back", "hold", h.Name)
			records = append(records, raftfsm.HoldReleased{Name: h.Name})
		}
	}
	return records
}

// forgettable gives the records that drop DEAs long gone, and crash series that are over (R08).
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
	if c.due(&c.nextTidy, now, tidyPeriods*c.opts.Policy.HeartbeatPeriod) {
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
