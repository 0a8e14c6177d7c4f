package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// slewShift bounds how fast the clock is set back: by 1/1024 of the time since the last entry, about 1,000 parts per
// million. The clocks of two machines differ by 100 parts per million at most.
const slewShift = 10

// clock is hm time on one node: the time of the newest entry plus the monotonic time since it was applied here.
//
// An entry reaches the clock later than it was stamped, by the duration of the commit. If the clock were set to each
// entry's time, it would lose that duration with every entry; a busy leader, which stamps entries with its own clock,
// would almost stop hm time. So:
//   - An entry that is ahead of the clock moves it forward at once.
//   - An entry that is behind sets the clock back, but no faster than slewShift allows: most of the difference is the
//     duration of the commit.
//   - An entry that this node stamped itself changes nothing.
//
// A fleet that does not change writes no entries, and a node that is restarted does not know how long ago the newest
// entry was stamped: its clock is behind by so much. If such a node led, and then another, hm time would jump ahead: a
// command that was just sent would count as one without effect, and would be sent again. So all nodes have one clock:
//   - A leader tells its time to the others, and they set their clocks by it, forward or back.
//   - A new leader takes over the clock of the voter that followed the newest leader. The voter must have followed it
//     since the newest entry was stamped, or must have got that entry in time. If no voter that the new leader hears has,
//     the time since the newest entry was applied counts, and what was before does not.
//
// The term of a clock alone does not say that it shows what the entries were stamped with. The leader's clock falls
// behind when its machine is suspended and no other node can be elected meanwhile. A voter that was cut off before the
// suspension still shows the old leader's time as it would be without it: with that clock, everything that the leader
// stamped since would age by the suspension at once.
//
// Readings go back in two cases only: the log's time replaces the wall clock's, and a clock is set by that of another
// node which is far behind. Otherwise they stand still while the clock is set back. While a node leads its clock is
// never set back.
type clock struct {
	start   time.Time // origin of the monotonic readings
	epoch   atomic.Pointer[clockEpoch]
	ownTerm atomic.Uint64 // this node stamped the entries of this term, with this clock
	ofTerm  atomic.Uint64 // the term of the leader whose clock this is; 0: not known since this node started

	mu      sync.Mutex    // guards what follows, and held while the clock is set
	adopted time.Duration // monotonic reading at the last entry
	newest  stamp         // of the last entry
	told    app.Time      // up to when the entries of the leader of ofTerm are known to have been stamped by a clock like this
	ahead   int           // how often in a row the leader's clock was far behind
	started atomic.Bool   // an entry was applied, so the clock shows the log's time
}

// stamp is a time that the clock of a term's leader showed.
type stamp struct {
	term uint64
	at   app.Time
}

// clockReading is what a node's clock shows, and whose clock it is.
type clockReading struct {
	term uint64   // of the leader whose clock it is; 0: not known
	told app.Time // up to this time that leader's entries are known to have been stamped by a clock like this one
	now  app.Time
}

// covers reports whether a clock has followed its leader since an entry was stamped. Else it may be ahead of the clock
// that stamped the entry.
func (r clockReading) covers(entry stamp) bool {
	return r.term > entry.term || r.term == entry.term && r.told >= entry.at
}

// maxAhead is how far a follower's clock may be ahead of its leader's: a message arrives later than it was sent.
const maxAhead = 100 * time.Millisecond

// clockEpoch is shared by all readers. A change that sets the clock back at once begins a new epoch, so that a reader of
// the old epoch cannot store its reading in the new one.
type clockEpoch struct {
	base atomic.Int64 // hm time at the origin, in nanoseconds
	last atomic.Int64 // newest reading, in milliseconds
}

// newClock gives a clock that shows the wall clock's time until the first entry is applied, limited to the range from
// 1970 to raftfsm.MaxTime.
func newClock() *clock {
	c := &clock{start: time.Now()}
	e := &clockEpoch{}
	e.base.Store(int64(min(max(app.TimeOf(c.start), 1), raftfsm.MaxTime)) * int64(time.Millisecond))
	c.epoch.Store(e)
	return c
}

// now never goes back while this node leads, nor else but as clock says. Nothing is recorded before the first entry, so
// no deadline depends on the wall clock. The clock stops at raftfsm.MaxTime; a nanosecond count
// overflows 62 years later.
func (c *clock) now() app.Time {
	e := c.epoch.Load()
	for {
		v := min((e.base.Load()+int64(time.Since(c.start)))/int64(time.Millisecond), int64(raftfsm.MaxTime))
		last := e.last.Load()
		if v <= last {
			return app.Time(last)
		}
		if e.last.CompareAndSwap(last, v) {
			return app.Time(v)
		}
	}
}

