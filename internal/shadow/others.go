// Package shadow is the second half of shadow mode: it keeps what another health manager publishes in the journal, and
// reads from the journal what is needed to compare it with what hm decided.
package shadow

import (
	"sync"
	"time"

	"hm/commands"
	"hm/commands/compare"
	"hm/internal/app"
	"hm/internal/journal"
)

// Another health manager can publish any number of commands at once: HM9000 stops without a limit (W32). So many at once
// are kept, and so many a second after that. The rest is counted.
const (
	burst     = 10_000
	perSecond = 500
)

// Why the other's commands cannot be heard.
const (
	NoLeader    = "no-leader" // nobody has told the time since the node was started
	NATSDown    = "nats-down"
	NATSRefused = "nats-refused" // NATS refuses the subscription to one of its subjects
	Closed      = "closed"       // the node was stopped
)

// reportEvery is how often it is told that commands were not kept.
const reportEvery = time.Second

// Others keeps the commands of another health manager as events of this node's own. It is safe for concurrent use.
type Others struct {
	add func(journal.Event)
	now func() app.Time

	mu      sync.Mutex
	room    float64 // commands that may be kept now
	at      app.Time
	missed  missed
	hearing Hearing
	begun   bool   // it has heard the other since the node was started
	dropped uint64 // by the link, as of the last Follow
}

type missed struct {
	since, last app.Time
	n           map[string]int64
}

// Hearing says whether this node hears the other's commands.
type Hearing struct {
	Now   bool
	Since app.Time // since when that is so
	Why   string   // it does not: NoLeader, NATSDown, NATSRefused or Closed
}

// NewOthers makes one that adds its events to a journal: add is journal.Journal.AddOwn. Until the first Follow nothing is
// heard.
func NewOthers(add func(journal.Event), now func() app.Time) *Others {
	at := now()
	return &Others{add: add, now: now, room: burst, at: at, hearing: Hearing{Since: at, Why: NATSDown}}
}

// Take keeps a command that was heard now. It never blocks. Before the first Follow that hears, now is not known.
func (o *Others) Take(c compare.Other) {
	now := o.now()
	kind, word := journal.OtherStart, "starts"
	if c.Action == commands.Stop {
		kind, word = journal.OtherStop, "stops"
	}
	o.mu.Lock()
	if !o.begun {
		o.mu.Unlock()
		return
	}
	o.room = min(o.room+max(now.Sub(o.at), 0).Seconds()*perSecond, burst)
	o.at = now
	kept := o.room >= 1
	if kept {
		o.room--
	} else {
		o.miss(now, word, 1)
	}
	o.mu.Unlock()
	if !kept {
		return
	}
	e := journal.Event{
		Kind: kind, At: now, App: c.App, Index: c.Index, Instance: c.Instance, Command: c.MessageID, Action: c.Action.String(),
	}
	if c.Duplicate {
		e.Reason = duplicate
	}
	o.add(e)
}

// duplicate is the Reason of a stop event whose message had is_duplicate.
const duplicate = "is_duplicate"

// miss counts commands that are not kept. o.mu must be held.
func (o *Others) miss(now app.Time, what string, n int64) {
	m := &o.missed
	if m.n == nil {
		m.since, m.n = now, map[string]int64{}
	}
	m.last = now
	m.n[what] += n
}

// Follow notes whether the other's commands can be heard, and how many messages the link has dropped so far. It tells
// the journal of a change. why is why they cannot be heard. It must be called often.
func (o *Others) Follow(hears bool, why string, dropped uint64) {
	now := o.now()
	var events []journal.Event
	o.mu.Lock()
	if dropped > o.dropped {
		o.miss(now, "messages", int64(dropped-o.dropped))
		o.dropped = dropped
	}
	if m := &o.missed; m.n != nil && (now.Sub(m.since) >= reportEvery || !hears) {
		e := journal.Event{
			Kind: journal.OtherMissed, At: m.last, Index: -1, DelayMS: m.last.Sub(m.since).Milliseconds(),
			Detail: "another health manager published more commands at once than are kept",
		}
		for _, word := range []string{"messages", "starts", "stops"} {
			if n := m.n[word]; n > 0 {
				e.Counts = append(e.Counts, journal.Count{Name: word, N: n})
			}
		}
		events = append(events, e)
		*m = missed{}
	}
	switch {
	case hears && !o.hearing.Now:
		o.hearing, o.begun = Hearing{Now: true, Since: now}, true
		events = append(events, journal.Event{Kind: journal.OtherListening, At: now, Index: -1})
	case !hears && o.hearing.Now:
		o.hearing = Hearing{Since: now, Why: why}
		events = append(events, journal.Event{Kind: journal.OtherUnheard, At: now, Index: -1, Reason: why})
	case !hears:
		o.hearing.Why = why
	}
	o.mu.Unlock()
	for _, e := range events {
		o.add(e)
	}
}

// Hearing says whether this node hears the other's commands now.
func (o *Others) Hearing() Hearing {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hearing
}
