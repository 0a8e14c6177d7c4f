package cc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

// MaxApps bounds the apps of one simulation, against a mistyped figure.
const MaxApps = 5_000_000

// Row is one app in the Cloud Controller's database.
type Row struct {
	ID        int64                // ascending, never reused; the bulk API pages by it (D04)
	GUID      app.GUID             // what DEAs call the droplet
	Version   app.GUID             // new at each change that needs a new start (D25)
	Instances int                  // wanted
	State     desired.RunState     // STARTED or STOPPED
	Package   desired.PackageState // PENDING, STAGED or FAILED
	Droplet   bool                 // whether there is a droplet to run: false until staged once
	Diego     bool                 // runs on Diego, so not on DEAs, and is none of their health manager's apps
	Memory    int                  // MiB
	UpdatedAt time.Time
}

// Wanted reports whether DEAs may run instances of the app (D11).
func (r Row) Wanted() bool {
	return !r.Diego && r.State == desired.Started && (r.Package == desired.Staged || r.Package == desired.Pending)
}

// Startable reports whether instances of the app should be started.
func (r Row) Startable() bool {
	return !r.Diego && r.Droplet && r.State == desired.Started && r.Package == desired.Staged
}

// table is the Cloud Controller's apps. They are read from memory. If there is a database, they are kept there, too: a
// change is made there first, in a transaction, and in memory only if that succeeds. Not safe for concurrent use.
type table struct {
	rows    []Row // ascending id
	byGUID  map[app.GUID]int64
	last    int64          // without a database, the highest id ever given
	db      *database      // nil: memory only
	changed func(app.GUID) // called for an app whose change took effect after all, although it returned an error; may be nil
}

func newTable() *table { return &table{byGUID: make(map[app.GUID]int64)} }

// openTable gives the table of the options' database, with the apps in it, or an empty one in memory.
func openTable(ctx context.Context, o Options) (*table, error) {
	t := newTable()
	if o.DB == "" {
		return t, nil
	}
	target, err := parseDB(o.DB)
	if err != nil {
		return nil, err
	}
	db, rows, err := openDatabase(ctx, target, o.DBSchema)
	if err != nil {
		return nil, err
	}
	t.db = db
	return t, t.fill(rows)
}

// fill replaces all rows.
func (t *table) fill(rows []Row) error {
	t.rows, t.byGUID = rows, make(map[app.GUID]int64, len(rows))
	for _, r := range rows {
		if _, taken := t.byGUID[r.GUID]; taken {
			return fmt.Errorf("%w: app %s exists twice", wire.ErrConflict, r.GUID)
		}
		t.byGUID[r.GUID] = r.ID
	}
	return nil
}

// sync reads the rows from the database again, if the last change may have taken effect there.
func (t *table) sync() error {
	if t.db == nil || !t.db.unsure {
		return nil
	}
	rows, err := t.db.reload()
	if err != nil {
		return err
	}
	before := t.rows
	old := make(map[app.GUID]Row, len(before))
	for _, r := range before {
		old[r.GUID] = r
	}
	if err := t.fill(rows); err != nil || t.changed == nil {
		return err
	}
	for _, r := range rows {
		was := old[r.GUID]
		was.UpdatedAt = r.UpdatedAt // which the database may have rounded
		if was != r {
			t.changed(r.GUID)
		}
	}
	for _, r := range before {
		if _, exists := t.byGUID[r.GUID]; !exists {
			t.changed(r.GUID)
		}
	}
	return nil
}

// insertAll adds rows in one transaction. No app may exist yet.
func (t *table) insertAll(ctx context.Context, rows []Row) error {
	if t.db == nil {
		for _, r := range rows {
			if _, err := t.insert(r); err != nil {
				return err
			}
		}
		return nil
	}
	all, err := t.db.insertAll(ctx, rows)
	if err != nil {
		return err
	}
	return t.fill(all)
}

// insert adds a row, and returns it with its id.
func (t *table) insert(r Row) (Row, error) {
	if err := t.sync(); err != nil {
		return Row{}, err
	}
	if _, taken := t.byGUID[r.GUID]; taken {
		return Row{}, fmt.Errorf("%w: app %s exists already", wire.ErrConflict, r.GUID)
	}
	if t.db == nil {
		t.last++
		r.ID = t.last
	} else if id, err := t.db.insert(r); err != nil {
		return Row{}, err
	} else {
		r.ID = id
	}
	t.rows = slices.Insert(t.rows, t.search(r.ID), r)
	t.byGUID[r.GUID] = r.ID
	return r, nil
}

// get finds an app.
func (t *table) get(guid app.GUID) (Row, bool) {
	i, ok := t.at(guid)
	if !ok {
		return Row{}, false
	}
	return t.rows[i], true
}

// update changes an app's row with fn, which must not change its id and guid, and returns the row before and after.
// UpdatedAt never goes back, even if the clock does.
func (t *table) update(guid app.GUID, fn func(*Row)) (before, after Row, err error) {
	if err := t.sync(); err != nil {
		return Row{}, Row{}, err
	}
	i, ok := t.at(guid)
	if !ok {
		return Row{}, Row{}, wire.NoApp(guid)
	}
	before = t.rows[i]
	after = before
	fn(&after)
	if after.UpdatedAt.Before(before.UpdatedAt) {
		after.UpdatedAt = before.UpdatedAt
	}
	if t.db != nil {
		if err := t.db.update(before, after); err != nil {
			return Row{}, Row{}, err
		}
	}
	t.rows[i] = after
	return before, after, nil
}

// remove deletes an app's row.
func (t *table) remove(guid app.GUID) (Row, error) {
	if err := t.sync(); err != nil {
		return Row{}, err
	}
	i, ok := t.at(guid)
	if !ok {
		return Row{}, wire.NoApp(guid)
	}
	r := t.rows[i]
	if t.db != nil {
		if err := t.db.remove(r); err != nil {
			return Row{}, err
		}
	}
	t.rows = slices.Delete(t.rows, i, i+1)
	delete(t.byGUID, guid)
	return r, nil
}

// close ends the connection to the database; from then on every change fails.
func (t *table) close() {
	if t.db != nil {
		t.db.close()
	}
}

// after gives at most n rows that keep accepts, with ids above id, in ascending order.
func (t *table) after(id int64, n int, keep func(Row) bool) []Row {
	return rowsAfter(t.rows, id, n, keep)
}

// rowsAfter is after for a slice of rows with ascending ids.
func rowsAfter(rows []Row, id int64, n int, keep func(Row) bool) []Row {
	var page []Row
	for _, r := range rows[searchRows(rows, id+1):] {
		if len(page) == n {
			break
		}
		if keep(r) {
			page = append(page, r)
		}
	}
	return page
}

func (t *table) len() int { return len(t.rows) }

func (t *table) at(guid app.GUID) (int, bool) {
	id, ok := t.byGUID[guid]
	if !ok {
		return 0, false
	}
	return t.search(id), true
}

// search gives the position of the first row whose id is not below id.
func (t *table) search(id int64) int { return searchRows(t.rows, id) }

func searchRows(rows []Row, id int64) int {
	i, _ := slices.BinarySearchFunc(rows, id, func(r Row, id int64) int {
		switch {
		case r.ID < id:
			return -1
		case r.ID > id:
			return 1
		}
		return 0
	})
	return i
}
