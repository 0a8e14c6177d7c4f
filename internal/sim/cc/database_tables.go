package cc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// layoutV2 keeps an app in one row of apps (D16). A deleted app's row is removed, as from December 2013 on.
var layoutV2 = layout{id: "SELECT id FROM apps WHERE guid = ?", load: loadV2, add: addV2, alter: alterV2,
	drop: func(x *tx, r Row) { x.exec("DELETE FROM apps WHERE guid = ?", r.GUID) }}

func loadV2(x *tx) (rows []Row) {
	x.query("SELECT id, guid, version, instances, state, diego, memory, updated_at, package_state,"+
		" CASE WHEN droplet_hash IS NULL THEN 0 ELSE 1 END"+
		" FROM apps WHERE deleted_at IS NULL ORDER BY id", nil, func(v [][]byte) error {
		read := values{v: v}
		r := read.row()
		pack, err := desired.ParsePackageState([]byte(read.text()))
		r.Package, r.Droplet = pack, read.bool()
		if err = errors.Join(read.err, err); err != nil {
			return fmt.Errorf("app %d: %w", r.ID, err)
		}
		rows = append(rows, r)
		return checkCount(rows)
	})
	return rows
}

func addV2(x *tx, rows []Row) {
	var values []any
	for _, r := range rows {
		values = append(values, r.GUID, r.GUID, appName(r), r.Version, r.Instances, r.State.String(), r.Diego, r.Memory,
			r.UpdatedAt, r.UpdatedAt, r.Package.String(), pendingSince(r), failedReason(r), dropletHash(r))
	}
	x.insert("apps", []string{
		"guid", "app_guid", "name", "version", "instances", "state", "diego", "memory", "created_at", "updated_at",
		"package_state", "package_pending_since", "staging_failed_reason", "droplet_hash",
	}, values)
}

func alterV2(x *tx, before, r Row) {
	x.exec("UPDATE apps SET version = ?, instances = ?, state = ?, diego = ?, memory = ?, updated_at = ?, package_state = ?"+
		" WHERE guid = ?",
		r.Version, r.Instances, r.State.String(), r.Diego, r.Memory, r.UpdatedAt, r.Package.String(), r.GUID)
	if r.Package == before.Package && r.Droplet == before.Droplet {
		return
	}
	x.exec("UPDATE apps SET package_pending_since = ?, staging_failed_reason = ? WHERE guid = ?", pendingSince(r),
		failedReason(r), r.GUID)
	if r.Package == desired.Staged {
		x.exec("UPDATE apps SET droplet_hash = ? WHERE guid = ?", dropletHash(r), r.GUID)
	}
}

func pendingSince(r Row) any {
	if r.Package == desired.Pending {
		return r.UpdatedAt
	}
	return nil
}

func failedReason(r Row) any {
	if r.Package == desired.Failed {
		return "StagerError"
	}
	return nil
}

func dropletHash(r Row) any {
	if r.Droplet {
		return newGUID()
	}
	return nil
}

// layoutV3 keeps an app in a row of apps and one of processes with the same guid, like the apps that are older than v3
// (D19, D24). Its bits are in packages, and what was staged from them is in droplets. The package state is not kept:
// readers compute it (D22).
var layoutV3 = layout{id: "SELECT id FROM processes WHERE guid = ?", load: loadV3, add: addV3, alter: alterV3,
	drop: dropV3}

func addV3(x *tx, rows []Row) {
	var apps, processes, packages, droplets []any
	for _, r := range rows {
		droplet, current, bits := newGUID(), any(nil), newGUID()
		if r.Package == desired.Staged {
			current = droplet
		}
		apps = append(apps, r.GUID, appName(r), current, r.State.String(), r.UpdatedAt, r.UpdatedAt)
		processes = append(processes, r.GUID, r.GUID, r.Version, r.Instances, r.State.String(), r.Diego, r.Memory,
			r.UpdatedAt, r.UpdatedAt)
		packages = append(packages, bits, r.GUID, "READY", "bits", r.UpdatedAt, r.UpdatedAt)
		droplets = append(droplets, droplet, r.GUID, bits, dropletState(r), r.UpdatedAt, r.UpdatedAt)
	}
	x.insert("apps", []string{"guid", "name", "droplet_guid", "desired_state", "created_at", "updated_at"}, apps)
	x.insert("processes", []string{
		"guid", "app_guid", "version", "instances", "state", "diego", "memory", "created_at", "updated_at",
	}, processes)
	x.insert("packages", []string{"guid", "app_guid", "state", "type", "created_at", "updated_at"}, packages)
	x.insert("droplets", []string{"guid", "app_guid", "package_guid", "state", "created_at", "updated_at"}, droplets)
}

func alterV3(x *tx, before, r Row) {
	x.exec("UPDATE processes SET version = ?, instances = ?, state = ?, diego = ?, memory = ?, updated_at = ? WHERE guid = ?",
		r.Version, r.Instances, r.State.String(), r.Diego, r.Memory, r.UpdatedAt, r.GUID)
	if r.State != before.State {
		x.exec("UPDATE apps SET desired_state = ?, updated_at = ? WHERE guid = ?", r.State.String(), r.UpdatedAt,
			r.GUID)
	}
	if r.Package != before.Package || r.Droplet != before.Droplet {
		stageV3(x, r)
	}
}

