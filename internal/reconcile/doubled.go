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
// There are two signs of it: a message that equals the last but one and differs from the last, and
// arrives no later than one DEA would repeat itself; and instances that come back after a list that had
// none of them. As soon as instances come back, a list replaces only the one that it is most like, since
// instances never move from one DEA to another. Each list counts for one time to live, as a DEA does, and
// longer while messages arrive that cannot be decoded. Time in which nothing could be heard does not
// count. A few signs within a short time are needed to say that the id is doubled.

const (
	signsOfTwo = 3 // recent signs after which an id counts as doubled
	maxLists   = 8 // lists under one id that are kept
)

// idUse tells by the newest messages under one id whether one DEA uses it, or two.
type idUse struct {
	digests  [2]actual.Digest // of the last message and of the one before
	at       [2]app.Time      // when they arrived
	messages uint64           // how many arrived
	signs    float64          // how many signs there were; each counts half after four periods
	signAt   app.Time         // of the newest of them
	thirdAt  app.Time         // when a third message last arrived within the time in which one DEA sends two
	since    app.Time         // since when the id counts as doubled; 0: it does not
	// lists are the newest of each DEA, oldest first, once a list had none of the instances of the list
	// before it.
	lists []heardList
	// merges says that all lists count: the id is doubled, or instances have come back.
	merges bool
}

// heardList is the newest list of one of the DEAs that use an id.
type heardList struct {
	hb      *actual.Heartbeat
	message uint64   // its number among the messages under the id
	at      app.Time // when it arrived
	// present is when a message last arrived that shows that its DEA may still run.
	present app.Time
}

// note takes in a message. from is the time from which on silence counts.
func (b *idUse) note(d actual.Digest, now, from app.Time, period, ttl time.Duration) {
	if b.at[1] != 0 && now.Sub(b.at[1]) <= period+period/4 {
		b.thirdAt = now
		if d == b.digests[1] && d != b.digests[0] {
			b.sign(now, period)
		}
	}
	b.messages++
	b.digests = [2]actual.Digest{d, b.digests[0]}
	b.at = [2]app.Time{now, b.at[0]}
	if b.over(now, from, ttl) {
		b.end()
	}
}

// sign counts a sign of two DEAs. A message is one sign at most.
func (b *idUse) sign(now app.Time, period time.Duration) {
	if b.signAt == now {
		return
	}
	if b.signAt != 0 {
		b.signs *= math.Exp2(-now.Sub(b.signAt).Seconds() / (4 * period).Seconds())
	}
	b.signs, b.signAt = b.signs+1, now
	if b.since == 0 && b.signs >= signsOfTwo {
		b.since, b.merges = now, true
	}
}

// doubled reports whether two DEAs use the id.
func (b *idUse) doubled() bool { return b.since != 0 }

// over reports whether the id was doubled, and for a time to live at most one DEA was heard under
// it.
func (b *idUse) over(now, from app.Time, ttl time.Duration) bool {
	return b.since != 0 && now.Sub(max(b.thirdAt, from)) >= ttl
}

func (b *idUse) end() { b.since, b.signs, b.signAt, b.lists, b.merges = 0, 0, 0, nil, false }

// replaced notes that a list has none of the instances that the id listed before.
func (b *idUse) replaced(before []actual.Instance, hb *actual.Heartbeat, now app.Time) {
	old := &actual.Heartbeat{DEA: hb.DEA, Instances: before}
	b.lists = []heardList{{old, b.messages - 1, now, now}, {hb, b.messages, now, now}}
}

// expire drops the lists that are over. from is the time from which on silence counts.
func (b *idUse) expire(now, from app.Time, ttl time.Duration) {
	b.lists = slices.DeleteFunc(b.lists, func(l heardList) bool { return now.Sub(max(l.present, from)) >= ttl })
	if len(b.lists) < 2 && !b.doubled() {
		b.lists, b.merges = nil, false
	}
}

