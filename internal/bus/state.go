package bus

import (
	"log/slog"
	"time"
)

// State is the state of a link.
type State struct {
	Up bool
	// Since is when the link came up or had its last gap, or went down. It has a monotonic reading.
	Since time.Time
	// Epoch grows whenever Since changes: between two equal epochs nothing was missed.
	Epoch   uint64
	Outages uint64 // times the link went down; a server that is away at the start is none
	Moves   uint64 // times the link moved from a server that shuts down to another one, without a gap
	Gaps    uint64 // times messages were dropped while it was up, because a subscriber was too slow
	Dropped uint64 // messages dropped like this, as far as the client library counts them
	// DroppedAside counts dropped messages of subscriptions on which no decision depends (Limits.Aside).
	DroppedAside uint64
	Server       string // host:port of the present or the last connection
	// ServerName is how that server calls itself. Several servers may be behind one address, one after the other.
	ServerName string
	// Error is why the link is down: how its last connection ended, or its newest attempt failed, with the address. It is
	// empty while the link is up.
	Error string
}

// State returns the link's state. It counts drops first, so a link that is up has missed nothing since Since, except
// messages that the network has not yet delivered.
func (l *Link) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.countDropsLocked()
	return l.state
}

// Changed receives after each change of the epoch. Several changes before a receive count as one.
func (l *Link) Changed() <-chan struct{} { return l.changed.C() }

// beginEpoch begins a new epoch. l.mu must be held.
func (l *Link) beginEpoch() {
	l.state.Epoch++
	l.state.Since = time.Now()
	l.changed.Notify()
}

func (l *Link) setUp(ses *session) {
	l.mu.Lock()
	l.up = ses
	l.state.Up, l.state.Server, l.state.ServerName, l.state.Error = true, ses.server, ses.nc.ConnectedServerName(), ""
	name := l.state.ServerName
	l.beginEpoch()
	l.mu.Unlock()
	l.log.Log(slog.LevelInfo, "up", "nats link is up", func() []any { return []any{"server", ses.server, "name", name} })
}

// setDown notes the end of a session. If another one has taken over from it, setDown gives that one, and notes nothing.
func (l *Link) setDown(ses *session) (now *session) {
	why := "the server closed the connection"
	if err := ses.nc.LastError(); err != nil {
		why = l.redact(err)
	}
	l.mu.Lock()
	if l.up != ses {
		defer l.mu.Unlock()
		return l.up
	}
	l.live.CompareAndSwap(ses, nil)
	l.countDropsLocked()
	lasted := time.Since(l.state.Since)
	l.up = nil
	l.state.Up, l.state.Error = false, ses.server+": "+why
	l.state.Outages++
	l.beginEpoch()
	l.mu.Unlock()
	l.log.Warn("down", "nats link is down, no command is evaluated until it has been up for the freshness window",
		func() []any {
			return []any{"server", ses.server, "error", why, "up_for", lasted.Round(time.Millisecond)}
		})
	return nil
}

// setClosed marks the end of the link, which is no outage.
func (l *Link) setClosed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = nil
	if l.state.Up {
		l.state.Up = false
		l.beginEpoch()
	}
}

// countDrops turns newly dropped messages into a gap, and logs all drops since its last call. State counts drops, too,
// but does not log them.
func (l *Link) countDrops() {
	l.mu.Lock()
	l.countDropsLocked()
	n := l.unlogged
	l.unlogged = 0
	l.mu.Unlock()
	if n > 0 {
		l.log.Warn("gap", "messages were dropped because a subscriber was too slow: "+
			"this is a gap, and the freshness window starts again",
			func() []any { return []any{"dropped", n} })
	}
}

// countDropsLocked is the only place that decides on gaps. The library calls back only once for a series of drops, so
// this compares the library's counters, and is called by that callback, by watch's ticker, and by State.
func (l *Link) countDropsLocked() {
	if l.up == nil {
		return // what is missed while the link is down belongs to the outage
	}
	n := 0
	lost := uint64(0) // of queue groups, whose members do not expect every message
	for _, t := range l.up.active {
		dropped, err := t.sub.Dropped()
		if err != nil || dropped <= t.dropped {
			continue // or the subscription was closed with its connection
		}
		if t.s.limits.Aside {
			l.state.DroppedAside += uint64(dropped - t.dropped)
		} else if t.s.queue == "" {
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
