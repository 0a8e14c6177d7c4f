package bulk

import (
	"hm/desired"
	"hm/internal/app"
)

// packedRows are rows in a form in which they stay in memory for long: without pointers, so that the garbage collector
// does not go through them again and again.
type packedRows struct {
	packed []packedRow
	others []desired.App // the few that have no packed form, because of their guids or their letter case
}

// packedRow is a row in 44 bytes. A desired.App has 64, and two pointers.
type packedRow struct {
	droplet, version [16]byte // app.GUID.Binary
	instances        uint32   // if dropletForm is 0: which one of others the row is
	page             uint32   // that the row was on, from 0

	dropletForm, versionForm byte
	state                    desired.RunState
	pkg                      desired.PackageState
}

// pack keeps apps, in their order, with the page of each.
func pack(apps []desired.App, page []uint32) packedRows {
	rows := packedRows{packed: make([]packedRow, len(apps))}
	for i := range apps {
		a, p := &apps[i], &rows.packed[i]
		p.droplet, p.dropletForm = a.Key.Droplet.Binary()
		p.version, p.versionForm = a.Key.Version.Binary()
		p.instances, p.state, p.pkg = a.Instances, a.State, a.Package
		if p.dropletForm == 0 || p.versionForm == 0 || a.LetterCase != (app.KeyLetterCase{}) {
			*p = packedRow{instances: uint32(len(rows.others))}
			rows.others = append(rows.others, *a)
		}
		p.page = page[i]
	}
	return rows
}

// app gives row i.
func (r *packedRows) app(i int) desired.App {
	p := &r.packed[i]
	if p.dropletForm == 0 {
		return r.others[p.instances]
	}
	return desired.App{
		Key: app.Key{
			Droplet: app.FromBinary(p.droplet, p.dropletForm), Version: app.FromBinary(p.version, p.versionForm),
		},
		Instances: p.instances, State: p.state, Package: p.pkg,
	}
}

// apps gives all rows, in a list of their own.
func (r *packedRows) apps() []desired.App {
	apps := make([]desired.App, len(r.packed))
	for i := range apps {
		apps[i] = r.app(i)
	}
	return apps
}