// merge gives a heartbeat together with the lists of the other DEAs that use the id; the heartbeat
// itself if there are none.
func (b *idUse) merge(hb *actual.Heartbeat, now, from app.Time, period, ttl time.Duration) *actual.Heartbeat {
	if len(b.lists) == 0 && !b.merges {
		return hb
	}
	all := *hb
	all.Instances = slices.Clone(hb.Instances)
	placed := make(map[app.GUID]int, len(all.Instances))
	for n := range all.Instances {
		placed[all.Instances[n].GUID] = n
	}
	if b.replace(hb, placed, now) {
		b.merges = true
		b.sign(now, period)
	}
	if b.expire(now, from, ttl); !b.merges {
		return hb
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
		all.Unplaced = slices.Concat(all.Unplaced, other.Unplaced)
		all.Rejected += other.Rejected
		all.UnknownStates += other.UnknownStates
		all.Untimed += other.Untimed
		if all.Why == "" {
			all.Why = other.Why
		}
	}
	return &all
}

// replace puts a list in the place of the kept one that it is most like: then both are from the same
// DEA. A list that has little in common with any is kept beside them. listed has its instances. back
// says that its instances come back: another list was heard since they were listed last.
func (b *idUse) replace(hb *actual.Heartbeat, listed map[app.GUID]int, now app.Time) (back bool) {
	same, least := -1, 0
	for n, l := range b.lists {
		common := 0
		for _, i := range l.hb.Instances {
			if _, is := listed[i.GUID]; is {
				common++
			}
		}
		differ := len(listed) + len(l.hb.Instances) - 2*common
		like := common > 0 && 2*common >= min(len(listed), len(l.hb.Instances)) || differ == 0
		if like && (same < 0 || differ < least) { // of two that are as like, the older one
			same, least = n, differ
		}
	}
	if same < 0 && len(b.lists) >= maxLists {
		same = 0
	}
	if same >= 0 {
		back = same < len(b.lists)-1 && len(hb.Instances) > 0
		b.lists = slices.Delete(b.lists, same, same+1)
	}
	b.lists = append(b.lists, heardList{hb, b.messages, now, now})
	return back
}

// undecoded notes that a message arrived under the id that cannot be decoded. Any of the DEAs may
// have sent it, so all that were heard last within a time are present.
func (b *idUse) undecoded(now app.Time, within time.Duration) {
	for n := range b.lists {
		if l := &b.lists[n]; now.Sub(l.at) < within {
			l.present = now
		}
	}
}

// mayBeGone reports whether several lists count and neither of the last two messages listed an
// instance.
func (b *idUse) mayBeGone(g app.GUID) bool {
	for _, l := range b.lists {
		if l.message+1 >= b.messages && slices.ContainsFunc(l.hb.Instances, func(i actual.Instance) bool { return i.GUID == g }) {
			return false
		}
	}
	return b.merges
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

// mergeLists gives a heartbeat together with the lists of the other DEAs that use its id.
func (i *Intake) mergeLists(h *heardDEA, hb *actual.Heartbeat, now app.Time) *actual.Heartbeat {
	was := h.idUse.doubled()
	merged := h.idUse.merge(hb, now, i.live.CountsFrom(now), i.live.Period, i.live.TTL)
	i.reportDoubled(h, was)
	return merged
}

// noteReplaced notes whether a heartbeat has none of the recorded instances. Its changes are known.
func (i *Intake) noteReplaced(view *raftfsm.State, h *heardDEA, hb *actual.Heartbeat, now app.Time) {
	if len(h.idUse.lists) > 0 || h.newest == nil || len(hb.Instances) == 0 || len(h.changes.Removes) == 0 {
		return
	}
	if rec, known := view.DEA(h.id); known && rec.GoneAt == 0 && len(h.changes.Removes) == rec.Len {
		h.idUse.replaced(view.DEAInstances(nil, h.id), hb, now)
	}
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
