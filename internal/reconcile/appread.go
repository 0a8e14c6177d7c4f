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

// announced takes the apps of which the Cloud Controller announced a change (droplet.updated, R39): they are read one
// by one if the source can do that, else everything is read early.
func (c *Core) announced(droplets []app.GUID) {
	switch {
	case len(droplets) == 0:
	case c.opts.ReadsApps && len(droplets) <= maxUpdated && len(c.reads.ask) <= maxUpdated && c.log.View().DesiredMeta().Complete:
		c.reads.ask = append(c.reads.ask, droplets...)
	default:
		c.reads.wanted = true
	}
}

// AppReads gives the apps whose desired state is to be read now, each of which AppRead is to be told of.
func (c *Core) AppReads() []app.GUID {
	ask := c.reads.ask
	c.reads.ask = nil
	return ask
}

// AppRead takes what was read of one app: its rows, of which there is mostly one. began is when the read was begun. It
// records rows that are new or differ. It never takes an app away: that one is gone is the word of a complete read,
// which the guard judges, so a read that finds nothing, like one that failed, asks for that instead.
func (c *Core) AppRead(ctx context.Context, began app.Time, droplet app.GUID, rows []desired.App, readErr error) error {
	view := c.log.View()
	meta := view.DesiredMeta()
	if readErr != nil || len(rows) == 0 || !meta.Complete {
		c.reads.wanted = true
		return nil
	}
	if began <= c.reads.knownOf(droplet).Began {
		return nil // what is recorded is newer
	}
	read, err := desired.NewRead(meta.Source, slices.Clone(rows))
	if err != nil {
		c.reads.wanted = true
		return nil
	}
	recorded := func(yield func(desired.App) bool) {
		for _, k := range view.Versions(droplet) {
			if a, ok := view.App(k); ok && a.HasDesired && !yield(a.Desired) {
				return
			}
		}
	}
	if changes := read.Changes(desiredLookup(view), recorded); !changes.Empty() {
		generation := meta.Generation + 1
		err := c.propose(ctx, raftfsm.DesiredChanges{Generation: generation, Upserts: changes.Upserts, Removes: changes.Removes},
			raftfsm.DesiredCommit{Generation: generation, Parts: 1, Source: meta.Source})
		if err != nil {
			return fmt.Errorf("recording a read of app %s: %w", droplet, err)
		}
	}
	if c.reads.apps == nil {
		c.reads.apps = map[app.GUID]app.Time{}
	}
	c.reads.apps[droplet] = began
	c.queue.add(view.Versions(droplet)...)
	return nil
}

// newerApps gives the apps of which a read of their own was begun after began, sorted: a complete read begun then
// may show them as they were before.
func (r *reads) newerApps(began app.Time) []app.GUID {
	var newer []app.GUID
	for _, d := range slices.SortedFunc(maps.Keys(r.apps), app.GUID.Compare) {
		if r.apps[d] >= began {
			newer = append(newer, d)
		}
	}
	return newer
}
