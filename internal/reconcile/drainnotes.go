package reconcile

import (
	"context"
	"slices"
	"strings"
	"time"

	"hm/diff"
	"hm/internal/app"
)

// note is what this leader adds to the history.
type note struct {
	kind   string
	reason string
	delay  time.Duration
	counts map[string]int
}

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
func (c *Core) noteFresh(ctx context.Context) {
	d := &c.drain
	if !d.first || len(c.queue.sorted) > 0 {
		return
	}
	d.first = false
	if d.apps == 0 {
		d.begun = false // nothing waits: the history of a fleet that is as desired says no more than that the gate is open
		return
	}
	counts := map[string]int{"apps": d.apps}
	for _, k := range diff.Kinds() {
		if n := d.kinds[k]; n > 0 {
			counts[k.String()] = n
		}
	}
	defer func() { d.reasons = nil }()
	c.note(ctx, note{kind: "picture.fresh", reason: strings.Join(d.reasons, ", "), delay: d.closedFor, counts: counts})
}

// noteDrained tells what became of all that waited, once nothing is left of it.
func (c *Core) noteDrained(ctx context.Context, now app.Time) {
	d := &c.drain
	if !d.begun || d.first || d.Waiting > 0 {
		return
	}
	d.begun, d.targets = false, nil
	c.note(ctx, note{kind: "queue.drained", delay: now.Sub(d.Opened), counts: map[string]int{
		"healed_by_itself": d.Healed, "starts_sent": d.Starts, "stops_sent": d.Stops, "dropped": d.Dropped, "still_waiting": d.Later,
	}})
}

// shown gives what the overview shows; nil if nothing is followed.
func (d *drain) shown() *Drain {
	if !d.begun || d.first {
		return nil
	}
	shown := d.Drain
	return &shown
}

func (c *Core) note(_ context.Context, n note) {
	if c.opts.onNote != nil {
		c.opts.onNote(n)
	}
}
