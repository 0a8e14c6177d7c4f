package reconcile

import (
	"time"

	"hm/internal/app"
)

// Hearing is what a node can tell its peers of what it hears.
type Hearing struct {
	DEAs int // heard within a time to live
	// Fresh says that it counts: the picture is fresh, and the link is in time.
	Fresh bool
	Age   time.Duration // of a peer's word: since it was told
}

// hears remembers a Hearing for a moment: to count the DEAs takes a look at each.
type hearingCount struct {
	DEAs int
	at   app.Time // when it was counted; 0: never
}

// hearsPerPeriod is how often in a heartbeat period the DEAs that are heard are counted, at most.
const hearsPerPeriod = 20

// Hearing is what this node hears at this moment.
func (i *Intake) Hearing() Hearing {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	if i.hearing.at == 0 || now.Sub(i.hearing.at) >= i.live.Period/hearsPerPeriod {
		i.hearing = hearingCount{i.live.Hears(now), now}
	}
	return Hearing{DEAs: i.hearing.DEAs, Fresh: i.hearingCounts(now)}
}

// maxWordAge is more than the age that a peer's word may have.
const maxWordAge = 5 * time.Second

// heardLately is how many DEAs this node heard within a time to live and the age of a peer's word, lost or not: a DEA
// that fell silent after the word was told must not count for the peer alone.
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

// reliable reports whether this node's word on who is silent counts.
func (i *Intake) hearingCounts(now app.Time) bool {
	i.lag.update(i.live, now)
	return i.live.Fresh(now) && !i.live.IsLate()
}

// comparable reports whether this node should hear what others hear: its link has been up for the freshness window, and
// is in time.
func (i *Intake) linkSettled() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	i.lag.update(i.live, now)
	up, since := i.live.Up()
	return up && now.Sub(since) >= i.live.Freshness && !i.live.IsLate()
}

// HeardAgo says for how long each of the DEAs has not been heard, negative for one that this node never heard or that
// has been silent for a whole time to live; and whether the answer counts.
func (i *Intake) HeardAgo(deas []string) (ago []time.Duration, counts bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.log.Now()
	ago = make([]time.Duration, len(deas))
	for n, dea := range deas {
		ago[n] = -1
		if at := i.live.LastHeard(dea); at != 0 && now.Sub(at) < i.live.TTL {
			ago[n] = now.Sub(at)
		}
	}
	return ago, i.hearingCounts(now)
}