// maxUnderWay is how late an entry may arrive that still shows that the clock is its leader's.
const maxUnderWay = 500 * time.Millisecond

// arrived notes that an entry arrived, when this clock showed now, which the leader of a term stamped at a time. It may be
// applied much later, under the next leader. If it arrives soon after it was stamped, this clock is still the leader's.
func (c *clock) arrived(at app.Time, term uint64, now app.Time) {
	if at <= 0 || at > raftfsm.MaxTime || !c.started.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if term != c.ofTerm.Load() || at <= c.told || now.Sub(at) > maxUnderWay {
		return
	}
	c.told = at
	if now < at {
		e := c.epoch.Load()
		e.base.Store(max(e.base.Load(), c.baseOf(at)))
	}
}

// applied sets the clock by an entry or a snapshot with the time at.
func (c *clock) applied(at app.Time, term uint64) {
	if at <= 0 || at > raftfsm.MaxTime { // Apply refuses such an entry
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	mono := time.Since(c.start)
	since := mono - c.adopted
	c.adopted, c.newest = mono, stamp{term, at}
	entryBase := int64(at)*int64(time.Millisecond) - int64(mono)
	e := c.epoch.Load()
	base := e.base.Load()
	switch {
	case !c.started.Load():
		c.begin(entryBase, at)
		c.started.Store(true)
	case entryBase >= base:
		e.base.Store(entryBase)
	case term != c.ownTerm.Load():
		c.now() // keeps the newest possible reading, so that no later one is below it
		e.base.Store(max(entryBase, base-int64(since>>slewShift)))
	}
}

// begin begins a new epoch at a time.
func (c *clock) begin(base int64, at app.Time) {
	fresh := &clockEpoch{}
	fresh.base.Store(base)
	fresh.last.Store(int64(at))
	c.epoch.Store(fresh)
}

// follow sets the clock by the leader's, which showed the time at when the leader sent it in term. A message may have
// waited long, so one alone does not set the clock back. follow reports whether it did.
func (c *clock) follow(at app.Time, term uint64) (back bool) {
	if at <= 0 || at > raftfsm.MaxTime || !c.started.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	base := c.baseOf(at)
	if c.epoch.Load().base.Load()-base > int64(maxAhead) {
		if c.ahead++; c.ahead < 2 {
			return false
		}
	}
	back = c.set(at, base)
	told := at - 1                                        // an entry with the time at may be stamped later, after a suspension
	if back || term != c.ofTerm.Load() || told > c.told { // back: two messages waited, or the leader's machine was suspended
		c.told = told
	}
	c.ofTerm.Store(term)
	return back
}

// lead makes this the clock of the leader of a new term. voters are the clocks of the voters that it hears. It reports
// whether it set the clock back.
func (c *clock) lead(voters []clockReading, term uint64) (back bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.read()
	best := own
	if !own.covers(c.newest) {
		best = clockReading{now: min(c.newest.at.Add(time.Since(c.start)-c.adopted), raftfsm.MaxTime)}
	}
	for _, v := range voters {
		if v.term > best.term && v.covers(c.newest) && v.now > 0 && v.now <= raftfsm.MaxTime {
			best = v
		}
	}
	if best != own {
		back = c.set(best.now, c.baseOf(best.now))
	}
	c.ofTerm.Store(term)
	c.ownTerm.Store(term)
	return back
}

// reading gives the clock's reading, as the other nodes are told it.
func (c *clock) reading() clockReading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// read gives the clock's reading while c.mu is held. The clock of a leader is its own as long as it follows no other one.
func (c *clock) read() clockReading {
	r := clockReading{term: c.ofTerm.Load(), told: c.told, now: c.now()}
	if r.term == c.ownTerm.Load() {
		r.told = r.now - 1 // as in follow
	}
	return r
}

func (c *clock) baseOf(at app.Time) int64 {
	return int64(at)*int64(time.Millisecond) - int64(time.Since(c.start))
}

// set sets the clock to a time, and reports whether that is back. A clock that is a little ahead stays: the time was sent
// a moment ago.
func (c *clock) set(at app.Time, base int64) (back bool) {
	e := c.epoch.Load()
	if back = e.base.Load()-base > int64(maxAhead); back {
		c.begin(base, at)
	} else {
		e.base.Store(max(e.base.Load(), base))
	}
	c.ahead = 0
	return back
}
