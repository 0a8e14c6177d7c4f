package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"hm/desired"
	"hm/internal/app"
)

// reading is the state of one read.
type reading struct {
	*Source
	snap       *snapshot
	apps       []desired.App
	rows       int // rows without those whose staging failed
	pages      int
	last       int64 // id of the last row; ids begin at 1 (D04)
	pass       pass  // processes without a package state; v3 only
	single     bool  // the read of one droplet
	unreadable []app.GUID
	firstBad   error
}

func (s *Source) newReading(snap *snapshot) *reading { return &reading{Source: s, snap: snap} }

var errTooManyApps = errors.New("there are more apps than hm reads at once")

// all reads every page.
func (r *reading) all(ctx context.Context) (desired.Read, *Error) {
	r.mu.Lock()
	expected := r.stats.LastApps
	r.mu.Unlock()
	r.apps = make([]desired.App, 0, expected+expected/16)
	for {
		n := 0
		statement := r.snap.plan.page(r.last, r.options.BatchSize)
		err := r.snap.conn.query(ctx, statement, nil, func(v [][]byte) error { n++; return r.row(v) })
		if err == nil {
			r.pageRead()
			if n == 0 || len(r.pass.rows) >= r.appsAtOnce {
				err = r.endPass(ctx)
			}
		}
		if err != nil {
			e := r.snap.dialect.classify(ctx, err)
			e.Page = r.pages + 1
			return desired.Read{}, e
		}
		if n == 0 { // only an empty page is the end: a proxy may have cut a short one
			break
		}
	}
	if err := desired.CheckUnreadable(len(r.unreadable), r.rows, r.firstBad); err != nil {
		return desired.Read{}, &Error{Kind: BadRows, Err: err,
			Hint: "check whether this version of hm supports the Cloud Controller"}
	}
	read, err := desired.NewRead(desired.Filtered("sql "+r.options.Driver+" "+r.targets[r.current].name, r.options.Filter), r.apps)
	if err == nil {
		for _, d := range read.Unreadable {
			r.leaveOut(d, desired.ErrAlike)
		}
		read, err = read.WithUnreadable(r.unreadable)
	}
	if err != nil {
		return desired.Read{}, &Error{Kind: BadRows, Err: err,
			Hint: "check the Cloud Controller's database: guids must be unique there"}
	}
	return read, nil
}

// pageRead counts a page.
func (r *reading) pageRead() {
	r.pages++
	if r.afterPage != nil {
		r.afterPage(r.pages)
	}
}

// app reads the rows of one droplet.
func (r *reading) app(ctx context.Context, droplet app.GUID) ([]desired.App, *Error) {
	r.single = true
	// The table may have a UUID in lower or in upper case. The next complete read finds one in mixed case.
	spellings := slices.Compact([]string{droplet.String(), app.UpperCase.Spell(droplet)})
	err := r.snap.conn.query(ctx, r.snap.plan.app(len(spellings)), r.snap.dialect.list(spellings), func(v [][]byte) error {
		if g, err := app.ParseGUIDBytes(v[1]); err != nil || g != droplet {
			return nil // another app: the database ignores letter case
		}
		return r.row(v)
	})
	if err == nil {
		err = r.endPass(ctx)
	}
	if err != nil {
		return nil, r.snap.dialect.classify(ctx, err)
	}
	if r.firstBad != nil {
		return nil, &Error{Kind: BadRows, Err: fmt.Errorf("the row is unreadable: %w", r.firstBad),
			Hint: "the recorded row of the app stays"}
	}
	return r.apps, nil
}

// candidate is a row before its package state is known.
type candidate struct {
	id                   int64
	app                  desired.App
	nameless, unreadable error // why the guid is invalid, or another field
}

// row decodes one row: id, guid, version, instances, state; in v2 also the package state, in v3 the guid of the app.
func (r *reading) row(v [][]byte) (err error) {
	if r.last, err = idAfter(v[0], r.last); err != nil {
		return err
	}
	c := candidate{id: r.last}
	if c.app.Key.Droplet, c.nameless = app.ParseGUIDBytes(v[1]); c.nameless == nil {
		c.app.LetterCase.Droplet = app.LetterCaseOf(c.app.Key.Droplet, v[1])
		c.unreadable = parseApp(&c.app, v)
	}
	if r.snap.plan.schema == schemaV3 {
		r.addProcess(c, v[5])
		return nil
	}
	return r.add(c, v[5])
}

// add adds a row to the result.
func (r *reading) add(c candidate, packageState []byte) error {
	if string(packageState) == "FAILED" { // the Cloud Controller leaves these out as well (D17, D20)
		return nil
	}
	if r.rows++; r.rows > r.maxApps {
		return &Error{Kind: TooLarge, Err: fmt.Errorf("%w (%d)", errTooManyApps, r.maxApps)}
	}
	if c.nameless != nil {
		return &Error{Kind: BadRows, Err: fmt.Errorf("the guid of row %d is %w", c.id, c.nameless),
			Hint: "hm cannot know which app the row belongs to; correct or delete it"}
	}
	if c.unreadable == nil {
		if packageState == nil {
			c.unreadable = errors.New("package_state is NULL")
		} else {
			c.app.Package, c.unreadable = desired.ParsePackageState(packageState)
		}
	}
	if c.unreadable == nil {
		r.apps = append(r.apps, c.app)
		return nil
	}
	r.leaveOut(c.app.Key.Droplet, c.unreadable)
	return nil
}

// leaveOut notes an app whose row is unreadable.
func (r *reading) leaveOut(droplet app.GUID, why error) {
	if r.firstBad == nil {
		r.firstBad = fmt.Errorf("app %s: %w", droplet, why)
	}
	r.unreadable = append(r.unreadable, droplet)
}

// idAfter parses the id of a row. It must be higher than that of the row before.
func idAfter(text []byte, last int64) (int64, error) {
	id, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return last, &Error{Kind: BadRows, Err: fmt.Errorf("a row's id is %.40q, not a whole number", text), Hint: hintTable}
	}
	if id <= last {
		return last, &Error{Kind: Inconsistent, Err: fmt.Errorf("row %d comes after row %d", id, last),
			Hint: "ids must be unique; check whether a proxy between hm and the database changes the order of rows"}
	}
	return id, nil
}

// parseApp decodes version, instances and state of a row.
func parseApp(a *desired.App, v [][]byte) (err error) {
	for i, name := range [...]string{2: "version", 3: "instances", 4: "state"} {
		if name != "" && v[i] == nil {
			return fmt.Errorf("%s is NULL", name)
		}
	}
	if a.Key.Version, err = app.ParseGUIDBytes(v[2]); err != nil {
		return fmt.Errorf("version: %w", err)
	}
	a.LetterCase.Version = app.LetterCaseOf(a.Key.Version, v[2])
	n, err := strconv.ParseUint(string(v[3]), 10, 32)
	if err != nil || n > desired.MaxInstances {
		return fmt.Errorf("instances is %.40q, not a whole number from 0 to %d", v[3], desired.MaxInstances)
	}
	a.Instances = uint32(n)
	a.State, err = desired.ParseRunState(v[4])
	return err
}
