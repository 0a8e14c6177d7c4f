package cluster

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

func TestClock(t *testing.T) {
	const first = app.Time(1_000_000_000_000)
	ms := time.Millisecond
	// after: time that passes before the step. at: entry applied then, if not 0, stamped in term. want: the reading.
	type step struct {
		after time.Duration
		at    app.Time
		term  uint64
		want  app.Time
	}
	for _, tt := range []struct {
		name    string
		ownTerm uint64
		steps   []step
	}{
		{"time passes after an entry", 0, []step{{0, first, 1, first}, {40 * ms, 0, 0, first + 40}, {time.Hour, 0, 0, first + 3_600_040}}},
		{"an entry that is ahead counts at once", 0, []step{{0, first, 1, first}, {10 * ms, first + 500, 1, first + 500}, {10 * ms, 0, 0, first + 510}}},
		{"a log replayed at start ends at its newest entry", 0, []step{{0, first, 1, first}, {0, first + 1000, 1, first + 1000}, {0, first + 9000, 2, first + 9000}, {5 * ms, 0, 0, first + 9005}}},
		{"an entry that is behind never turns the clock back", 0, []step{{0, first, 1, first}, {100 * ms, first + 20, 1, first + 100}, {2 * ms, 0, 0, first + 101}}},
		{"a clock that is fast gives way, standing still", 0, []step{
			{0, first, 1, first}, {2048 * time.Second, first + 2_000_000, 1, first + 2_048_000},
			{1 * time.Second, 0, 0, first + 2_048_000}, {1 * time.Second, 0, 0, first + 2_048_000}, {1 * time.Second, 0, 0, first + 2_049_000}}},
		{"what this node stamped itself says nothing", 3, []step{
			{0, first, 1, first}, {2048 * time.Second, first + 2_000_000, 3, first + 2_048_000}, {1 * time.Second, 0, 0, first + 2_049_000}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClock()
				c.ownTerm.Store(tt.ownTerm)
				if got := c.now(); got != app.TimeOf(time.Now()) {
					t.Errorf("before the first entry it shows %s, want the wall clock's %s", got, app.TimeOf(time.Now()))
				}
				for i, s := range tt.steps {
					time.Sleep(s.after)
					if s.at != 0 {
						c.applied(s.at, s.term)
					}
					if got := c.now(); got != s.want {
						t.Errorf("step %d: it shows first+%d ms, want first+%d ms", i, got-first, s.want-first)
					}
				}
			})
		})
	}
}

// A follower sets its clock by its leader's, forward at once, and back when the leader has said so twice.
func TestClockFollowsTheLeaders(t *testing.T) {
	const first = app.Time(1_000_000_000_000)
	ms := time.Millisecond
	type step struct {
		after time.Duration
		at    app.Time // told by the leader
		want  app.Time
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"it was restarted long after the newest entry", []step{{10 * ms, first + 600_000, first + 600_000}, {5 * ms, 0, first + 600_005}}},
		{"a message takes some time", []step{{2000 * ms, first + 1950, first + 2000}, {5 * ms, 0, first + 2005}}},
		{"one message waited long", []step{{90_000 * ms, first + 10_000, first + 90_000}, {250 * ms, first + 90_250, first + 90_250}, {90_000 * ms, first + 90_250, first + 180_250}}},
		{"the leader's clock is behind", []step{{90_000 * ms, first + 10_000, first + 90_000}, {250 * ms, first + 10_250, first + 10_250}, {5 * ms, 0, first + 10_255}}},
		{"it says what no clock can show", []step{{10 * ms, raftfsm.MaxTime + 1, first + 10}, {10 * ms, -1, first + 20}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClock()
				c.follow(first+5_000_000, 1)
				if got := c.now(); got != app.TimeOf(time.Now()) {
					t.Errorf("before the first entry it shows %s, want the wall clock's time", got)
				}
				c.applied(first, 1)
				for i, s := range tt.steps {
					time.Sleep(s.after)
					if s.at != 0 {
						c.follow(s.at, 2)
					}
					if got := c.now(); got != s.want {
						t.Errorf("step %d: it shows first+%d ms, want first+%d ms", i, got-first, s.want-first)
					}
				}
			})
		})
	}
}

