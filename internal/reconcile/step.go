package reconcile

import (
	"context"
	"time"

	"hm/commands"
	"hm/internal/app"
)

// Step does what is to be done at now, and says when to call it again at the latest. read, if it is
// not 0, asks for a read of the desired state; its outcome goes to DesiredRead under this number.
// An error means that a proposal failed; the next step tries again.
func (c *Core) Step(ctx context.Context, now app.Time, lead Lead) (next app.Time, read uint64, err error) {
	c.noteClock(now)
	restored := c.noteRestore()
	c.logDoubledIDs(now)
	c.noteTroubles(now)
	if !lead.Leader {
		c.follow(now, lead)
		return now.Add(c.opts.Policy.HeartbeatPeriod / 2), 0, nil
	}
	switch {
	case lead.Term != c.term:
		c.beginTerm(lead.Term, now)
		c.noteLeader(now)
	case restored:
		c.beginTerm(lead.Term, now)
	}
	more, read, err := c.lead(ctx, now, lead)
	if err == nil {
		err = c.proposeNotes(ctx)
	}
	if err != nil {
		return c.retryAt(now), read, err
	}
	return c.nextStep(now, more), read, nil
}

// noteClock keeps the age of the newest read of the desired state right. Whatever sets that age calls
// it first. hm time does not count a
// suspension of this node's machine, and a follower's clock is set by its leader's.
func (c *Core) noteClock(now app.Time) {
	mono, suspended := c.intake.clock(), c.log.Suspended()
	if c.stepped != 0 {
		passed := mono.Sub(c.steppedMono) + suspended - c.suspended
		c.reads.shift(now.Sub(c.stepped)-passed, now)
	}
	c.stepped, c.steppedMono, c.suspended = now, mono, suspended
}

// retryAt is when to try again what failed at now.
func (c *Core) retryAt(now app.Time) app.Time { return now.Add(c.opts.Policy.HeartbeatPeriod / 10) }

// follow is the step of a node that does not lead: it only keeps up with what it hears and with the
// record.
func (c *Core) follow(now app.Time, lead Lead) {
	c.term, c.heardByPeers, c.notes = 0, heardByPeers{}, notes{}
	c.drain = drain{}
	c.reads.abandon()
	c.intake.Follow(lead.Known)
	c.intake.TakeExits() // the leader hears them too
	c.intake.TakeUpdated()
	c.intake.TakeUnplacedChanged()
	c.intake.Settle(c.log.View())
	c.setGate(now, lead, true)
	if c.due(&c.nextSweep, now, c.opts.Policy.HeartbeatPeriod) {
		c.intake.Forget(c.log.View())
	}
}

// beginTerm begins a leadership. It trusts nothing that this node knew in an earlier one.
func (c *Core) beginTerm(term uint64, now app.Time) {
	c.term = term
	c.throttle = c.seededThrottle(now)
	c.queue = queue{}
	c.ready = ready{apps: map[commands.ID]app.Key{}}
	c.claimAt, c.claims = [2]app.Time{}, nil
	c.drain.begin(now)
	c.notes = notes{}
	c.nextSweep, c.nextFull, c.nextTidy = now, now, now
	c.gateKnown, c.inherited, c.heardByPeers = false, true, heardByPeers{}
	c.surplus = surplus{}
	c.losses, c.recoveries, c.firstPicture, c.nextLate = losses{}, map[string]recovery{}, firstPicture{}, now
	c.reads.lead()
	c.intake.BeginLeading(c.log.View(), now)
}

// lead is a leader's step: it takes in what was heard, sweeps, opens or closes the gate, asks for a
// read, and acts. more reports that there is work left for the next step at once.
func (c *Core) lead(ctx context.Context, now app.Time, lead Lead) (more bool, read uint64, err error) {
	wasOpen := c.gateKnown && evaluates(c.gate)
	recorded, err := c.take(ctx, now)
	switch {
	case err != nil: // no sweep compares this leader with its peers
		view := c.log.View()
		c.compareHearing(view.Counts().DEAs, c.intake.Unknown(view), now)
	case now >= c.nextSweep || c.becameFresh(now):
		err = c.sweep(ctx, now)
	}
	if err != nil {
		c.setGate(now, lead, false) // what was heard is not recorded
		c.followGate(now, wasOpen)
		return false, 0, err
	}
	known := recorded && !c.heardByPeers.unsure
	c.setGate(now, lead, known)
	opens := !wasOpen && evaluates(c.gate)
	var unsettled []app.Key
	if opens || c.firstPicture.due(c.gate) {
		unsettled = c.eval.Unsettled(c.log.View())
		if err := c.checkBeginning(ctx, now, opens, unsettled); err != nil {
			c.setGate(now, lead, false) // the next step opens the gate again, and checks again
			c.followGate(now, wasOpen)
			return false, 0, err
		}
		c.setGate(now, lead, known)
	}
	c.followGate(now, wasOpen)
	c.announced(c.intake.TakeUpdated())
	c.queueUnplaced(c.intake.TakeUnplacedChanged())
	read = c.reads.due(now, c.opts) // before any decision, since a decision may wait for a read that is under way
	if evaluates(c.gate) {
		if !wasOpen || c.queue.full || c.due(&c.nextFull, now, fullPassPeriods*c.opts.Policy.HeartbeatPeriod) {
			c.nextFull = now.Add(fullPassPeriods * c.opts.Policy.HeartbeatPeriod)
			if !opens { // else they are known
				unsettled = c.eval.Unsettled(c.log.View())
			}
			c.queue.replace(unsettled)
			c.drain.settled(c.log.View(), unsettled)
		}
		more, err = c.act(ctx, now)
	}
	return more || !recorded, read, err
}

// becameFresh reports whether what this node hears has become fresh since the last sweep. Only then a sweep can find out
// what the node does not know, and the gate must not open before it.
func (c *Core) becameFresh(now app.Time) bool {
	fresh, _, _ := c.intake.Fresh(now)
	return fresh && !c.heardByPeers.fresh
}

// checkBeginning checks what a leader knows at first, before it acts on it: what it heard, and, if
// the gate opens, what it read. A check that fails sets a hold. unsettled are the apps that
// Evaluator.Unsettled gives.
func (c *Core) checkBeginning(ctx context.Context, now app.Time, opens bool, unsettled []app.Key) error {
	if c.firstPicture.due(c.gate) {
		if err := c.checkFirstPicture(ctx, now, unsettled); err != nil {
			return err
		}
	}
	if opens {
		return c.checkFirstRead(ctx, now)
	}
	return nil
}

// due reports whether a periodic task is due at now, and sets its next time. A next time that is too
// far ahead is from before this node's clock was set back.
func (c *Core) due(next *app.Time, now app.Time, period time.Duration) bool {
	if now < *next && *next <= now.Add(period) {
		return false
	}
	*next = now.Add(period)
	return true
}

func (c *Core) nextStep(now app.Time, more bool) app.Time {
	if more {
		return now
	}
	next := c.nextSweep
	from, until := c.intake.FreshWithin(now)
	for _, at := range [...]app.Time{from, until, c.reads.staleAt(c.opts)} { // when the gate may open or close
		if at > now {
			next = min(next, at)
		}
	}
	if at, ok := c.queue.next(); ok && evaluates(c.gate) {
		next = min(next, at)
	}
	for _, at := range c.claimAt {
		if at > now && len(c.ready.apps) > 0 {
			next = min(next, at)
		}
	}
	if at, ok := c.reads.nextPoll(now, c.opts); ok {
		next = min(next, at)
	}
	return next
}
