package sim

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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

// asDatabase gives rows as a reader of the database gets them: without what only memory has.
func asDatabase(rows []Row) []Row {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].UpdatedAt = rows[i].UpdatedAt.UTC().Truncate(time.Second)
	}
	return rows
}

func rowsOf(s *Sim) []Row {
	s.controller.mu.Lock()
	defer s.controller.mu.Unlock()
	return asDatabase(s.controller.apps.rows)
}

// stored reads a database as a new simulation would.
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
					server.Exec(t, name, "CREATE USER IF NOT EXISTS hm_sim@'%' IDENTIFIED BY 'pw-never-shown'", "GRANT ALL ON "+name+".* TO hm_sim@'%'")
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

// changeAtRandom does what users do, n times, and what staging makes of it.
func changeAtRandom(t *testing.T, s *Sim, dice *rand.Rand, n int) {
	t.Helper()
	for range n {
		apps := s.Apps(0, 1000)
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
			_, err = s.CreateApp(AppSpec{Instances: &k, Stopped: dice.IntN(4) == 0, Staging: dice.IntN(2) == 0, Diego: dice.IntN(5) == 0})
		case 1:
			what = "scale"
			_, err = s.ScaleApp(guid, dice.IntN(9))
		case 2:
			what = "stop"
			_, err = s.StopApp(guid)
		case 3:
			what = "start"
			_, err = s.StartApp(guid)
		case 4:
			what = "restart"
			_, err = s.RestartApp(guid)
		case 5, 6:
			what = "restage"
			_, err = s.RestageApp(guid, false)
		case 7:
			what = "stage"
			_, err = s.StageApp(guid, false)
		case 8:
			what = "fail"
			_, err = s.StageApp(guid, true)
		case 9:
			what = "delete"
			err = s.DeleteApp(guid)
		}
		if err != nil {
			t.Fatalf("%s %s: %v", what, guid, err)
		}
	}
}

// TestDatabaseHoldsEveryChange: after whatever changes, what the database says is what the Cloud Controller knows,
// and a simulation on the same database goes on with it.
func TestDatabaseHoldsEveryChange(t *testing.T) {
	n := startNATS(t)
	test := func(t *testing.T, o Options) {
		o.Apps, o.DEAs, o.Seed, o.StagingDelay = 20, 3, 70, time.Hour
		s := startSim(t, n, o)
		if got := stored(t, o); len(got) != 20 || !slices.Equal(got, rowsOf(s)) {
			t.Fatalf("at the start the database has\n%v\nwant\n%v", got, rowsOf(s))
		}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		dice := rand.New(rand.NewPCG(seed, 1))
		for range 60 {
			changeAtRandom(t, s, dice, 1)
			if got, want := stored(t, o), rowsOf(s); !slices.Equal(got, want) {
				t.Fatalf("the database has\n%v\nwant\n%v", got, want)
			}
		}
		if _, err := s.CreateApp(AppSpec{}); err != nil { // so that the highest id ever is free
			t.Fatal(err)
		}
		rows := rowsOf(s)
		last := rows[len(rows)-1]
		if err := s.DeleteApp(last.GUID); err != nil {
			t.Fatal(err)
		}
		want := rowsOf(s)
		s.Close()
		if _, err := s.CreateApp(AppSpec{}); err == nil {
			t.Error("an app was created after the end")
		}

		o.Apps, o.DBSchema = 7, ""
		s = startSim(t, n, o)
		if got := rowsOf(s); !slices.Equal(got, want) {
			t.Fatalf("after a restart there are\n%v\nwant\n%v", got, want)
		}
		if st := s.State(); !st.Converged {
			t.Errorf("after a restart what is wanted does not run: %+v", st)
		}
		known := map[app.GUID]bool{}
		for _, r := range append(want, last) {
			known[r.GUID], known[r.Version] = true, true
		}
		for range 30 { // more than the seed gave before
			r, err := s.CreateApp(AppSpec{})
			if err != nil || known[r.GUID] || known[r.Version] || r.ID <= last.ID {
				t.Fatalf("after a restart: %+v, %v, the highest id was %d", r, err, last.ID)
			}
		}
	}
	eachSchema(t, test)
	eachServer(t, test)
}

