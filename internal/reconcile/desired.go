package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// ReadOutcome is how one attempt to read the desired state ended.
type ReadOutcome struct {
	Number uint64   // that Step gave it; 0: Step did not ask for it, as in a replay
	Began  app.Time // when it began, in hm time
	Read   desired.Read
	Err    error

	compared comparedRead // before; the zero value: it was not, or need not be
}

// comparedRead is how a read differs from a record. To compare all rows of a large record takes
// longer than commands may wait, so a Loop does it where it reads.
type comparedRead struct {
	known   bool
	with    raftfsm.RowsName
	changes desired.Changes
	kept    int    // rows of apps that are gone which stay, as STOPPED
	why     string // why hm must not act on the read before it is confirmed; empty: it may
}

func (g Guard) compareRead(view *raftfsm.State, read desired.Read) comparedRead {
	meta := view.DesiredMeta()
	find, recorded := desiredRows(view)
	c := comparedRead{known: true, with: view.RowsName(), changes: read.Changes(find, recorded)}
	if !g.few(c.changes, find, meta) {
		c.why = g.Shrinks(view.DesiredApps(), read)
	}
	whole := len(c.changes.Removes)
	c.changes = keepRows(view, read, c.changes)
	c.kept = whole - len(c.changes.Removes)
	return c
}

// compare compares a read with view, unless it has just the rows of view.
func (o *ReadOutcome) compare(g Guard, view *raftfsm.State, recorded recordedRead) {
	if !recorded.has(o.Read, view) {
		o.compared = g.compareRead(view, o.Read)
	}
}

// DesiredRead takes the outcome of one attempt to read the desired state, and records what it
// changes. It ignores a read of an earlier leadership, since another leader may have recorded newer
// facts.
func (c *Core) DesiredRead(ctx context.Context, now app.Time, o ReadOutcome) error {
	err := c.takeRead(ctx, now, o)
	if err != nil {
		c.reads.failed(err) // decisions that wait for a newer read wait for one that is recorded
	}
	return err
}

// errMaybeOlder is why a complete read is not recorded.
var errMaybeOlder = errors.New("it began before another one ended of which it is not known whether it was recorded")

// takeRead is DesiredRead, but what it fails with does not yet count as a failed read.
func (c *Core) takeRead(ctx context.Context, now app.Time, o ReadOutcome) error {
	c.noteClock(now)
	if o.Number != 0 && (o.Number != c.reads.underWay || !c.log.Leading(c.term)) {
		c.logger.Info("ignoring a read of the desired state: it began in an earlier leadership", "began", o.Began)
		return nil
	}
	c.reads.underWay = 0
	if o.Err != nil {
		c.reads.failed(o.Err)
		return nil
	}
	began := min(o.Began, now) // the clock may have been ahead and was corrected meanwhile
	if began < c.reads.notBefore {
		c.reads.wanted = true
		c.reads.failed(errMaybeOlder)
		c.logger.Info("ignoring a read of the desired state: a newer one may be recorded", "began", began)
		return nil
	}
	if began < c.reads.began {
		c.logger.Info("ignoring a read of the desired state: a newer one is known", "began", began, "newer", c.reads.began)
		return nil
	}
	newer := c.reads.newerApps(began)
	read := o.Read.Keeping(newer)
	view := c.log.View()
	meta := view.DesiredMeta()
	compared := o.compared
	switch {
	case c.reads.recorded.has(read, view):
		compared = comparedRead{}
	case !compared.known || compared.with != view.RowsName() || len(newer) > 0:
		compared = c.opts.Guard.compareRead(view, read)
	}
	changes := compared.changes
	v := c.reads.judge(view, c.opts, read, began, compared.why)
	generation := meta.Generation
	var records []raftfsm.Record
	if v.hold != "" { // first, so that no such read is ever recorded without its hold
		hold := raftfsm.Hold{
			Name: HoldDesiredShrink, Reason: v.hold, By: holdBy, SetAt: now, AppsBefore: uint32(v.before),
		}
		records = append(records, raftfsm.HoldSet{Hold: hold})
	}
	if !changes.Empty() || !meta.Complete || desired.FilterOf(read.Source) != desired.FilterOf(meta.Source) {
		generation = view.NextGeneration()
		whole := raftfsm.DesiredChanges{Generation: generation, Upserts: changes.Upserts, Removes: changes.Removes}
		parts := raftfsm.Split(whole, cmp.Or(c.opts.partBytes, raftfsm.MaxEntry/2))
		records = append(append(records, parts...), raftfsm.DesiredCommit{
			Generation: generation, Parts: len(parts), Base: meta.Generation, Source: read.Source,
		})
	}
	if len(records) > 0 {
		if err := c.propose(ctx, records...); err != nil {
			c.reads.outcomeUnknown(now, err)
			return fmt.Errorf("recording a read of the desired state: %w", err)
		}
		if got := c.log.View().DesiredMeta().Generation; got != generation {
			return fmt.Errorf("recording a read of the desired state: generation %d was not committed, %d is recorded",
				generation, got)
		}
	}
	if v.release { // last, when the read counts: until then what the hold kept back may be recorded
		if err := c.releaseShrink(ctx, now, v); err != nil {
			return err
		}
	}
	c.reads.noteVerdict(v, began)
	c.reads.succeeded(began)
	c.reads.recorded = recordedRead{}
	if generation == meta.Generation && compared.kept == 0 {
		c.reads.recorded = recordedRead{digest: read.Digest, source: read.Source, rows: view.RowsName()}
	}
	c.queue.add(c.queue.takeWaiting()...)
	return nil
}

