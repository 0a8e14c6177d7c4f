package cluster

import (
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
// Readings never go back: while the clock is set back, they stand still.
type clock struct {
	start   time.Time // origin of the monotonic readings
	epoch   atomic.Pointer[clockEpoch]
	ownTerm atomic.Uint64 // this node stamped the entries of this term, with this clock

	adopted time.Duration // monotonic reading at the last entry; only the applying goroutine uses it
	started atomic.Bool   // an entry was applied, so the clock shows the log's time
}

// clockEpoch is shared by all readers. The change from the wall clock to the log's time begins a new epoch, so that a
// reader of the old epoch cannot store its reading in the new one.
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

// now never goes back, with one exception: the first applied entry replaces the wall clock's time by the log's time.
// Nothing is recorded before, so no deadline depends on it. The clock stops at raftfsm.MaxTime; a nanosecond count
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

// applied sets the clock by an entry or a snapshot with the time at. Only one goroutine may call it.
func (c *clock) applied(at app.Time, term uint64) {
	if at <= 0 || at > raftfsm.MaxTime { // Apply refuses such an entry
		return
	}
	mono := time.Since(c.start)
	since := mono - c.adopted
	c.adopted = mono
	entryBase := int64(at)*int64(time.Millisecond) - int64(mono)
	e := c.epoch.Load()
	base := e.base.Load()
	switch {
	case !c.started.Load():
		fresh := &clockEpoch{}
		fresh.base.Store(entryBase)
		fresh.last.Store(int64(at))
		c.epoch.Store(fresh)
		c.started.Store(true)
	case entryBase >= base:
		e.base.Store(entryBase)
	case term != c.ownTerm.Load():
		c.now() // keeps the newest possible reading, so that no later one is below it
		e.base.Store(max(entryBase, base-int64(since>>slewShift)))
	}
}
