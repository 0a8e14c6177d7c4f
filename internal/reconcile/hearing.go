package reconcile

import (
	"time"

	"hm/internal/app"
)

// Hearing is what a node tells its peers about the DEAs that it hears.
type Hearing struct {
	DEAs int // heard within a time to live
	// Fresh says that it counts: what was heard is fresh, and the link is not late.
	Fresh bool
	Age   time.Duration // since a peer sent it
}

// hearingCount keeps the count for a moment, since counting reads the time of every DEA.
type hearingCount struct {
	DEAs int
	at   app.Time // when it was counted; 0: never
}

// hearsPerPeriod is how often in a heartbeat period the DEAs are counted at most.
const hearsPerPeriod = 20

// Hearing gives what this node hears now.
func (i *Intake) Hearing() Hearing {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	if i.hearing.at == 0 || now.Sub(i.hearing.at) >= i.live.Period/hearsPerPeriod {
		i.hearing = hearingCount{i.live.Hears(now), now}
	}
	return Hearing{DEAs: i.hearing.DEAs, Fresh: i.hearingCounts(now)}
}

// maxWordAge is longer than a Hearing's Age can be.
const maxWordAge = 5 * time.Second

// heardLately counts the DEAs that this node heard within a time to live plus age, lost or not. age
// is how old a peer's Hearing is: a DEA that fell silent since then must count for both.
func (i *Intake) heardLately(age time.Duration) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	then := i.log.Now().Add(-age - i.live.Period/hearsPerPeriod)
	n := i.live.Hears(then)
	for _, at := range i.forgotten {
		if then.Sub(at) < i.live.TTL {
			n++
		}
	}
	return n
}

// hearingCounts reports whether this node can tell which DEAs are silent.
func (i *Intake) hearingCounts(now app.Time) bool {
	i.lag.update(i.live, now)
	return i.live.Fresh(now) && !i.live.IsLate()
}

// linkSettled reports whether this node should hear what others hear: its link has been up for the
// freshness window and is not late.
func (i *Intake) linkSettled() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	i.lag.update(i.live, now)
	up, since := i.live.Up()
	return up && now.Sub(since) >= i.live.Freshness && !i.live.IsLate()
}

// HeardAgo gives the time since each of the DEAs was known to send heartbeats, negative if it was never
// heard or has been silent for a whole time to live. What was heard says that the DEA was there, whether
// or not this node hears everything; a message that was late says so of the time when it was sent. counts
// says whether the answer counts: the link is up.
func (i *Intake) HeardAgo(deas []string) (ago []time.Duration, counts bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	ago = make([]time.Duration, len(deas))
	for n, dea := range deas {
		ago[n] = -1
		if h := i.deas[dea]; h != nil && h.there != 0 && now.Sub(h.there) < i.live.TTL {
			ago[n] = max(now.Sub(h.there), 0)
		}
	}
	up, _ := i.live.Up()
	return ago, up
}