// A new leader takes over the clock of the voter that followed the newest leader, whatever its own shows, if that voter
// has followed since the newest entry was stamped.
func TestClockOfANewLeader(t *testing.T) {
	const first = app.Time(1_000_000_000_000)
	const ms = time.Millisecond
	const own, entry = first + 60_000, first + 30_000 // what its own clock shows after a minute, and when the newest entry was stamped
	nothing := func(*clock) {}
	followed := func(term uint64) func(*clock) {
		return func(c *clock) { c.follow(c.now(), term) }
	}
	led := func(c *clock) { c.lead(nil, 5) }
	for _, tt := range []struct {
		name   string
		before func(*clock) // what happened before the minute
		newest stamp        // the newest entry, applied after the minute; zero: none but the one of term 1
		voters []clockReading
		want   app.Time
	}{
		{"nobody has followed a leader", nothing, stamp{}, nil, own},
		{"a voter's clock is ahead", nothing, stamp{}, []clockReading{{6, first + 500_000, first + 600_000}}, first + 600_000},
		{"a voter's clock is behind", nothing, stamp{}, []clockReading{{6, first + 4_000, first + 5_000}}, first + 5_000},
		{"the voter that followed the newest leader counts", nothing, stamp{},
			[]clockReading{{6, first + 4_000, first + 5_000}, {7, first + 6_000, first + 7_000}, {5, first + 8_000, first + 9_000}}, first + 7_000},
		{"its own clock followed the newest leader", followed(6), stamp{}, []clockReading{{5, first + 4_000, first + 600_000}}, own},
		{"both followed the newest leader", followed(6), stamp{}, []clockReading{{6, first + 4_000, first + 600_000}}, own},
		{"it led itself", led, stamp{5, entry}, []clockReading{{5, entry, first + 600_000}}, own},
		{"a voter was cut off before the newest leader's machine was suspended", nothing, stamp{6, entry},
			[]clockReading{{6, entry - 1, first + 600_000}}, entry},
		{"a voter followed the leader when it stamped the newest entry", nothing, stamp{6, entry},
			[]clockReading{{6, entry, first + 600_000}}, first + 600_000},
		{"one voter was cut off, another was not", nothing, stamp{6, entry},
			[]clockReading{{6, entry - 1, first + 600_000}, {6, entry + 1, first + 50_000}}, first + 50_000},
		{"a voter followed an older leader than that of the newest entry", nothing, stamp{7, entry},
			[]clockReading{{6, first + 500_000, first + 600_000}}, entry},
		{"a voter's clock stood still before the newest entry", nothing, stamp{6, entry},
			[]clockReading{{6, first + 1_000, first + 2_000}}, entry},
		{"it was cut off itself before the newest leader's machine was suspended", followed(6), stamp{6, entry}, nil, entry},
		{"it followed an older leader than that of the newest entry", followed(6), stamp{7, entry}, nil, entry},
		{"a commit took a moment", followed(6), stamp{6, own - 90}, nil, own},
		{"a voter's version does not tell when it followed", nothing, stamp{6, entry},
			[]clockReading{message{Clock: 6, Time: first + 599_000}.clockReading(time.Second)}, first + 600_000},
		{"a voter shows what no clock can show", nothing, stamp{}, []clockReading{{6, first, raftfsm.MaxTime + 1}, {7, first, -1}}, own},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClock()
				c.applied(first, 1)
				tt.before(c)
				time.Sleep(60_000 * ms)
				if tt.newest.at != 0 {
					c.applied(tt.newest.at, tt.newest.term)
				}
				c.lead(tt.voters, 9)
				// An entry that is behind sets a clock back a little, as slewShift says.
				if got := c.now(); got.Sub(tt.want).Abs() > 60*ms || c.ofTerm.Load() != 9 || c.ownTerm.Load() != 9 {
					t.Errorf("it shows first+%d ms in term %d, want first+%d ms in term 9", got-first, c.ofTerm.Load(), tt.want-first)
				}
				if r := c.reading(); r.told != r.now-1 || r.term != 9 {
					t.Errorf("the other nodes are told %+v, want a clock of term 9 of the leader itself", r)
				}
				now := c.now()
				c.lead(nil, 10)
				if got := c.now(); got != now {
					t.Errorf("with nobody to ask it shows first+%d ms in the next term, want first+%d ms", got-first, now-first)
				}
			})
		})
	}
}

