package bus

import "time"

// State is what a link knows of itself.
type State struct {
	Up bool
	// Since is since when the link has been up without a gap, or down. It carries a monotonic reading.
	Since time.Time
	// Epoch is raised whenever Since is set anew: two equal epochs mean that nothing was missed in between.
	Epoch   uint64
	Outages uint64 // times the link went down; being away at boot is none
	Gaps    uint64 // times messages were dropped while it was up, because a subscriber was too slow
	Dropped uint64 // messages dropped so, as far as the client library counts them
	Server  string // where it is connected, or was last: host:port
}

// State returns the link's state. Drops are looked up at this moment, so a link that is up has really missed
// nothing since Since, but for what the server has sent and the network not yet delivered.
func (l *Link) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.countDropsLocked()
	return l.state
}

// Changed receives after each change of the epoch. It holds one value: changes that come quickly become one.
func (l *Link) Changed() <-chan struct{} { return l.changed.C() }

// beginEpoch must be called with l.mu held.
func (l *Link) beginEpoch() {
	l.state.Epoch++
	l.state.Since = time.Now()
	l.changed.Notify()
}

func (l *Link) setUp(sp *spell) {
	l.mu.Lock()
	l.up = sp
	l.state.Up, l.state.Server = true, sp.server
	l.beginEpoch()
	l.mu.Unlock()
	l.logger.Info("nats link is up", "server", sp.server)
}

func (l *Link) setDown(sp *spell) {
	l.live.CompareAndSwap(sp, nil)
	l.mu.Lock()
	l.countDropsLocked()
	lasted := time.Since(l.state.Since)
	l.up = nil
	l.state.Up = false
	l.state.Outages++
	l.beginEpoch()
	l.mu.Unlock()
	l.log.Warn("down", "nats link is down, no command is evaluated until it has been up for the freshness window",
		func() []any {
			return []any{"server", sp.server, "error", l.redact(sp.nc.LastError()), "up_for", lasted.Round(time.Millisecond)}
		})
}

// setClosed marks the end without an outage: it was asked for.
func (l *Link) setClosed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = nil
	if l.state.Up {
		l.state.Up = false
		l.beginEpoch()
	}
}

// countDrops turns messages that were dropped since the last look into a gap, and logs what was found since it
// was last called, by State too, which leaves the logging to it.
func (l *Link) countDrops() {
	l.mu.Lock()
	l.countDropsLocked()
	n := l.unlogged
	l.unlogged = 0
	l.mu.Unlock()
	if n > 0 {
		l.log.Warn("gap", "messages were dropped because a subscriber was too slow: what was heard has a gap, and the freshness window starts anew",
			func() []any { return []any{"dropped", n} })
	}
}

// countDropsLocked is the one place that decides on gaps. The library's slow-consumer callback comes only once
// for a row of drops, so the counters themselves are compared, from three sides: that callback, the owner's
// ticker, and every reading of the state.
func (l *Link) countDropsLocked() {
	if l.up == nil {
		return // while it is down or being set up, what was missed is an outage's
	}
	n := 0
	lost := uint64(0) // of a queue group, of whose messages nobody hears all
	for _, t := range l.up.taps {
		dropped, err := t.sub.Dropped()
		if err != nil || dropped <= t.dropped {
			continue // a closed subscription counts no more: its connection is gone
		}
		if t.s.queue == "" {
			n += dropped - t.dropped
		} else {
			lost += uint64(dropped - t.dropped)
		}
		t.dropped = dropped
	}
	l.state.Dropped += lost
	if n > 0 {
		l.state.Gaps++
		l.state.Dropped += uint64(n)
		l.unlogged += n
		l.beginEpoch()
	}
}
