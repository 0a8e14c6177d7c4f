package reconcile

import (
	"math"
	"slices"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/raftfsm"
)

// Two DEAs that use one id (W12) send full lists in turn, and each list seems to replace the other.
// The sign is a message that equals the last but one and differs from the last, and arrives no
// later than one DEA would repeat itself. As long as both are heard, the record of the id has what
// either of them listed within one and a half heartbeat periods. Time in which nothing could be
// heard does not count.

const (
	signsOfTwo = 3 // recent signs after which an id counts as doubled
	maxLists   = 8 // newest messages of a doubled id that are kept
)

// idUse tells by the newest messages under one id whether one DEA uses it, or two.
type idUse struct {
	digests [2]actual.Digest // of the last message and of the one before
	at      [2]app.Time      // when they arrived
	signs   float64          // how many signs there were; each counts half after four periods
	signAt  app.Time         // of the newest of them
	thirdAt app.Time         // when a third message last arrived within the time in which one DEA sends two
	since   app.Time         // since when the id counts as doubled; 0: it does not
	lists   []heardList      // of a doubled id, oldest first
}

type heardList struct {
	at app.Time
	hb *actual.Heartbeat
}

// note takes in a message. from is the time from which on silence counts.
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

// doubled reports whether two DEAs use the id.
func (b *idUse) doubled() bool { return b.since != 0 }

// over reports whether the id was doubled, and for a time to live at most one DEA was heard under
// it.
func (b *idUse) over(now, from app.Time, ttl time.Duration) bool {
	return b.since != 0 && now.Sub(max(b.thirdAt, from)) >= ttl
}

func (b *idUse) end() { b.since, b.signs, b.signAt, b.lists = 0, 0, 0, nil }

// merge gives a heartbeat together with those of the other DEA that uses the id; the heartbeat
// itself if there is none.
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
				all.Instances[at] = i // the DEA that runs it is right
			case !listed && len(all.Instances) < actual.MaxInstances:
				placed[i.GUID] = len(all.Instances)
				all.Instances = append(all.Instances, i)
			}
		}
		all.Unreadable = slices.Concat(all.Unreadable, other.Unreadable)
		all.Contradicted = slices.Concat(all.Contradicted, other.Contradicted)
		if n == len(b.lists)-2 { // most likely the other DEA's newest
			all.Unplaced = slices.Concat(all.Unplaced, other.Unplaced)
			all.Rejected += other.Rejected
			all.UnknownStates += other.UnknownStates
			all.Untimed += other.Untimed
			if all.Why == "" {
				all.Why = other.Why
			}
		}
	}
	return &all
}

// mayBeGone reports whether the id is doubled and neither of the last two messages listed an
// instance.
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
	unreported []DoubledID // since TakeDoubled
}

// DoubledID tells that two DEAs use an id, or that this has ended.
type DoubledID struct {
	DEA   string
	Ended bool
}

// maxUnreportedDoubled bounds what TakeDoubled gives.
const maxUnreportedDoubled = 1_000

// noteMessage takes in that a message of a DEA arrived.
func (i *Intake) noteMessage(h *heardDEA, d actual.Digest, now app.Time) {
	was := h.idUse.doubled()
	if was {
		i.lag.update(i.live, now)
	}
	h.idUse.note(d, now, i.live.CountsFrom(now), i.live.Period, i.live.TTL)
	i.reportDoubled(h, was)
}

// endDoubled finds the ids that two DEAs used and that at most one still uses.
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

// TakeDoubled gives the ids that became doubled, or ceased to be, since the last call.
func (i *Intake) TakeDoubled() []DoubledID {
	i.mu.Lock()
	defer i.mu.Unlock()
	unreported := i.doubled.unreported
	i.doubled.unreported = nil
	return unreported
}

// logDoubledIDs logs which ids two DEAs use from now on, and which only one uses again, and tells the
// history.
func (c *Core) logDoubledIDs(now app.Time) {
	for _, d := range c.intake.TakeDoubled() {
		if d.Ended {
			c.tell(now, raftfsm.Note{Event: "dea.single", DEA: d.DEA})
			c.logger.Info("no two DEAs use this id any more", "dea", d.DEA)
		} else {
			c.tell(now, raftfsm.Note{Event: "dea.doubled", DEA: d.DEA, Detail: "two DEAs use this id"})
			c.logger.Warn("two DEAs use one id: what either lists counts; restart one of them to give it an id of its own",
				"dea", d.DEA)
		}
	}
}