// A leader ends with an entry under way. The next leader applies it when it begins to lead, and the time since it was
// stamped counts if the entry arrived in time.
func TestClockOfAnEntryThatIsAppliedLate(t *testing.T) {
	const first = app.Time(1_000_000_000_000)
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		stamp  stamp
		arrive time.Duration // after the follower was told the time first
		told   app.Time      // then
		want   app.Time      // after ten seconds
	}{
		{"it arrived in time", stamp{6, first + 240}, 250 * ms, first + 240, first + 10_000},
		{"it was stamped by a clock that is ahead", stamp{6, first + 300}, 250 * ms, first + 300, first + 10_050},
		{"it was stamped by a clock that had stood still", stamp{6, first + 240}, 5_000 * ms, first - 1, first + 240},
		{"another leader stamped it", stamp{7, first + 240}, 250 * ms, first - 1, first + 240},
		{"no clock can show its time", stamp{6, raftfsm.MaxTime + 1}, 250 * ms, first - 1, first + 10_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClock()
				c.applied(first, 1)
				c.follow(first, 6)
				time.Sleep(tt.arrive)
				c.arrived(tt.stamp.at, tt.stamp.term, c.now())
				if r := c.reading(); r.term != 6 || r.told != tt.told {
					t.Errorf("it is the clock of term %d as of first+%d ms, want term 6 and first+%d ms", r.term, r.told-first, tt.told-first)
				}
				time.Sleep(10_000*ms - tt.arrive)
				c.applied(tt.stamp.at, tt.stamp.term)
				c.lead(nil, 9)
				if got := c.now(); got.Sub(tt.want).Abs() > 10*ms {
					t.Errorf("it shows first+%d ms, want first+%d ms", got-first, tt.want-first)
				}
			})
		})
	}
}

// TestAMessageTellsNothingOfEntriesOfTheSameTime: an entry may be stamped in the millisecond of the newest message and
// nevertheless after a suspension of the leader's machine, in which its clock stood still.
func TestAMessageTellsNothingOfEntriesOfTheSameTime(t *testing.T) {
	const first = app.Time(1_000_000_000_000)
	c := newClock()
	c.applied(first, 1)
	c.follow(first+1_000, 6)
	if c.reading().covers(stamp{6, first + 1_000}) || !c.reading().covers(stamp{6, first + 999}) {
		t.Errorf("with a message of first+1000 ms the clock is known to be right up to first+%d ms", c.reading().told-first)
	}
	c.arrived(first+1_000, 6, first+1_000)
	if !c.reading().covers(stamp{6, first + 1_000}) {
		t.Error("the entry itself arrived in time, and the clock is not known to be right for it")
	}
	c.lead(nil, 7)
	if r := c.reading(); r.told != r.now-1 {
		t.Errorf("a leader tells that its clock is right up to %d ms, and shows %d ms", r.told, r.now)
	}
}

// A follower tells what its leader told last, as far as its clock is set by it.
func TestClockTellsHowLongItFollowed(t *testing.T) {
	const first = app.Time(1_000_000_000_000)
	c := newClock()
	if r := c.reading(); r.term != 0 {
		t.Errorf("before the first entry it is the clock of term %d", r.term)
	}
	c.applied(first, 1)
	for i, step := range []struct {
		at   app.Time
		term uint64
		want clockReading
	}{
		{first + 60_000, 2, clockReading{term: 2, told: first + 59_999}},
		{first + 59_950, 2, clockReading{term: 2, told: first + 59_999}}, // an older message
		{first + 10_000, 3, clockReading{term: 2, told: first + 59_999}}, // far behind, once
		{first + 10_000, 3, clockReading{term: 3, told: first + 9_999}},
		{first + 11_000, 3, clockReading{term: 3, told: first + 10_999}},
		{first + 2_000, 3, clockReading{term: 3, told: first + 10_999}}, // it waited long
		{first + 2_000, 3, clockReading{term: 3, told: first + 1_999}},  // so did a second one: now the clock shows less
	} {
		c.follow(step.at, step.term)
		if r := c.reading(); r.term != step.want.term || r.told != step.want.told {
			t.Errorf("step %d: it is the clock of term %d as of first+%d ms, want term %d and first+%d ms", i, r.term, r.told-first, step.want.term, step.want.told-first)
		}
	}
}