// TestStagingGoesOnAfterARestart: an app that was being staged anew when the simulation ended is staged in the end.
func TestStagingGoesOnAfterARestart(t *testing.T) {
	n := startNATS(t)
	eachSchema(t, func(t *testing.T, o Options) {
		o.Apps, o.DEAs, o.StagingDelay = 3, 1, time.Hour
		s := startSim(t, n, o)
		guid := s.Apps(0, 1)[0].GUID
		if _, err := s.RestageApp(guid, false); err != nil {
			t.Fatal(err)
		}
		s.Close()
		o.StagingDelay = time.Millisecond
		s = startSim(t, n, o)
		await(t, s, "the end of staging", func(State) bool {
			a, err := s.App(guid)
			return err == nil && a.PackageState == desired.Staged.String()
		})
	})
}

// TestLayOutIsOneTransaction: thousands of apps are made in one, and the layout is that of memory.
func TestLayOutIsOneTransaction(t *testing.T) {
	n := startNATS(t)
	eachSchema(t, func(t *testing.T, o Options) {
		o.Apps, o.Seed = 4000, 71
		s := startSim(t, n, o)
		if r := s.controller.apps.db.revision; r != 1 {
			t.Errorf("%d transactions", r)
		}
		o.DB, o.DBSchema = "", ""
		memory := rowsOf(startSim(t, n, o))
		got := rowsOf(s)
		for i := range got {
			got[i].UpdatedAt = memory[i].UpdatedAt
		}
		if !slices.Equal(got, memory) {
			t.Error("the apps are not those that the same seed gives in memory")
		}
	})
}

// sources gives a reader of each way of a simulation's desired state.
func sources(t *testing.T, s *Sim) (*bulk.Source, *sqldb.Source) {
	t.Helper()
	overHTTP, err := bulk.New(bulk.Options{URL: s.CCURL(), Username: "bulk_api", Password: "bulk-password", BatchSize: 7, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(overHTTP.Close)
	driver, dsn, _ := s.DB()
	overSQL, err := sqldb.New(sqldb.Options{Driver: driver, DSN: dsn, BatchSize: 7, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(overSQL.Close)
	return overHTTP, overSQL
}

// checkSourcesAgree compares what the two sources say, row by row.
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

// TestSourcesAgree: the bulk API and the database give the same desired state, row by row, whatever happens.
func TestSourcesAgree(t *testing.T) {
	n := startNATS(t)
	test := func(t *testing.T, o Options) { testSourcesAgree(t, n, o) }
	eachSchema(t, test)
	eachServer(t, test)
}

func testSourcesAgree(t *testing.T, n *NATS, o Options) {
	o.Apps, o.DEAs, o.StagingDelay, o.Passive = 30, 1, time.Hour, true
	s := startSim(t, n, o)
	overHTTP, overSQL := sources(t, s)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 2))
	packages := map[desired.PackageState]bool{}
	for range 25 {
		changeAtRandom(t, s, dice, 8)
		for _, a := range checkSourcesAgree(t, overHTTP, overSQL).Apps {
			packages[a.Package] = true
		}
	}
	if !packages[desired.Staged] || !packages[desired.Pending] || overSQL.Stats().Schema != o.DBSchema {
		t.Errorf("package states %v, stats %+v", packages, overSQL.Stats())
	}
}

// TestReadersAndWriterDoNotWait: a snapshot that stays open holds up no change, and does not see it.
func TestReadersAndWriterDoNotWait(t *testing.T) {
	n := startNATS(t)
	eachSchema(t, func(t *testing.T, o Options) {
		o.Apps = 10
		s := startSim(t, n, o)
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
		if _, err := s.ScaleApp(s.Apps(0, 1)[0].GUID, 5000); err != nil {
			t.Fatalf("a change while the database is read: %v", err)
		}
		if got := count(); got != before {
			t.Errorf("the snapshot has %s instances, before the change it had %s", got, before)
		}
		if _, err := session.exec(t.Context(), "ROLLBACK", nil); err != nil {
			t.Fatal(err)
		}
		if got := count(); got == before {
			t.Error("the change does not show")
		}
	})
}

// BenchmarkLayOut makes apps in a new SQLite file, against making them in memory.
func BenchmarkLayOut(b *testing.B) {
	const apps = 4000
	var reference float64
	for _, schema := range []string{"memory", SchemaV2, SchemaV3} {
		b.Run(schema, func(b *testing.B) {
			for i := range b.N {
				o := Options{Apps: apps}
				if schema != "memory" {
					o.DB, o.DBSchema = filepath.Join(b.TempDir(), fmt.Sprint(i)), schema
				}
				o = o.withDefaults()
				tab, err := openTable(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				timeline := newTimeline()
				c := newController(o, newFleet(o, timeline), timeline)
				c.keepIn(tab)
				if _, err := c.populate(b.Context(), apps, 2); err != nil {
					b.Fatal(err)
				}
				tab.close()
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
