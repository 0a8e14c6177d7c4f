package sim

import (
	"fmt"
	"slices"
	"time"

	"hm/desired"
	"hm/internal/app"
)

// Row is one app in the Cloud Controller's database.
type Row struct {
	ID        int64                // ascending, never used again; the bulk API pages by it (D04)
	GUID      app.GUID             // what DEAs call the droplet
	Version   app.GUID             // new at each change that needs a new start (D25)
	Instances int                  // wanted
	State     desired.RunState     // STARTED or STOPPED
	Package   desired.PackageState // PENDING, STAGED or FAILED
	Droplet   bool                 // whether there is a droplet to run: false until staged once
	Diego     bool                 // runs on Diego, so DEAs and their health manager have no business with it
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

// table is the Cloud Controller's apps. It is the only place that knows how they are kept: everything else goes
// through its methods, which take and give rows by value, one short transaction each. Not safe for concurrent use.
type table struct {
	rows   []Row // ascending id
	byGUID map[app.GUID]int64
	last   int64
}

func newTable() *table { return &table{byGUID: make(map[app.GUID]int64)} }

// insert gives the row the next id and keeps it.
func (t *table) insert(r Row) (Row, error) {
	if _, taken := t.byGUID[r.GUID]; taken {
		return Row{}, fmt.Errorf("%w: app %s exists already", ErrConflict, r.GUID)
	}
	t.last++
	r.ID = t.last
	t.rows = append(t.rows, r)
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

// update changes an app's row by fn, which must leave its id and guid alone, and returns the row before and after.
func (t *table) update(guid app.GUID, fn func(*Row)) (before, after Row, err error) {
	i, ok := t.at(guid)
	if !ok {
		return Row{}, Row{}, noApp(guid)
	}
	before = t.rows[i]
	fn(&t.rows[i])
	return before, t.rows[i], nil
}

// remove deletes an app's row.
func (t *table) remove(guid app.GUID) (Row, error) {
	i, ok := t.at(guid)
	if !ok {
		return Row{}, noApp(guid)
	}
	r := t.rows[i]
	t.rows = slices.Delete(t.rows, i, i+1)
	delete(t.byGUID, guid)
	return r, nil
}

// after gives at most n rows for which keep holds, with ids above id, in ascending order.
func (t *table) after(id int64, n int, keep func(Row) bool) []Row {
	var page []Row
	for _, r := range t.rows[t.search(id+1):] {
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

// search gives the place of the first row whose id is not below id.
func (t *table) search(id int64) int {
	i, _ := slices.BinarySearchFunc(t.rows, id, func(r Row, id int64) int {
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
