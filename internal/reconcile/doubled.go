package reconcile

import (
	"math"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
)

// Two DEAs that use one id (W12) tell their lists in turn, each of which is said to be all that there is. It shows by
// the messages: what the last but one said comes again, no later than one DEA would say it again, while the last said
// something else. As long as both speak, what is recorded of the id is what either has listed within one and a half
// heartbeat periods. Time in which neither could be heard does not count.

const (
	signsOfTwo = 3 // such messages of late after which an id is taken for doubled
	maxLists   = 8 // newest messages of a doubled id that are kept
)

// beats are the newest messages under one id.
type idUse struct {
	digests [2]actual.Digest // of the last message and of the one before
	at      [2]app.Time      // when they came
	signs   float64          // that there are two, by when they came: each counts half after four periods
	signAt  app.Time         // of the newest of them
	thirdAt app.Time         // when a third message came last within the time in which one DEA sends two
	since   app.Time         // since when the id is known to be doubled; 0 if it is not
	lists   []heardList      // of a doubled id, in the order in which they came
}

type heardList struct {
	at app.Time
	hb *actual.Heartbeat
}

// heard takes note of a message. Silence counts from a time on.
func (b *idUse) note(d actual.Digest, now, from app.Time, period, ttl time.Duration) {
	if b.at[1] != 0 && now.Sub(b.at[1]) <= period+period/4 {
		b.thirdAt = now
		if d == b.digests[1] && d != b.digests[0] {
			if b.signAt != 0 {
				b.signs *= math.Exp2(-now.Sub(b.signAt).Seconds() / (4 * period).Seconds())
			}
			b.signs, b.signAt = b.signs+1, now
		}
	}
	b.digests = [2]actual.Digest{d, b.digests[0]}
	b.at = [2]app.Time{now, b.at[0]}
	switch {
	case b.since == 0 && b.signs >= signsOfTwo:
		b.since = now
	case b.over(now, from, ttl):
		b.end()
	}
}

// doubled reports whether two DEAs speak under the id.
func (b *idUse) doubled() bool { return b.since != 0 }

// over reports whether only one DEA has spoken for a time to live, or none.
func (b *idUse) over(now, from app.Time, ttl time.Duration) bool {
	return b.since != 0 && now.Sub(max(b.thirdAt, from)) >= ttl
}

func (b *idUse) end() { b.since, b.signs, b.signAt, b.lists = 0, 0, 0, nil }

// together gives what a heartbeat says together with those of the other DEA that uses the id: the heartbeat itself
// if there is none.
func (b *idUse) merge(hb *actual.Heartbeat, now, from app.Time, period time.Duration) *actual.Heartbeat {
	if !b.doubled() {
		return hb
	}
	b.lists = append(b.lists, heardList{now, hb})
	for len(b.lists) > maxLists || now.Sub(max(b.lists[0].at, from)) > period+period/2 {
		b.lists = slices.Delete(b.lists, 0, 1)
	}
	all := *hb
	all.Instances = slices.Clone(hb.Instances)
	placed := make(map[app.GUID]int, len(all.Instances))
	for n := range all.Instances {
		placed[all.Instances[n].GUID] = n
	}
	for n := len(b.lists) - 2; n >= 0; n-- { // newer ones first
		other := b.lists[n].hb
		for _, i := range other.Instances {
			at, listed := placed[i.GUID]
			switch {
			case listed && i.State.Live() && !all.Instances[at].State.Live():
				all.Instances[at] = i // whoever lets it run knows better
			case !listed && len(all.Instances) < actual.MaxInstances:
				placed[i.GUID] = len(all.Instances)
				all.Instances = append(all.Instances, i)
			}
		}
		all.Unreadable = slices.Concat(all.Unreadable, other.Unreadable)
		all.Contradicted = slices.Concat(all.Contradicted, other.Contradicted)
		if n == len(b.lists)-2 { // the other DEA's newest, most likely
			all.Unplaced = slices.Concat(all.Unplaced, other.Unplaced)
			all.Rejected, all.UnknownStates, all.Untimed = all.Rejected+other.Rejected, all.UnknownStates+other.UnknownStates, all.Untimed+other.Untimed
			if all.Why == "" {
				all.Why = other.Why
			}
		}
	}
	return &all
}

// unsure reports whether an instance of a doubled id was listed in neither of the last two messages.
func (b *idUse) mayBeGone(g app.GUID) bool {
	for _, l := range b.lists[max(len(b.lists)-2, 0):] {
		if slices.ContainsFunc(l.hb.Instances, func(i actual.Instance) bool { return i.GUID == g }) {
			return false
		}
	}
	return b.doubled()
}

// doubled are the ids that two DEAs use.
type doubled struct {
	ids        map[string]*heardDEA
	unreported []DoubledID // not taken yet
}

// DoubledID tells that an id was found to be used by two DEAs, or is no more.
type DoubledID struct {
	DEA   string
	Ended bool
}

// maxUnreportedDoubled bounds the news that nobody has taken.
const maxUnreportedDoubled = 1_000

// spoke takes note of a message of a DEA.
func (i *Intake) noteMessage(h *heardDEA, d actual.Digest, now app.Time) {
	was := h.idUse.doubled()
	if was {
		i.lag.update(i.live, now)
	}
	h.idUse.note(d, now, i.live.CountsFrom(now), i.live.Period, i.live.TTL)
	i.reportDoubled(h, was)
}

// endDoubled looks for ids under which only one DEA has spoken for a time to live, or none.
func (i *Intake) endDoubled(now app.Time) {
	for _, h := range i.doubled.ids {
		if h.idUse.over(now, i.live.CountsFrom(now), i.live.TTL) {
			h.idUse.end()
			i.reportDoubled(h, true)
		}
	}
}

func (i *Intake) reportDoubled(h *heardDEA, was bool) {
	is := h.idUse.doubled()
	if is == was {
		return
	}
	if is {
		if i.doubled.ids == nil {
			i.doubled.ids = map[string]*heardDEA{}
		}
		i.doubled.ids[h.id] = h
	} else {
		delete(i.doubled.ids, h.id)
	}
	if len(i.doubled.unreported) < maxUnreportedDoubled {
		i.doubled.unreported = append(i.doubled.unreported, DoubledID{h.id, !is})
	}
}

// TakeDoubled gives the ids that were found doubled, or not doubled any more, since the last call.
func (i *Intake) TakeDoubled() []DoubledID {
	i.mu.Lock()
	defer i.mu.Unlock()
	unreported := i.doubled.unreported
	i.doubled.unreported = nil
	return unreported
}

// logDoubledIDs logs which ids two DEAs use from now on, and which only one uses again.
func (c *Core) logDoubledIDs() {
	for _, d := range c.intake.TakeDoubled() {
		if d.Ended {
			c.logger.Info("only one DEA uses this id now, or none", "dea", d.DEA)
		} else {
			c.logger.Warn("two DEAs use one id: what either of them lists counts; give one of them an id of its own by starting it anew", "dea", d.DEA)
		}
	}
}