// stageV3 begins or ends a staging: the app's newest droplet gets the state from which readers compute the row's package
// state. An app runs its old droplet until the new one is staged.
func stageV3(x *tx, r Row) {
	var droplet, state string
	x.query("SELECT guid, state FROM droplets WHERE app_guid = ? ORDER BY created_at DESC, id DESC LIMIT 1",
		[]any{r.GUID}, func(v [][]byte) error {
			droplet, state = string(v[0]), string(v[1])
			return nil
		})
	if state == "STAGING" {
		x.exec("UPDATE droplets SET state = ?, updated_at = ? WHERE guid = ?", dropletState(r), r.UpdatedAt, droplet)
	} else {
		var bits any
		x.query("SELECT guid FROM packages WHERE app_guid = ? ORDER BY created_at DESC, id DESC LIMIT 1", []any{r.GUID},
			func(v [][]byte) error {
				bits = string(v[0])
				return nil
			})
		droplet = newGUID()
		x.insert("droplets", []string{"guid", "app_guid", "package_guid", "state", "created_at", "updated_at"},
			[]any{droplet, r.GUID, bits, dropletState(r), r.UpdatedAt, r.UpdatedAt})
	}
	if r.Package == desired.Staged {
		x.exec("UPDATE apps SET droplet_guid = ?, updated_at = ? WHERE guid = ?", droplet, r.UpdatedAt, r.GUID)
	}
	// Other droplets of the app will not run again.
	x.exec("DELETE FROM droplets WHERE app_guid = ? AND guid <> ?"+
		" AND guid <> COALESCE((SELECT a.droplet_guid FROM apps a WHERE a.guid = ?), '')", r.GUID, droplet, r.GUID)
}

func dropV3(x *tx, r Row) {
	for _, table := range []string{"droplets", "packages", "processes"} {
		x.exec("DELETE FROM "+table+" WHERE app_guid = ?", r.GUID)
	}
	x.exec("DELETE FROM apps WHERE guid = ?", r.GUID)
}

// dropletState is the state of a droplet that goes with the row's package state.
func dropletState(r Row) string {
	switch r.Package {
	case desired.Staged:
		return "STAGED"
	case desired.Failed:
		return "FAILED"
	}
	return "STAGING"
}

// artifact is a droplet or a package.
type artifact struct {
	guid, state string
	pack        string // of a droplet: the package that it was staged from
	createdAt   time.Time
}

func loadV3(x *tx) (rows []Row) {
	droplets := newestByApp(x,
		"SELECT app_guid, guid, state, COALESCE(package_guid, ''), created_at FROM droplets ORDER BY created_at, id")
	packages := newestByApp(x, "SELECT app_guid, guid, state, '', created_at FROM packages ORDER BY created_at, id")
	x.query("SELECT p.id, p.guid, p.version, p.instances, p.state, p.diego, p.memory, p.updated_at, a.guid,"+
		" COALESCE(a.droplet_guid, '')"+
		" FROM processes p JOIN apps a ON a.guid = p.app_guid ORDER BY p.id", nil, func(v [][]byte) error {
		read := values{v: v}
		r := read.row()
		owner, current := read.text(), read.text()
		if read.err != nil {
			return fmt.Errorf("process %d: %w", r.ID, read.err)
		}
		if owner != r.GUID.String() {
			return fmt.Errorf("%w: process %s belongs to app %.130s: "+
				"a simulated app has one process, with the same guid", wire.ErrInvalid, r.GUID, owner)
		}
		r.Package, r.Droplet = packageState(current, droplets[owner], packages[owner]), current != ""
		rows = append(rows, r)
		return checkCount(rows)
	})
	return rows
}

// newestByApp gives each app's last row in a statement's result.
func newestByApp(x *tx, statement string) map[string]artifact {
	list := map[string]artifact{}
	x.query(statement, nil, func(v [][]byte) error {
		read := values{v: v}
		owner := read.text()
		list[owner] = artifact{guid: read.text(), state: read.text(), pack: read.text(), createdAt: read.time()}
		return read.err
	})
	return list
}

// packageState computes the package state, which v2 stores, from an app's current droplet and its newest droplet and
// package (D22).
func packageState(current string, droplet, bits artifact) desired.PackageState {
	bitsFailed := bits.state == "FAILED"
	switch {
	case droplet.guid == "":
		if bitsFailed {
			return desired.Failed
		}
		return desired.Pending
	case droplet.state == "FAILED":
		return desired.Failed
	case droplet.guid != current:
		return desired.Pending
	case bits.guid == "", droplet.pack == bits.guid, droplet.createdAt.After(bits.createdAt):
		return desired.Staged
	case bitsFailed:
		return desired.Failed
	}
	return desired.Pending
}

// row reads the columns that both schemas have, in this order.
func (r *values) row() Row {
	row := Row{ID: int64(r.int()), GUID: r.guid(), Version: r.guid(), Instances: r.int()}
	state, err := desired.ParseRunState([]byte(r.text()))
	row.State, row.Diego, row.Memory, row.UpdatedAt = state, r.bool(), r.int(), r.time()
	r.err = errors.Join(r.err, err)
	if row.Instances < 0 || row.Instances > actual.MaxIndex+1 {
		r.err = errors.Join(r.err, fmt.Errorf("%d instances, it must be 0 to %d", row.Instances, actual.MaxIndex+1))
	}
	return row
}

func checkCount(rows []Row) error {
	if len(rows) > MaxApps {
		return fmt.Errorf("%w: more than %d apps", wire.ErrInvalid, MaxApps)
	}
	return nil
}

func appName(r Row) string { g := r.GUID.String(); return "app-" + g[:min(8, len(g))] }

// newGUID makes a guid of what only the database knows. It does not come from the seed, which would repeat itself after
// a restart.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return app.FromBinary(b, 'u').String()
}
