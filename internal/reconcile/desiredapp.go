package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// announced takes the apps whose change the Cloud Controller announced (droplet.updated, R39). They
// are read one by one if the source can do that; else everything is read early.
func (c *Core) announced(droplets []app.GUID) {
	switch {
	case len(droplets) == 0:
	case c.opts.ReadsApps && max(len(droplets), len(c.reads.ask)) <= maxUpdated && c.log.View().DesiredMeta().Complete:
		c.reads.ask = append(c.reads.ask, droplets...)
	default:
		c.reads.wanted = true
	}
}

// AppReads gives the apps whose desired state is to be read now, and the term of the leadership
// that asks. AppRead takes the outcome for each.
func (c *Core) AppReads() (droplets []app.GUID, term uint64) {
	ask := c.reads.ask
	c.reads.ask = nil
	return ask, c.term
}

// AppReadOutcome is how the read of a single app's desired state ended.
type AppReadOutcome struct {
	Term    uint64 // of the leadership that asked for it; 0: none asked, as in a replay
	Droplet app.GUID
	Began   app.Time      // when it began, in hm time
	Rows    []desired.App // mostly one; none if there is no such app
	Err     error
}

// AppRead takes the outcome of a read of one app, and records rows that are new or differ. It never
// removes an app: only a complete read, which the guard judges, says that an app is gone. So a read
// that failed or found nothing asks for a complete one. It ignores a read of an earlier leadership.
func (c *Core) AppRead(ctx context.Context, now app.Time, o AppReadOutcome) error {
	if o.Term != 0 && (o.Term != c.term || !c.log.Leading(c.term)) {
		return nil
	}
	view := c.log.View()
	meta := view.DesiredMeta()
	if o.Err != nil || len(o.Rows) == 0 || !meta.Complete || !c.opts.readOfFilter(meta) {
		c.reads.wanted = true
		return nil
	}
	droplet, began := o.Droplet, min(o.Began, now)
	if began <= c.reads.beganOf(droplet) {
		return nil // what is recorded is newer
	}
	if began < c.reads.notBefore {
		c.reads.wanted = true
		return nil // what is recorded may be newer
	}
	read, err := desired.NewRead(meta.Source, slices.Clone(o.Rows))
	if err != nil {
		c.reads.wanted = true
		return nil
	}
	find, _ := desiredRows(view)
	recorded := func(yield func(int, desired.App) bool) {
		for _, k := range view.Versions(droplet) {
			if place, row, ok := find(k); ok && !yield(place, row) {
				return
			}
		}
	}
	if changes := read.Changes(find, recorded); !changes.Empty() {
		generation := view.NextGeneration()
		err := c.propose(ctx, raftfsm.DesiredChanges{Generation: generation, Upserts: changes.Upserts, Removes: changes.Removes},
			raftfsm.DesiredCommit{Generation: generation, Parts: 1, Base: meta.Generation, Source: meta.Source})
		if err != nil {
			c.reads.outcomeUnknown(now, err)
			return fmt.Errorf("recording a read of app %s: %w", droplet, err)
		}
		if got := c.log.View().DesiredMeta().Generation; got != generation {
			return fmt.Errorf("recording a read of app %s: generation %d was not committed, %d is recorded",
				droplet, generation, got)
		}
	}
	if c.reads.apps == nil {
		c.reads.apps = map[app.GUID]app.Time{}
	}
	c.reads.apps[droplet] = began
	c.queue.add(view.Versions(droplet)...)
	return nil
}

// newerApps gives the apps that were read alone in a read that began at began or later, sorted. A
// complete read that began at began may show them as they were before.
func (r *reads) newerApps(began app.Time) []app.GUID {
	var newer []app.GUID
	for _, d := range slices.SortedFunc(maps.Keys(r.apps), app.GUID.Compare) {
		if r.apps[d] >= began {
			newer = append(newer, d)
		}
	}
	return newer
}
