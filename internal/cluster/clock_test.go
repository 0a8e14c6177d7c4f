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

// A new leader takes over the clock of the voter that followed the newest leader, whatever its own shows.
func TestClockOfANewLeader(t *testing.T) {
	const first = app.Time(1_000_000_000_000)
	for name, at := range map[string]app.Time{"later": first + 600_000, "earlier": first + 5_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClock()
				c.applied(first, 1)
				time.Sleep(time.Minute)
				c.lead(at, 7)
				if got := c.now(); got != at || c.ofTerm.Load() != 7 || c.ownTerm.Load() != 7 {
					t.Errorf("it shows first+%d ms in term %d, want first+%d ms in term 7", got-first, c.ofTerm.Load(), at-first)
				}
				c.lead(0, 8)
				if got := c.now(); got != at {
					t.Errorf("with nobody to ask it shows first+%d ms, want first+%d ms", got-first, at-first)
				}
			})
		})
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
