package cc

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/desired"
	"hm/desired/bulk"
	"hm/desired/sqldb"
	"hm/desired/sqldb/dbtest"
	"hm/internal/app"
)

func TestMain(m *testing.M) {
	code := m.Run()
	dbtest.CloseShared()
	os.Exit(code)
}

// asDatabase gives rows as a reader of the database gets them: with times in whole seconds.
func asDatabase(rows []Row) []Row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].UpdatedAt = rows[i].UpdatedAt.UTC().Truncate(time.Second)
	}
	return rows
}

// idleFleet is a fleet that starts and stops nothing.
type idleFleet struct{}

func (idleFleet) Place() string                                         { return "0-dea" }
func (idleFleet) IndexOf(_, _ app.GUID) int                             { return -1 }
func (idleFleet) LiveAt(app.Key, uint32, app.GUID) (others int, _ bool) { return 0, false }
func (idleFleet) AppChanged(app.GUID)                                   {}

// openController gives a Cloud Controller with n apps, if its database has none, without NATS and without a fleet.
// Unless o.After is set, delayed events never happen.
func openController(t testing.TB, o Options, n int) *Controller {
	t.Helper()
	o.Fleet, o.History, o.Logger = idleFleet{}, 1000, slog.New(slog.DiscardHandler)
	o.BulkUser, o.BulkPassword = "bulk_api", "bulk-password"
	if o.After == nil {
		o.After = func(time.Duration, func()) {}
	}
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if c.nc, err = nats.Connect("nats://127.0.0.1:1", nats.RetryOnFailedConnect(true), nats.ReconnectWait(time.Hour)); err != nil {
		t.Fatal(err)
	}
	c.stager = func() bool { return true }
	if _, err := c.Populate(t.Context(), n, 2); err != nil {
		t.Fatal(err)
	}
	return c
}

func rowsOf(c *Controller) []Row {
	c.mu.Lock()
	defer c.mu.Unlock()
	return asDatabase(c.apps.rows)
}

// stored reads a database like a new simulation does.
func stored(t *testing.T, o Options) []Row {
	t.Helper()
	tab, err := openTable(t.Context(), Options{DB: o.DB})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.close()
	return asDatabase(tab.rows)
}

// eachServer runs a test on an empty database of each schema, on each kind of server.
func eachServer(t *testing.T, test func(t *testing.T, o Options)) {
	for _, driver := range []string{"postgres", "mysql"} {
		for _, schema := range []string{SchemaV2, SchemaV3} {
			t.Run(driver+"/"+schema, func(t *testing.T) {
				server := dbtest.Shared(t, driver)
				name := server.CreateDatabase(t)
				if driver == "mysql" {
					server.Exec(t, name, "CREATE USER IF NOT EXISTS hm_sim@'%' IDENTIFIED BY 'pw-never-shown'",
						"GRANT ALL ON "+name+".* TO hm_sim@'%'")
				} else {
					server.Exec(t, name, "DO $$ BEGIN CREATE ROLE hm_sim LOGIN PASSWORD 'pw-never-shown'; EXCEPTION WHEN duplicate_object THEN NULL; END $$", "ALTER DATABASE "+name+" OWNER TO hm_sim")
				}
				test(t, Options{DB: server.DSN("hm_sim", "pw-never-shown", name), DBSchema: schema})
			})
		}
	}
}

// eachSchema runs a test on a new SQLite file of each schema.
func eachSchema(t *testing.T, test func(t *testing.T, o Options)) {
	for _, schema := range []string{SchemaV2, SchemaV3} {
		t.Run(schema, func(t *testing.T) {
			test(t, Options{DB: "sqlite:" + filepath.Join(t.TempDir(), "cc ä?#%.db"), DBSchema: schema})
		})
	}
}

