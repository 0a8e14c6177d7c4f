package cc

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/desired"
	"hm/desired/sqldb/ccschema"
	"hm/internal/app"
	"hm/internal/sim/wire"
)

var errCut = errors.New("the connection was cut")

// failingSession loses its connection at a statement: before it, or, if it is a commit, after it.
type failingSession struct {
	dbSession
	left  *int // statements until then
	after bool
}

func (s failingSession) cut() bool { *s.left--; return *s.left == -1 }

func (s failingSession) exec(ctx context.Context, statement string, args [][]byte) (int64, error) {
	if !s.cut() {
		return s.dbSession.exec(ctx, statement, args)
	}
	if s.after && statement == "COMMIT" {
		if _, err := s.dbSession.exec(ctx, statement, args); err != nil {
			return 0, err
		}
	}
	return 0, errCut
}

func (s failingSession) query(ctx context.Context, statement string, args [][]byte, row func([][]byte) error) error {
	if s.cut() {
		return errCut
	}
	return s.dbSession.query(ctx, statement, args, row)
}

// TestDatabaseCutOff: wherever the connection is lost in a change, the change takes effect in the database and, at the
// next change at the latest, in memory, or in neither of them.
func TestDatabaseCutOff(t *testing.T) {
	eachSchema(t, func(t *testing.T, o Options) {
		tab, err := openTable(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer tab.close()
		left, after := -1, false
		open := tab.db.target.open
		tab.db.target.open = func(ctx context.Context) (dbSession, error) {
			s, err := open(ctx)
			if left >= 0 {
				s = failingSession{s, &left, after}
			}
			return s, err
		}
		ids := wire.NewIDGenerator(72, "test")
		row := func() Row {
			return Row{GUID: ids.UUID(), Version: ids.UUID(), Instances: 1, State: desired.Started,
				Package: desired.Staged, Droplet: true, UpdatedAt: time.Now()}
		}
		if err := tab.insertAll(t.Context(), []Row{row(), row(), row(), row(), row()}); err != nil {
			t.Fatal(err)
		}
		var changed []app.GUID
		tab.changed = func(g app.GUID) { changed = append(changed, g) }
		changes := map[string]func() error{
			"insert": func() error { _, err := tab.insert(row()); return err },
			"update": func() error {
				_, _, err := tab.update(tab.rows[0].GUID, func(r *Row) {
					r.Instances++
					r.Package = map[desired.PackageState]desired.PackageState{desired.Staged: desired.Failed,
						desired.Failed: desired.Pending, desired.Pending: desired.Staged}[r.Package]
				})
				return err
			},
			"remove": func() error { _, err := tab.remove(tab.rows[len(tab.rows)-1].GUID); return err },
		}
		for name, change := range changes {
			for _, after = range []bool{false, true} {
				for n := 0; ; n++ {
					if n > 50 {
						t.Fatalf("%s: never succeeds", name)
					}
					before := asDatabase(tab.rows)
					tab.db.endSession() // so that the next session fails
					left, changed = n, nil
					err := change()
					left = -1
					if err == nil {
						break
					}
					if !errors.Is(err, wire.ErrUnavailable) || !errors.Is(err, errCut) {
						t.Fatalf("%s cut at %d: %v", name, n, err)
					}
					if !slices.Equal(asDatabase(tab.rows), before) {
						t.Fatalf("%s cut at %d: it failed, but changed memory", name, n)
					}
					if err := tab.sync(); err != nil {
						t.Fatal(err)
					}
					got := stored(t, o)
					if !slices.Equal(got, asDatabase(tab.rows)) {
						t.Fatalf("%s cut at %d: the database has\n%v\nmemory\n%v", name, n, got, tab.rows)
					}
					if moved := !slices.Equal(got, before); moved != (len(changed) == 1) {
						t.Fatalf("%s cut at %d: changed %v, called changed for %v", name, n, moved, changed)
					}
				}
			}
		}
	})
}

func TestDatabaseRefuses(t *testing.T) {
	eachSchema(t, func(t *testing.T, o Options) {
		other := map[string]string{SchemaV2: SchemaV3, SchemaV3: SchemaV2}[o.DBSchema]
		one, err := openTable(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer one.close()
		if _, err := openTable(t.Context(), Options{DB: o.DB, DBSchema: other}); !errors.Is(err, wire.ErrInvalid) || !strings.Contains(err.Error(), "leave the schema out") {
			t.Errorf("another schema: %v", err)
		}

		two, err := openTable(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer two.close()
		row := Row{GUID: app.MustGUID("a"), Version: app.MustGUID("v"), UpdatedAt: time.Now(), State: desired.Stopped,
			Package: desired.Pending}
		if _, err := one.insert(row); err != nil {
			t.Fatal(err)
		}
		row.GUID = app.MustGUID("b")
		if _, err := two.insert(row); !errors.Is(err, wire.ErrConflict) || !strings.Contains(err.Error(), "another simulation") {
			t.Errorf("two simulations on one database: %v", err)
		}
		if got := stored(t, o); len(got) != 1 {
			t.Errorf("a refused app was added: %v", got)
		}

		// A real Cloud Controller's database must not be changed.
		target, err := parseDB(filepath.Join(t.TempDir(), "real.db"))
		if err != nil {
			t.Fatal(err)
		}
		session, err := target.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer session.close()
		statements, err := ccschema.Statements("sqlite", o.DBSchema)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range statements {
			if _, err := session.exec(t.Context(), s, nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := openTable(t.Context(), Options{DB: target.dsn}); !errors.Is(err, wire.ErrInvalid) || !strings.Contains(err.Error(), "name an empty one") {
			t.Errorf("a real Cloud Controller's database: %v", err)
		}
	})
}

// TestPackageState: the package state that v3 readers compute (D22).
func TestPackageState(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	d := func(guid, state, of string, s int64) artifact { return artifact{guid, state, of, at(s)} }
	for _, tc := range []struct {
		name          string
		current       string
		droplet, bits artifact
		want          desired.PackageState
	}{
		{"nothing", "", artifact{}, artifact{}, desired.Pending},
		{"bits", "", artifact{}, d("p", "READY", "", 1), desired.Pending},
		{"bad bits", "", artifact{}, d("p", "FAILED", "", 1), desired.Failed},
		{"staged", "d", d("d", "STAGED", "p", 2), d("p", "READY", "", 1), desired.Staged},
		{"being staged", "", d("d", "STAGING", "p", 2), d("p", "READY", "", 1), desired.Pending},
		{"being staged again", "old", d("d", "STAGING", "p", 2), d("p", "READY", "", 1), desired.Pending},
		{"failed", "old", d("d", "FAILED", "p", 2), d("p", "READY", "", 1), desired.Failed},
		{"copied", "d", d("d", "STAGED", "", 2), artifact{}, desired.Staged},
		{"newer bits", "d", d("d", "STAGED", "p", 2), d("q", "READY", "", 3), desired.Pending},
		{"newer bad bits", "d", d("d", "STAGED", "p", 2), d("q", "FAILED", "", 3), desired.Failed},
		{"newer than bad bits", "d", d("d", "STAGED", "p", 4), d("q", "FAILED", "", 3), desired.Staged},
		{"as old as other bits", "d", d("d", "STAGED", "p", 3), d("q", "READY", "", 3), desired.Pending},
	} {
		if got := packageState(tc.current, tc.droplet, tc.bits); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestParseDB(t *testing.T) {
	for _, tc := range []struct{ text, driver, name string }{
		{"/tmp/cc.db", "sqlite", "/tmp/cc.db"},
		{"sqlite:/tmp/cc.db", "sqlite", "/tmp/cc.db"},
		{"sqlite:///tmp/a b?.db", "sqlite", "/tmp/a b?.db"},
		{"postgres://me:secret@db:5433/ccdb?sslmode=disable", "postgres", "db:5433/ccdb"},
		{"mysql:me:secret@tcp(db:3307)/ccdb", "mysql", "db:3307/ccdb"},
		{"me:secret@tcp(db)/ccdb", "mysql", "db:3306/ccdb"},
		{"mysql://me:se%40cret@db/ccdb", "mysql", "db:3306/ccdb"},
	} {
		got, err := parseDB(tc.text)
		if err != nil || got.driver != tc.driver || got.name != tc.name {
			t.Errorf("%s: %s %s, %v", tc.text, got.driver, got.name, err)
		}
	}
	for _, text := range []string{"sqlite:", "oracle://me:secret@db/x", "postgres://me:secret@db:port/x",
		"mysql:me:secret@@tcp(db", "mysql://me:secret@db", "mysql://me:secret%@db/x",
		":memory:", "me:secret@tcp(db:1)/"} {
		if _, err := parseDB(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDatabaseWhenTheClockGoesBack: readers find the newest rows by time, so the times of an app's rows must not go back.
func TestDatabaseWhenTheClockGoesBack(t *testing.T) {
	eachSchema(t, func(t *testing.T, o Options) {
		tab, err := openTable(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer tab.close()
		row := Row{GUID: app.MustGUID("a"), Version: app.MustGUID("v"), UpdatedAt: time.Now(), State: desired.Started,
			Package: desired.Staged, Droplet: true}
		if _, err := tab.insert(row); err != nil {
			t.Fatal(err)
		}
		for _, p := range []desired.PackageState{desired.Pending, desired.Failed, desired.Pending, desired.Staged} {
			_, r, err := tab.update(row.GUID, func(r *Row) { r.Package, r.UpdatedAt = p, r.UpdatedAt.Add(-time.Hour) })
			if err != nil || !r.UpdatedAt.Equal(row.UpdatedAt) {
				t.Fatalf("%+v, %v", r, err)
			}
			if got := stored(t, o); !slices.Equal(got, asDatabase(tab.rows)) {
				t.Fatalf("the database has\n%v\nwant\n%v", got, tab.rows)
			}
		}
	})
}

// TestDatabaseKeepsNoOldRows: deleted apps and old stagings leave no rows.
func TestDatabaseKeepsNoOldRows(t *testing.T) {
	eachSchema(t, func(t *testing.T, o Options) {
		tab, err := openTable(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer tab.close()
		row := Row{GUID: app.MustGUID("a"), Version: app.MustGUID("v"), UpdatedAt: time.Now(), State: desired.Started,
			Package: desired.Staged, Droplet: true}
		if _, err := tab.insert(row); err != nil {
			t.Fatal(err)
		}
		count := func() (n string) {
			statement := "SELECT COUNT(*) FROM apps"
			if o.DBSchema == SchemaV3 {
				statement = "SELECT (SELECT COUNT(*) FROM apps) + (SELECT COUNT(*) FROM processes) + (SELECT COUNT(*) FROM packages) + (SELECT COUNT(*) FROM droplets)"
			}
			err := tab.db.run(t.Context(), changeTimeout, func(x *tx) {
				x.query(statement, nil, func(v [][]byte) error { n = string(v[0]); return nil })
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		first := count()
		for range 3 {
			for _, p := range []desired.PackageState{desired.Pending, desired.Failed, desired.Pending, desired.Staged} {
				if _, _, err := tab.update(row.GUID, func(r *Row) { r.Package = p }); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := count(); got != first {
			t.Errorf("%s rows after restages, %s before", got, first)
		}
		if _, err := tab.remove(row.GUID); err != nil {
			t.Fatal(err)
		}
		if got := count(); got != "0" {
			t.Errorf("%s rows are left of a deleted app", got)
		}
	})
}