// ReadUnavailable says that the read that Step asked for does not exist: a recording has only the
// reads that were made.
func (c *Core) ReadUnavailable(number uint64) {
	if number == c.reads.underWay {
		c.reads.underWay = 0
		c.queue.add(c.queue.takeWaiting()...)
	}
}

// slowStopPeriods is for how many heartbeat periods stops are limited after the hold desired-shrink
// ended by itself.
const slowStopPeriods = 60

// releaseShrink ends the hold desired-shrink. If enough reads confirmed what it holds, no person
// has looked at it: then stops are limited for a while, so that a person can still step in.
func (c *Core) releaseShrink(ctx context.Context, now app.Time, v verdict) error {
	records := []raftfsm.Record{raftfsm.HoldReleased{Name: HoldDesiredShrink}}
	if v.confirmed && c.opts.StopLimit == 0 {
		apps := 0
		for range c.log.View().Apps() {
			apps++
		}
		limit := uint32(max(apps/10, 1))
		until := now.Add(slowStopPeriods * c.opts.Policy.HeartbeatPeriod)
		why := fmt.Sprintf("%d reads confirmed that much is not desired any more: at most %d stops are sent in a heartbeat period",
			v.reads, limit)
		c.logger.Warn("the hold on the desired state ended by itself: stops are limited for a while",
			"reads", v.reads, "stops_per_heartbeat", limit, "until", until)
		records = append([]raftfsm.Record{raftfsm.HoldSet{Hold: raftfsm.Hold{
			Name: HoldSlowStops, Reason: why, By: holdBy, SetAt: now, Until: until, StopLimit: limit,
		}}}, records...)
	}
	if err := c.propose(ctx, records...); err != nil {
		return fmt.Errorf("releasing the hold on the desired state: %w", err)
	}
	return nil
}

// desiredRows gives what desired.Read.Changes needs of the recorded rows. A row's place is its handle.
func desiredRows(view *raftfsm.State) (find func(app.Key) (int, desired.App, bool), all iter.Seq2[int, desired.App]) {
	find = func(k app.Key) (int, desired.App, bool) {
		h, row, ok := view.DesiredRow(k)
		return int(h), row, ok
	}
	all = func(yield func(int, desired.App) bool) {
		view.EachDesired(func(h raftfsm.Handle, row desired.App) bool { return yield(int(h), row) })
	}
	return find, all
}

// checkFirstRead checks, before the gate opens, whether what is recorded as desired can be right at
// all. If not, it sets a hold.
func (c *Core) checkFirstRead(ctx context.Context, now app.Time) error {
	view := c.log.View()
	if c.reads.followHold(view) || c.reads.accepted {
		return nil
	}
	why := c.opts.Guard.FirstRead(view)
	if why == "" {
		return nil
	}
	c.logger.Warn("holding all commands: the desired state may be wrong", "why", why)
	hold := raftfsm.Hold{Name: HoldDesiredShrink, Reason: why, By: holdBy, SetAt: now}
	if err := c.propose(ctx, raftfsm.HoldSet{Hold: hold}); err != nil {
		return fmt.Errorf("holding all commands: %w", err)
	}
	c.reads.holding = true // not before: a hold that is noted and not recorded would count as released by a person
	return nil
}