// changeAtRandom makes n random changes: what users do, and the end of stagings.
func changeAtRandom(t *testing.T, c *Controller, dice *rand.Rand, n int) {
	t.Helper()
	for range n {
		apps := rowsOf(c)
		if len(apps) == 0 {
			return
		}
		guid := apps[dice.IntN(len(apps))].GUID
		var err error
		var what string
		switch dice.IntN(10) {
		case 0:
			k := dice.IntN(5)
			what = "create"
			_, err = c.CreateApp(AppSpec{Instances: &k, Stopped: dice.IntN(4) == 0, Staging: dice.IntN(2) == 0,
				Diego: dice.IntN(5) == 0})
		case 1:
			what = "scale"
			_, err = c.ScaleApp(guid, dice.IntN(9))
		case 2:
			what = "stop"
			_, err = c.StopApp(guid)
		case 3:
			what = "start"
			_, err = c.StartApp(guid)
		case 4:
			what = "restart"
			_, err = c.RestartApp(guid)
		case 5, 6:
			what = "restage"
			_, err = c.RestageApp(guid, false)
		case 7:
			what = "stage"
			_, err = c.StageApp(guid, false)
		case 8:
			what = "fail"
			_, err = c.StageApp(guid, true)
		case 9:
			what = "delete"
			err = c.DeleteApp(guid)
		}
		if err != nil {
			t.Fatalf("%s %s: %v", what, guid, err)
		}
	}
}

// TestDatabaseHoldsEveryChange: after every change the database has the same apps as the Cloud Controller, and a later
// one on the same database continues with them.
func TestDatabaseHoldsEveryChange(t *testing.T) {
	test := func(t *testing.T, o Options) {
		o.Seed = 70
		c := openController(t, o, 20)
		if got := stored(t, o); len(got) != 20 || !slices.Equal(got, rowsOf(c)) {
			t.Fatalf("at the start the database has\n%v\nwant\n%v", got, rowsOf(c))
		}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		dice := rand.New(rand.NewPCG(seed, 1))
		for range 60 {
			changeAtRandom(t, c, dice, 1)
			if got, want := stored(t, o), rowsOf(c); !slices.Equal(got, want) {
				t.Fatalf("the database has\n%v\nwant\n%v", got, want)
			}
		}
		if _, err := c.CreateApp(AppSpec{}); err != nil { // to delete it again: its id must not be reused
			t.Fatal(err)
		}
		rows := rowsOf(c)
		last := rows[len(rows)-1]
		if err := c.DeleteApp(last.GUID); err != nil {
			t.Fatal(err)
		}
		want := rowsOf(c)
		c.Close()
		if _, err := c.CreateApp(AppSpec{}); err == nil {
			t.Error("an app was created after the end")
		}

		o.DBSchema = ""
		c = openController(t, o, 7)
		if got := rowsOf(c); !slices.Equal(got, want) {
			t.Fatalf("after a restart there are\n%v\nwant\n%v", got, want)
		}
		known := map[app.GUID]bool{}
		for _, r := range append(want, last) {
			known[r.GUID], known[r.Version] = true, true
		}
		for range 30 { // more than the seed gave before
			r, err := c.CreateApp(AppSpec{})
			if err != nil || known[r.GUID] || known[r.Version] || r.ID <= last.ID {
				t.Fatalf("after a restart: %+v, %v, the highest id was %d", r, err, last.ID)
			}
		}
	}
	eachSchema(t, test)
	eachServer(t, test)
}

// TestStagingContinuesAfterARestart: an app that was being staged again when the simulation ended is staged by the next.
func TestStagingContinuesAfterARestart(t *testing.T) {
	eachSchema(t, func(t *testing.T, o Options) {
		c := openController(t, o, 3)
		guid := rowsOf(c)[0].GUID
		if _, err := c.RestageApp(guid, false); err != nil {
			t.Fatal(err)
		}
		c.Close()
		o.After = func(_ time.Duration, event func()) { event() }
		c = openController(t, o, 0)
		c.stagings.Wait()
		if r := rowsOf(c)[0]; r.GUID != guid || r.Package != desired.Staged {
			t.Errorf("after a restart: %+v", r)
		}
	})
}

// TestPopulateIsOneTransaction: thousands of apps are made in one transaction, and are the same as in memory.
func TestPopulateIsOneTransaction(t *testing.T) {
	eachSchema(t, func(t *testing.T, o Options) {
		o.Seed = 71
		c := openController(t, o, 4000)
		if r := c.apps.db.revision; r != 1 {
			t.Errorf("%d transactions", r)
		}
		o.DB, o.DBSchema = "", ""
		memory := rowsOf(openController(t, o, 4000))
		got := rowsOf(c)
		for i := range got {
			got[i].UpdatedAt = memory[i].UpdatedAt
		}
		if !slices.Equal(got, memory) {
			t.Error("the apps differ from those that the same seed gives in memory")
		}
	})
}

