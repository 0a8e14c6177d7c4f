package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// cellFilter is the filter of the cell in which the simulation's hm is, if it is in one; otherFilter
// is another one.
var (
	cellFilter  = desired.Filter{Stacks: []string{"ours"}}
	otherFilter = desired.Filter{Organizations: []string{"ours"}, Stacks: []string{"ours"}}
)

// source names what is read: through the filter of the nodes.
func (cf *simCF) source(opts Options) string {
	for _, f := range []desired.Filter{cellFilter, otherFilter} {
		if f.String() == opts.Filter {
			return desired.Filtered("test", f)
		}
	}
	return "test"
}

// simCell is what the simulation knows of cells.
type simCell struct {
	foreign map[app.GUID]bool // apps of another cell, which this one never had
	left    []desired.App     // apps that left this cell
}

func foreignKey(n, version int) app.Key {
	return app.Key{Droplet: app.MustGUID(fmt.Sprintf("foreign-%03d", n)), Version: app.MustGUID(fmt.Sprintf("v%d", version))}
}

// addForeign adds n apps of another cell, of so many instances each, which run on the same DEAs.
func (cf *simCF) addForeign(n int, instances uint32) {
	if cf.cell.foreign == nil {
		cf.cell.foreign = map[app.GUID]bool{}
	}
	for range n {
		k := foreignKey(len(cf.cell.foreign), 1)
		cf.cell.foreign[k.Droplet] = true
		for index := range instances {
			cf.obey(commands.Command{Action: commands.Start, App: k, Index: index})
		}
	}
}

// isOurs reports whether hm is to know all of an app. In a cell it may miss what is left of an app
// that is not wanted, if a DEA was silent when it was stopped.
func (cf *simCF) isOurs(droplet app.GUID) bool {
	return cf.opts.Filter == "" || !cf.cell.foreign[droplet] && cf.row(droplet).Wanted()
}

// rows gives what a source reads of some apps: a filtered one, which is a database, gives only those
// that are wanted.
func (cf *simCF) rows(apps []desired.App) []desired.App {
	if cf.opts.Filter == "" {
		return apps
	}
	return slices.DeleteFunc(slices.Clone(apps), func(a desired.App) bool { return !a.Wanted() })
}

// checkCell requires that nothing is sent for an app of another cell (R65).
func (cf *simCF) checkCell(c commands.Command) {
	cf.t.Helper()
	if cf.cell.foreign[c.App.Droplet] {
		cf.t.Fatalf("R65: %s of %s/%d, which another cell has", c.Action, c.App.Droplet, c.Index)
	}
}

// leave makes an app leave the cell: it is deleted there, or moves. Nothing is done to its
// instances.
func (cf *simCF) leave(i int) {
	a := cf.apps[i]
	cf.cell.left = append(cf.cell.left, a)
	cf.apps = slices.Delete(slices.Clone(cf.apps), i, i+1) // a read under way has the list
}

// saysTheSame reports whether what is recorded of a droplet says what the Cloud Controller said. In a
// cell an app that is not wanted has no row, or one that says STOPPED.
func (cf *simCF) saysTheSame(said, recorded desired.App) bool {
	return said == recorded ||
		cf.opts.Filter != "" && !said.Wanted() && (recorded == desired.App{} || recorded.State == desired.Stopped)
}

// cellFault is something that happens to apps of another cell, or between the cells.
func cellFault(cf *simCF, rnd *rand.Rand) {
	ids := cf.deaKeys()
	dea := cf.deas[ids[rnd.IntN(len(ids))]]
	k := foreignKey(rnd.IntN(len(cf.cell.foreign)), 1+rnd.IntN(3))
	theirs := slices.DeleteFunc(slices.Clone(dea.list), func(i actual.Instance) bool { return !cf.cell.foreign[i.App.Droplet] })
	change := func(do func(*actual.Instance)) {
		if len(theirs) > 0 {
			g := theirs[rnd.IntN(len(theirs))].GUID
			do(&dea.list[slices.IndexFunc(dea.list, func(i actual.Instance) bool { return i.GUID == g })])
		}
	}
	switch rnd.IntN(8) {
	case 0, 1:
		cf.say("another cell starts %s", k)
		for index := range uint32(1 + rnd.IntN(3)) {
			cf.obey(commands.Command{Action: commands.Start, App: k, Index: index})
		}
	case 2:
		cf.say("an instance of another cell on %s crashes", dea.id)
		change(func(i *actual.Instance) {
			if i.State.Live() {
				i.State = actual.Crashed
				cf.exit(actual.Exit{App: i.App, Instance: i.GUID, Index: i.Index, Reason: actual.ExitCrashed})
			}
		})
	case 3:
		cf.say("an instance of another cell on %s evacuates", dea.id)
		change(func(i *actual.Instance) { i.State = actual.Evacuating })
	case 4:
		cf.say("another cell stops what it has on %s", dea.id)
		dea.list = slices.DeleteFunc(dea.list, func(i actual.Instance) bool { return cf.cell.foreign[i.App.Droplet] })
	case 5:
		cf.say("an exit of another cell's app comes")
		cf.exit(actual.Exit{App: k, Instance: app.MustGUID(fmt.Sprintf("old-%d", rnd.IntN(1e9))), Reason: actual.ExitShutdown})
	case 6:
		if len(cf.cell.left) < 5 {
			n := rnd.IntN(len(cf.apps))
			cf.say("%s leaves the cell", cf.apps[n].Key)
			cf.leave(n)
		}
	case 7:
		if n := len(cf.cell.left); n > 0 {
			a := cf.cell.left[n-1]
			cf.say("%s comes back to the cell", a.Key)
			cf.cell.left = cf.cell.left[:n-1]
			cf.apps = append(slices.Clone(cf.apps), a)
		}
	}
	cf.faults.count("cell faults")
}
