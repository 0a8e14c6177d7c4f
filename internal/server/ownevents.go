package server

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/journal"
	"hm/internal/reconcile"
)

// ownEvents tells the journal what only this node knows: when its NATS link was lost and came back, and when its gate
// closed and opened. Only the node's watch loop uses it, except for why.
type ownEvents struct {
	id    string
	add   func(journal.Event)
	clock hmClock

	waiting []ownEvent // until the clock knows the time, or for timeWait; the budgets bound them

	linkLost  time.Time // since when the link is down; zero: it is up, or it was never up
	gateKnown bool
	gate      []string // reasons of the closed gate; none: it is open
	closedAt  time.Time
	budgets   map[string]*budget // by the subject of the events

	led atomic.Pointer[otherLeader]
}

// otherLeader is the newest other node that led, as this node saw it.
type otherLeader struct {
	id   string
	gate string // as it told of it at last
	at   time.Time
}

// budget bounds how many events of a subject are told, so that a link or a gate that flaps does not fill the history.
type budget struct {
	left   float64
	at     time.Time
	hidden int64 // since the last event that was told
}

const (
	eventBurst  = 60
	eventRefill = 10 * time.Second // for one more
)

// hmClock gives hm time. *cluster.Node is one.
type hmClock interface {
	Now() app.Time
	KnowsTime() bool
}

// ownEvent is an event that has no hm time yet.
type ownEvent struct {
	event journal.Event
	at    time.Time // of this machine
}

func newOwnEvents(id string, add func(journal.Event), clock hmClock) *ownEvents {
	return &ownEvents{id: id, add: add, clock: clock, budgets: map[string]*budget{}}
}

// timeWait is how long events wait for their time. A node that hears of no leader for longer tells them all the same.
const timeWait = time.Minute

// settle gives the events that wait to the journal, once their time is known: a node that has just started is behind by
// the time since the newest entry. last is set when the node closes: then, and after timeWait, it gives them with the time
// that it has.
func (o *ownEvents) settle(at time.Time, last bool) {
	if len(o.waiting) == 0 || !o.clock.KnowsTime() && !last && at.Sub(o.waiting[0].at) < timeWait {
		return
	}
	now := o.clock.Now()
	for _, w := range o.waiting {
		w.event.At = max(now.Add(-at.Sub(w.at)), 1)
		o.add(w.event)
	}
	o.waiting = nil
}

// link takes in a change of the link.
func (o *ownEvents) link(before, state bus.State, refused bool, at time.Time) {
	reason := reconcile.ReasonNATSDown
	if refused {
		reason = reconcile.ReasonNATSRefused
	}
	lost := journal.Event{Kind: journal.LinkLost, Index: -1, Reason: reason}
	back := journal.Event{Kind: journal.LinkBack, Index: -1}
	switch {
	case before.Up && !state.Up:
		o.linkLost = at
		o.tell("link", lost, at)
	case before.Up && state.Outages != before.Outages: // it was lost and came back in between
		o.tell("link", lost, at)
		o.tell("link", back, at)
	case state.Up && !o.linkLost.IsZero():
		back.DelayMS = at.Sub(o.linkLost).Milliseconds()
		o.linkLost = time.Time{}
		o.tell("link", back, at)
	}
}

// overview takes in the gate. A closed gate whose reasons change is told again.
func (o *ownEvents) overview(v reconcile.Overview, at time.Time) {
	if v.GateOpen == (len(o.gate) == 0) && slices.Equal(v.GateReasons, o.gate) && o.gateKnown {
		return
	}
	if v.GateOpen {
		e := journal.Event{Kind: journal.GateOpen, Index: -1}
		if !o.closedAt.IsZero() {
			e.DelayMS = at.Sub(o.closedAt).Milliseconds()
		}
		o.tell("gate", e, at)
		o.closedAt = time.Time{}
	} else {
		if o.closedAt.IsZero() {
			o.closedAt = at
		}
		o.tell("gate", journal.Event{Kind: journal.GateClosed, Index: -1, Reason: strings.Join(v.GateReasons, ", ")}, at)
	}
	o.gate, o.gateKnown = slices.Clone(v.GateReasons), true
}

// tell adds an event, if its subject has not had too many of late.
func (o *ownEvents) tell(subject string, e journal.Event, at time.Time) {
	b := o.budgets[subject]
	if b == nil {
		b = &budget{left: eventBurst, at: at}
		o.budgets[subject] = b
	}
	b.left = min(b.left+at.Sub(b.at).Seconds()/eventRefill.Seconds(), eventBurst)
	b.at = at
	if b.left < 1 {
		b.hidden++
		return
	}
	b.left--
	if b.hidden > 0 {
		e.Counts = []journal.Count{{Name: "left_out", N: b.hidden}}
		b.hidden = 0
	}
	o.waiting = append(o.waiting, ownEvent{e, at})
	o.settle(at, false)
}

// leadership takes in who leads.
func (o *ownEvents) leadership(lead cluster.Leadership, members []cluster.Member, at time.Time) {
	if lead.LeaderID == "" || lead.LeaderID == o.id {
		return
	}
	other := otherLeader{id: lead.LeaderID, at: at}
	for _, m := range members {
		if m.ID == lead.LeaderID && m.HasInfo {
			other.gate = m.Info.Gate
		}
	}
	o.led.Store(&other)
}

// why says what this node knows of why it leads now.
func (o *ownEvents) why(contact time.Time) string {
	other := o.led.Load()
	if other == nil {
		return "no other node led since this one started"
	}
	text := other.id + " led before"
	if !contact.IsZero() {
		text += fmt.Sprintf(", and was heard last %v before the change", time.Since(contact).Round(time.Millisecond))
	}
	if other.gate != "" && other.gate != "open" {
		text += "; its gate was closed: " + other.gate
	}
	return text
}