// sources gives both readers of a Cloud Controller's desired state.
func sources(t *testing.T, c *Controller) (*bulk.Source, *sqldb.Source) {
	t.Helper()
	api := httptest.NewServer(c.Handler())
	t.Cleanup(api.Close)
	overHTTP, err := bulk.New(bulk.Options{URL: api.URL, Username: "bulk_api", Password: "bulk-password", BatchSize: 7,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(overHTTP.Close)
	driver, dsn, _ := c.DB()
	overSQL, err := sqldb.New(sqldb.Options{Driver: driver, DSN: dsn, BatchSize: 7,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(overSQL.Close)
	return overHTTP, overSQL
}

// checkSourcesAgree compares the apps of both sources, row by row.
func checkSourcesAgree(t *testing.T, overHTTP *bulk.Source, overSQL *sqldb.Source) desired.Read {
	t.Helper()
	a, err := overHTTP.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := overSQL.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Apps) != len(b.Apps) || len(a.Unreadable)+len(b.Unreadable) != 0 {
		t.Errorf("%d and %d apps, %d and %d unreadable", len(a.Apps), len(b.Apps), len(a.Unreadable), len(b.Unreadable))
	}
	for i := range min(len(a.Apps), len(b.Apps)) {
		if a.Apps[i] != b.Apps[i] {
			t.Fatalf("row %d is %+v over the bulk API, %+v over SQL", i, a.Apps[i], b.Apps[i])
		}
	}
	return b
}

// TestSourcesAgree: the bulk API and the database give the same desired state, row by row, after any changes.
func TestSourcesAgree(t *testing.T) {
	eachSchema(t, testSourcesAgree)
	eachServer(t, testSourcesAgree)
}

func testSourcesAgree(t *testing.T, o Options) {
	o.Passive = true
	c := openController(t, o, 30)
	overHTTP, overSQL := sources(t, c)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 2))
	packages := map[desired.PackageState]bool{}
	for range 25 {
		changeAtRandom(t, c, dice, 8)
		for _, a := range checkSourcesAgree(t, overHTTP, overSQL).Apps {
			packages[a.Package] = true
		}
	}
	if !packages[desired.Staged] || !packages[desired.Pending] || overSQL.Stats().Schema != o.DBSchema {
		t.Errorf("package states %v, stats %+v", packages, overSQL.Stats())
	}
}

// TestReadersAndWriterDoNotWait: an open snapshot does not delay a change, and does not see it.
func TestReadersAndWriterDoNotWait(t *testing.T) {
	eachSchema(t, func(t *testing.T, o Options) {
		c := openController(t, o, 10)
		reader, err := parseDB(o.DB)
		if err != nil {
			t.Fatal(err)
		}
		session, err := reader.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer session.close()
		sum := "SELECT SUM(instances) FROM " + map[string]string{SchemaV2: "apps", SchemaV3: "processes"}[o.DBSchema]
		count := func() (n string) {
			if err := session.query(t.Context(), sum, nil, func(v [][]byte) error { n = string(v[0]); return nil }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if _, err := session.exec(t.Context(), "BEGIN", nil); err != nil {
			t.Fatal(err)
		}
		before := count()
		if _, err := c.ScaleApp(rowsOf(c)[0].GUID, 5000); err != nil {
			t.Fatalf("a change while the database is read: %v", err)
		}
		if got := count(); got != before {
			t.Errorf("the snapshot has %s instances, before the change it had %s", got, before)
		}
		if _, err := session.exec(t.Context(), "ROLLBACK", nil); err != nil {
			t.Fatal(err)
		}
		if got := count(); got == before {
			t.Error("a new read does not see the change")
		}
	})
}

// BenchmarkPopulate makes apps in a new SQLite file, compared with making them in memory.
func BenchmarkPopulate(b *testing.B) {
	const apps = 4000
	var reference float64
	for _, schema := range []string{"memory", SchemaV2, SchemaV3} {
		b.Run(schema, func(b *testing.B) {
			for i := range b.N {
				o := Options{Fleet: idleFleet{}, History: 1}
				if schema != "memory" {
					o.DB, o.DBSchema = filepath.Join(b.TempDir(), fmt.Sprint(i)), schema
				}
				c, err := Open(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.Populate(b.Context(), apps, 2); err != nil {
					b.Fatal(err)
				}
				c.Close()
			}
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N*apps)
			if schema == "memory" {
				reference = each
			}
			b.ReportMetric(each, "ns/app")
			b.ReportMetric(each/reference, "x-memory")
		})
	}
}
