package reconcile

import (
	"slices"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// partial reports whether what is recorded as desired is that of one cell: it was read through a filter.
func partial(meta raftfsm.DesiredMeta) bool { return desired.FilterOf(meta.Source) != "" }

// mayBeForeign reports whether another cell may have what is recorded of a droplet: no version of it is recorded as wanted
// here. The row of an app that is gone is kept as STOPPED for the instances that it had (keepRows). If somebody starts
// another version of it meanwhile, that is another cell: each start of an app gives it a new version.
func mayBeForeign(view *raftfsm.State, droplet, version app.GUID) bool {
	if !partial(view.DesiredMeta()) {
		return false
	}
	if version.IsZero() {
		return true
	}
	row, _ := view.App(app.Key{Droplet: droplet, Version: version})
	return !row.Desired.Wanted()
}

// readOfFilter reports whether what is recorded was read through the filter of this node. If not, a node with another
// configuration recorded it, or this one before it was configured anew: nothing may follow from it.
func (o Options) readOfFilter(meta raftfsm.DesiredMeta) bool {
	return o.AnyFilter || desired.FilterOf(meta.Source) == o.Filter
}

// keepRows changes what a read removes. Where hm leaves alone what has no row, it could not stop the instances of an app
// that is deleted, or has moved to another cell. So as long as anything of the app lives, its row is recorded as STOPPED
// instead, and R15 stops it. A later read, when nothing of it lives any more, removes the row.
//
// It leaves the changes as they are if the record was read whole, or through another filter than the read: then a missing
// row does not mean that the app is gone.
func keepRows(view *raftfsm.State, read desired.Read, changes desired.Changes) desired.Changes {
	filter := desired.FilterOf(read.Source)
	if filter == "" || filter != desired.FilterOf(view.DesiredMeta().Source) {
		return changes
	}
	var kept []desired.App
	removes := slices.DeleteFunc(slices.Clone(changes.Removes), func(k app.Key) bool {
		row, known := view.App(k)
		if !known || !row.HasDesired || has(read, k.Droplet) || !lives(view, k) {
			return false
		}
		if row.Desired.State != desired.Stopped {
			row.Desired.State = desired.Stopped
			kept = append(kept, row.Desired)
		}
		return true
	})
	upserts := slices.Concat(changes.Upserts, kept)
	slices.SortFunc(upserts, func(a, b desired.App) int { return a.Key.Compare(b.Key) })
	return desired.Changes{Upserts: upserts, Removes: removes}
}

// has reports whether a read has a row of a droplet, in any version.
func has(read desired.Read, droplet app.GUID) bool {
	_, found := slices.BinarySearchFunc(read.Apps, droplet,
		func(a desired.App, d app.GUID) int { return a.Key.Droplet.Compare(d) })
	return found
}

// lives reports whether anything of an app is there that may have to be stopped, or may come: an instance that is not
// crashed, or a command that has not ended.
func lives(view *raftfsm.State, k app.Key) bool {
	return view.HasCommands(k) || slices.ContainsFunc(view.Instances(nil, k), func(l actual.Located) bool {
		return l.State != actual.Crashed
	})
}
