package reconcile

import (
	"time"

	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// RestoredHold is the hold that a restored snapshot gets at now. It keeps the gate shut for a freshness window and a
// grace: the record is old, and nobody knows any more which commands were sent shortly before (I5). The gate opens then
// only if what was heard and read since the restore is fresh, and looks like a whole picture: see checkFirstPicture.
func RestoredHold(now app.Time, freshness time.Duration, policy diff.Policy, reason, by string) raftfsm.Hold {
	return raftfsm.Hold{Name: HoldRestored, Reason: reason, By: by, Until: now.Add(freshness + policy.Grace)}
}

// noteRestore begins anew if a snapshot took the place of the record since the last step. What this node knows of the
// record that it replaced says nothing about the new one: reads, losses, commands that are due, and which heartbeats
// agree with it. A leader then begins as in a new term. It reports whether one did.
func (c *Core) noteRestore() bool {
	restores := c.log.View().Restores()
	if !c.restoresSeen || restores == c.restores {
		c.restores, c.restoresSeen = restores, true
		return false
	}
	c.restores = restores
	c.logger.Warn("a snapshot took the place of the record: this node waits for a fresh picture, and reads the desired state again",
		"restores", restores)
	c.reads = reads{asked: c.reads.asked, wanted: true}
	c.intake.BeginAnew()
	return true
}

// BeginAnew forgets which heartbeats agree with the record, because another one took its place. The freshness window and
// all times to live begin anew.
func (i *Intake) BeginAnew() {
	i.mu.Lock()
	clear(i.byDigest)
	for _, h := range i.deas {
		h.rev, h.changesOf = 0, 0
		h.kept, h.changes, h.compared, h.proposed, h.offered = nil, raftfsm.DEAChanges{}, false, false, false
	}
	up, _ := i.live.Up()
	i.live.Link(up, i.log.Now())
	i.hearing = hearingCount{}
	i.mu.Unlock()
	i.wakeSoon()
}
