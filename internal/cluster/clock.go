package cluster

import (
	"sync/atomic"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// slewShift bounds how fast the clock gives way to entries that say it is ahead: by 1/1024 of the time that passed
// since the last entry, about 1,000 parts per million. Crystals differ by 100 at most.
const slewShift = 10

// clock is hm time on one node: what the newest entry says plus the monotonic time since it was applied here.
//
// An entry always reaches the clock later than it was stamped, by the time that committing took. To take each entry's
// word as it arrives would lose that time once an entry: a busy leader, stamping from its own clock, would slow hm
// time to a crawl. So an entry that is ahead of the clock moves it forward at once; one that is behind says only that
// committing takes time, or that this node's crystal is the faster one, and pulls the clock back no faster than
// slewShift allows; and one that this node stamped itself says nothing. Readings never go back in either case: while
// the clock is pulled back they stand still.
type clock struct {
	start   time.Time // anchor of the monotonic readings
	epoch   atomic.Pointer[clockEpoch]
	ownTerm atomic.Uint64 // entries of this term were stamped from this very clock

	adopted time.Duration // monotonic reading at the last entry; used by the applying goroutine alone
	started atomic.Bool   // an entry was applied, so that the clock shows the log's time
}

// clockEpoch is what readers share. The change from the wall clock to the log's time is a new one, so that no reader
// of the old can leave its reading in the new.
type clockEpoch struct {
	base atomic.Int64 // nanoseconds of hm time at the anchor
	last atomic.Int64 // newest reading, milliseconds
}

// newClock gives a clock that shows the wall clock's time until the first entry is applied. A wall clock that is not
// between 1970 and raftfsm.MaxTime shows as the nearer of the two.
func newClock() *clock {
	c := &clock{start: time.Now()}
	e := &clockEpoch{}
	e.base.Store(int64(min(max(app.TimeOf(c.start), 1), raftfsm.MaxTime)) * int64(time.Millisecond))
	c.epoch.Store(e)
	return c
}

// now never goes back, with one exception: the first entry applied replaces the wall clock by the log's time.
// Nothing is recorded before it, so nothing is timed by the difference. It stands still at raftfsm.MaxTime, which
// leaves room for 62 years of monotonic time before a nanosecond count overflows.
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

// applied tells the clock of an entry, or of a snapshot, that carries the time at. It is called on one goroutine.
func (c *clock) applied(at app.Time, term uint64) {
	if at <= 0 || at > raftfsm.MaxTime { // Apply refuses such an entry
		return
	}
	mono := time.Since(c.start)
	since := mono - c.adopted
	c.adopted = mono
	word := int64(at)*int64(time.Millisecond) - int64(mono)
	e := c.epoch.Load()
	base := e.base.Load()
	switch {
	case !c.started.Load():
		fresh := &clockEpoch{}
		fresh.base.Store(word)
		fresh.last.Store(int64(at))
		c.epoch.Store(fresh)
		c.started.Store(true)
	case word >= base:
		e.base.Store(word)
	case term != c.ownTerm.Load():
		c.now() // whatever could have been read until now is not to be undercut
		e.base.Store(max(word, base-int64(since>>slewShift)))
	}
}