// No time of a wall clock or an entry makes the clock overflow or go back.
func TestClockAtTheEndOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		c.applied(1_000_000_000_000, 1)
		for _, at := range []app.Time{raftfsm.MaxTime + 1, 9_223_372_036_854, 9_300_000_000_000, 253402300799999, 1<<63 - 1, -1, -1 << 63} {
			c.applied(at, 1)
			if got := c.now(); got != 1_000_000_000_000 {
				t.Errorf("after an entry of %d it shows %d", at, got)
			}
		}
		c.applied(raftfsm.MaxTime-1, 1)
		if got := c.now(); got != raftfsm.MaxTime-1 {
			t.Errorf("it shows %s, want %s", got, raftfsm.MaxTime-1)
		}
		for range 4 {
			time.Sleep(100_000 * time.Hour)
			if got := c.now(); got != raftfsm.MaxTime {
				t.Errorf("it shows %d, want the end of time, %d", got, raftfsm.MaxTime)
			}
			c.applied(raftfsm.MaxTime, 1)
		}
		if !time.UnixMilli(int64(raftfsm.MaxTime)).Add(50 * 365 * 24 * time.Hour).Before(time.Unix(0, 1<<63-1)) {
			t.Error("fifty years after the end of time a count of nanoseconds overflows")
		}
	})
}

// Entries are stamped with the clock's time. The state machine must accept them even at the end of time.
func TestEntriesAtTheEndOfTime(t *testing.T) {
	c := startCluster(t, 1, nil)
	n := c.leader()
	n.clock.applied(raftfsm.MaxTime, 0)
	for i := range 2 {
		if res, err := n.Propose(bounded(t), dea(i)); err != nil || res[0].Err != nil {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if now := n.View().Time(); now != raftfsm.MaxTime {
		t.Errorf("the entries are stamped %s", now)
	}
}

// A leader that stamps each entry from its clock and applies it a little later must not slow its own clock down.
func TestClockKeepsPaceUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader, follower := newClock(), newClock()
		leader.ownTerm.Store(1)
		begin := leader.now()
		leader.applied(begin, 1)
		follower.applied(begin, 1)
		for range 10_000 {
			at := leader.now()
			time.Sleep(700 * time.Microsecond)
			leader.applied(at, 1)
			time.Sleep(300 * time.Microsecond)
			follower.applied(at, 1)
		}
		if passed := leader.now().Sub(begin); passed != 10*time.Second {
			t.Errorf("the leader's clock went by %s in 10s", passed)
		}
		if behind := leader.now().Sub(follower.now()); behind < 0 || behind > 12*time.Millisecond {
			t.Errorf("the follower's clock is %s behind the leader's", behind)
		}
	})
}

func TestClockNeverGoesBackForReaders(t *testing.T) {
	c := newClock()
	at := c.now()
	c.applied(at, 1)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			last := c.now()
			for {
				select {
				case <-stop:
					return
				default:
				}
				now := c.now()
				if now < last {
					t.Errorf("the clock went back from %d to %d", last, now)
					return
				}
				last = now
			}
		})
	}
	for i := range 20_000 {
		c.applied(at+app.Time(i/100)-app.Time(i%7), uint64(i%2))
	}
	close(stop)
	wg.Wait()
}

func BenchmarkNow(b *testing.B) {
	c := newClock()
	c.applied(c.now(), 1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.now()
		}
	})
}
