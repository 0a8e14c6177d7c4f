package reconcile

import (
	"slices"
	"strings"

	"hm/diff"
	"hm/internal/app"
	"hm/raftfsm"
)

// followGate takes in what this step made of the gate.
func (c *Core) followGate(now app.Time, wasOpen bool) {
	open := evaluates(c.gate)
	if !open {
		c.drain.closedBy(c.gate)
	}
	c.drain.gate(now, wasOpen, open, c.opts.Policy.HeartbeatPeriod)
}

// closedBy takes in the reasons of the closed gate.
func (d *drain) closedBy(reasons []string) {
	for _, r := range reasons {
		if r != ReasonShadow && !slices.Contains(d.reasons, r) {
			d.reasons = append(d.reasons, r)
		}
	}
}

// noteFresh tells what waits, once all of it was evaluated since the gate opened.
func (c *Core) noteFresh() {
	d := &c.drain
	if !d.first || len(c.queue.sorted) > 0 {
		return
	}
	d.first = false
	if d.apps == 0 {
		d.begun = false // nothing waits: the history of a fleet that is as desired says no more than that the gate is open
		return
	}
	counts := []raftfsm.NoteCount{{Name: "apps", N: int64(d.apps)}, {Name: "closed_ms", N: d.closedFor.Milliseconds()}}
	for _, k := range diff.Kinds() {
		counts = append(counts, raftfsm.NoteCount{Name: k.String(), N: int64(d.kinds[k])})
	}
	c.note("picture.fresh", strings.Join(d.reasons, ", "), counts)
	d.reasons = nil
}

// noteDrained tells what became of all that waited, once nothing is left of it.
func (c *Core) noteDrained(now app.Time) {
	d := &c.drain
	if !d.begun || d.first || d.Waiting > 0 {
		return
	}
	d.begun, d.targets = false, nil
	sent := "sent"
	if c.opts.Policy.Shadow {
		sent = "decided"
	}
	c.note("queue.drained", "", []raftfsm.NoteCount{
		{Name: "took_ms", N: now.Sub(d.Opened).Milliseconds()}, {Name: "healed_by_itself", N: int64(d.Healed)},
		{Name: "starts_" + sent, N: int64(d.Starts)}, {Name: "stops_" + sent, N: int64(d.Stops)},
		{Name: "dropped", N: int64(d.Dropped)}, {Name: "still_waiting", N: int64(d.Later)},
	})
}

// note adds to the history. Nothing depends on it: a note that cannot be recorded is not tried again.
func (c *Core) note(event, detail string, counts []raftfsm.NoteCount) {
	counts = slices.DeleteFunc(counts, func(n raftfsm.NoteCount) bool { return n.N == 0 })
	c.tell(c.log.Now(), raftfsm.Note{Event: event, Detail: detail, Counts: counts})
}

// shown gives what the overview shows; nil if nothing is followed.
func (d *drain) shown() *Drain {
	if !d.begun || d.first {
		return nil
	}
	shown := d.Drain
	return &shown
}
