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
func (c *Core) sweep(ctx context.Context, now app.Time) (next app.Time, err error) {
	next = now.Next(c.opts.Policy.HeartbeatPeriod / sweepsPerPeriod)
	at := func(t app.Time) {
		if t > now {
			next = min(next, (t - 1).Next(c.opts.Policy.HeartbeatPeriod/maxSweepsPerPeriod))
		}
	}
	view := c.log.View()
	c.intake.Forget(view)
	var records []raftfsm.Record
	silent, present, nextSilent := c.intake.Silent(view, now)
	at(nextSilent)
	silent, again := c.agreed(silent, now)
	at(again)
	c.compare(present, now)
	if len(silent) > 0 || c.inherited {
		here, lost := lostSince(view, now.Add(-c.intake.live.TTL))
		if len(silent) > 0 {
			here = present
		}
		if why := c.opts.Guard.Loses(here-len(silent), lost+len(silent)); why != "" && !held(view, HoldMassLoss) {
			until := now.Add(c.opts.Guard.MassLossHold)
			c.logger.Warn("holding all commands: many DEAs fell silent at once", "why", why, "until", until)
			// Before the loss: a leader that stops between the two must not leave a loss without its hold.
			records = append(records, raftfsm.HoldSet{Hold: raftfsm.Hold{Name: HoldMassLoss, Reason: why, By: holdBy, SetAt: now, Until: until}})
		}
	}
	if len(silent) > 0 {
		records = append(records, raftfsm.DEAsGone{DEAs: silent})
		c.logger.Info("DEAs fell silent", "deas", len(silent), "first", silent[0])
	}
	for _, h := range view.Holds() {
		if h.Until != 0 && now >= h.Until {
			c.logger.Info("hold is over", "hold", h.Name)
			records = append(records, raftfsm.HoldReleased{Name: h.Name})
			continue
		}
		at(h.Until)
		if h.Name == HoldMassLoss && len(silent) == 0 {
			// DEAs return one by one: the hold stays for a time to live after enough of them have.
			if present, lost := lostSince(view, h.SetAt.Add(-c.intake.live.TTL)); c.opts.Guard.Loses(present, lost) != "" {
				c.lossOver = 0
			} else if c.lossOver == 0 {
				c.lossOver = now
				at(now.Add(c.intake.live.TTL))
			} else if now.Sub(c.lossOver) >= c.intake.live.TTL {
				c.lossOver = 0
				c.logger.Info("hold is over: the DEAs are back", "hold", h.Name, "present", present, "lost", lost)
				records = append(records, raftfsm.HoldReleased{Name: h.Name})
			} else {
				at(c.lossOver.Add(c.intake.live.TTL))
			}
		}
	}
	records = append(records, c.forgettable(view, now)...)
	if len(records) > 0 {
		if err := c.propose(ctx, records...); err != nil {
			return now.Add(c.opts.Policy.HeartbeatPeriod / 10), fmt.Errorf("recording silent DEAs and ended holds: %w", err)
		}
	}
	c.inherited = false
	return next, nil
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
