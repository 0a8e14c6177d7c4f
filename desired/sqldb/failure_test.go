package sqldb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/desired/sqldb/dbtest"
	"hm/internal/app"
	"hm/internal/tlsfiles/tlstest"
)

// setUp makes a v2 database of n started apps.
func setUp(t *testing.T, driver string, n int) *database {
	t.Helper()
	d := openDatabase(t, driver, schemaV2)
	d.fillMany(schemaV2, n)
	return d
}

// once returns an afterPage that calls f once, after this page.
func once(page int, f func()) func(int) {
	done := false
	return func(n int) {
		if n == page && !done {
			done = true
			f()
		}
	}
}

// A read does not see what other sessions write meanwhile: all its rows are of one point in time.
func TestSnapshot(t *testing.T) {
	for _, driver := range drivers {
		for _, schema := range schemas {
			t.Run(driver+"/"+schema, func(t *testing.T) {
				d := openDatabase(t, driver, schema)
				d.fill(schema, readFixture(t))
				s := d.source(t, func(o *Options) { o.BatchSize = 3 })
				before, err := s.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				processes := map[string]string{schemaV2: "apps", schemaV3: "processes"}[schema]
				s.afterPage = once(2, func() {
					d.exec("UPDATE "+processes+" SET instances = 99, version = 'other', state = 'STARTED', updated_at = '2020-01-01 00:00:00'",
						"DELETE FROM "+processes+" WHERE guid LIKE '00000001%'")
					if schema == schemaV3 {
						d.exec("UPDATE droplets SET state = 'FAILED'", "DELETE FROM packages")
					}
				})
				during, err := s.Read(t.Context())
				if err != nil || table(during) != table(before) {
					t.Errorf("%v\n%swant\n%s", err, table(during), table(before))
				}
				after, err := s.Read(t.Context())
				if err != nil || table(after) == table(before) {
					t.Errorf("%v: the next read does not show the writes", err)
				}
			})
		}
	}
}

// An administrator ends the connection in the middle of a read.
func TestConnectionKilled(t *testing.T) {
	for driver, kill := range map[string]string{
		"postgres": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hm_reader'",
		"mysql":    "",
	} {
		t.Run(driver, func(t *testing.T) {
			d := setUp(t, driver, 100)
			s := d.source(t, func(o *Options) { o.BatchSize = 10 })
			reads(t, s, 100)
			s.afterPage = once(4, func() {
				if kill == "" {
					id := ""
					if err := s.conn.query(t.Context(), "SELECT CONNECTION_ID()", nil, func(v [][]byte) error { id = string(v[0]); return nil }); err != nil {
						t.Error(err)
					}
					d.exec("KILL " + id)
					return
				}
				d.exec(kill)
			})
			fails(t, s, Transport, "page 5", "nothing was recorded")
			reads(t, s, 100)
		})
	}
}

// A connection that is lost between two reads makes no read fail.
func TestIdleConnectionKilled(t *testing.T) {
	for _, driver := range []string{"postgres", "mysql"} {
		d := setUp(t, driver, 10)
		s := d.source(t)
		reads(t, s, 10)
		if err := d.server.Stop(); err != nil {
			t.Fatal(err)
		}
		fails(t, s, Refused, "check that the database is running")
		if err := d.server.Start(); err != nil {
			t.Fatal(err)
		}
		reads(t, s, 10)
		if err := d.server.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := d.server.Start(); err != nil {
			t.Fatal(err)
		}
		reads(t, s, 10)
	}
}

// The server is stopped, or killed with SIGKILL, in the middle of many reads. Every such read fails as a whole, and the
// first read after the server's restart is right.
func TestServerEndsMidRead(t *testing.T) {
	kills := 50
	if testing.Short() {
		kills = 3
	}
	const apps, batch = 1000, 50
	for _, driver := range []string{"postgres", "mysql"} {
		t.Run(driver, func(t *testing.T) {
			d := setUp(t, driver, apps)
			s := d.source(t, func(o *Options) { o.BatchSize = batch })
			good, err := s.Read(t.Context())
			if err != nil || len(good.Apps) != apps {
				t.Fatal(len(good.Apps), err)
			}
			for i := range kills {
				page := 1 + i%(apps/batch) // only an empty page follows the last one
				end := d.server.Kill
				if i%10 == 9 {
					end = d.server.Stop
				}
				s.afterPage = once(page, func() {
					if err := end(); err != nil {
						t.Fatal(err)
					}
				})
				fails(t, s, Transport, fmt.Sprintf("page %d", page+1))
				if err := d.server.Start(); err != nil {
					t.Fatal(err)
				}
				if got, err := s.Read(t.Context()); err != nil || !slices.Equal(got.Apps, good.Apps) {
					t.Fatalf("after kill %d: %d apps, %v", i+1, len(got.Apps), err)
				}
			}
			if st := s.Stats(); st.Failures != uint64(kills) || st.FailuresBy[Transport] != uint64(kills) {
				t.Errorf("%+v", st)
			}
		})
	}
}

// Another session has locked the table, as a migration does: the read fails in time, and the next one succeeds.
func TestLocked(t *testing.T) {
	for _, c := range []struct{ driver, lock, unlock string }{
		{"postgres", "BEGIN; LOCK TABLE apps IN ACCESS EXCLUSIVE MODE", "COMMIT"},
		{"mysql", "LOCK TABLES apps WRITE", "UNLOCK TABLES"},
		{"sqlite", "PRAGMA journal_mode = delete; BEGIN EXCLUSIVE", "COMMIT"},
	} {
		t.Run(c.driver, func(t *testing.T) {
			d := setUp(t, c.driver, 10)
			unlock := hold(t, d, c.lock, c.unlock)
			s := d.source(t, func(o *Options) { o.Timeout = 2 * time.Second })
			fails(t, s, Locked)
			unlock()
			reads(t, s, 10)
		})
	}
}

// hold runs a statement on a new connection. The returned function runs the last statement on that connection.
func hold(t *testing.T, d *database, statement, last string) func() {
	t.Helper()
	if d.driver == "sqlite" {
		d.exec(statement)
		return func() { d.exec(last) }
	}
	c := d.server.Connect(t, d.name)
	c(statement)
	return func() { c(last) }
}

// A canceled read ends in the server, too.
func TestCanceled(t *testing.T) {
	d := setUp(t, "postgres", 10)
	unlock := hold(t, d, "BEGIN; LOCK TABLE apps IN ACCESS EXCLUSIVE MODE", "COMMIT")
	s := d.source(t)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := func() bool {
		v, err := d.server.Query(d.name, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'hm_reader' AND datname = '"+d.name+"' AND wait_event_type = 'Lock'")
		return err != nil || v[0] != "0"
	}
	go func() {
		defer cancel()
		for deadline := time.Now().Add(20 * time.Second); !waiting() && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err := s.Read(ctx)
	var e *Error
	if !errors.As(err, &e) || e.Kind != Canceled || !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); waiting(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the statement still runs in the server")
		}
	}
	unlock()
	reads(t, s, 10)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Read(canceled); !errors.As(err, &e) || e.Kind != Canceled {
		t.Fatalf("%v", err)
	}
	s.Close()
	if _, err := s.Read(canceled); !errors.As(err, &e) || e.Kind != Canceled {
		t.Fatalf("%v", err)
	}
}

func TestRefusedByServer(t *testing.T) {
	for _, driver := range []string{"postgres", "mysql"} {
		d := setUp(t, driver, 10)
		s := d.source(t, func(o *Options) { o.DSN = strings.Replace(o.DSN, readerPassword, "wrong-secret", 1) })
		fails(t, s, Unauthorized, "docs/ccdb.md")
		if _, err := s.Read(t.Context()); strings.Contains(err.Error(), "wrong-secret") {
			t.Errorf("%v shows the password", err)
		}
		s = d.source(t, func(o *Options) { o.DSN = strings.Replace(o.DSN, "/"+d.name, "/no_such_db", 1) })
		_, err := s.Read(t.Context())
		if e := (*Error)(nil); !errors.As(err, &e) || e.Kind != Schema && e.Kind != Unauthorized {
			t.Errorf("%s: %v", driver, err)
		}
	}
	d := &database{driver: "sqlite", dsn: filepath.Join(t.TempDir(), "none")}
	fails(t, d.source(t), Refused, "check that desired.sql.dsn names the file")
	if _, err := os.Stat(d.dsn); err == nil {
		t.Error("the file was created")
	}
	if err := os.WriteFile(d.dsn, []byte(strings.Repeat("this is no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, d.source(t), Schema, "check that desired.sql.dsn names the Cloud Controller's database")
}

// The server requires TLS, and hm requires a trusted certificate.
func TestTLS(t *testing.T) {
	a := tlstest.New(t)
	cert, key := a.Issue("server", nil)
	trusted, other := a.CA, tlstest.New(t).CA
	for _, driver := range []string{"postgres", "mysql"} {
		t.Run(driver, func(t *testing.T) {
			d := &database{driver: driver, server: dbtest.Start(t, driver, dbtest.Options{TLSCert: cert, TLSKey: key, RequireTLS: true})}
			d.name = d.server.CreateDatabase(t)
			d.exec = func(statements ...string) { t.Helper(); d.server.Exec(t, d.name, statements...) }
			d.exec("CREATE TABLE apps (id integer PRIMARY KEY, guid varchar(255), version varchar(255), instances integer, state varchar(255), package_state varchar(255), created_at timestamp NULL, updated_at timestamp NULL)")
			d.grant()
			dsn := d.server.DSN("hm_reader", readerPassword, d.name)
			plain, right, wrong := dsn, dsn+"?ssl-ca="+trusted, dsn+"?ssl-ca="+other
			refusal := Unauthorized // MariaDB reports this
			if driver == "postgres" {
				refusal = TLS
				base, _, _ := strings.Cut(dsn, "?")
				right, wrong = base+"?sslmode=verify-full&sslrootcert="+trusted, base+"?sslmode=verify-full&sslrootcert="+other
			}
			for _, c := range []struct {
				dsn  string
				kind Kind
			}{{plain, refusal}, {wrong, TLS}, {right, ""}} {
				d.dsn = c.dsn
				s := d.source(t)
				if c.kind == "" {
					reads(t, s, 0)
				} else {
					fails(t, s, c.kind)
				}
			}
		})
	}
	plain := setUp(t, "postgres", 1)
	plain.dsn = strings.Replace(plain.dsn, "sslmode=disable", "sslmode=require", 1)
	fails(t, plain.source(t), TLS)
	plain = setUp(t, "mysql", 1)
	plain.dsn += "?tls=true"
	fails(t, plain.source(t), TLS)
}

func TestLimits(t *testing.T) {
	d := setUp(t, "sqlite", 1000)
	s := d.source(t)
	s.maxApps = 999
	fails(t, s, TooLarge, "more apps than hm reads at once")
	s.maxApps = 1000
	reads(t, s, 1000)
	d.exec("UPDATE apps SET instances = -1 WHERE id <= 10")
	reads(t, s, 990)
	d.exec("UPDATE apps SET instances = 'many' WHERE id = 11")
	fails(t, s, BadRows, "11 of 1000 rows are unreadable (the first one: app", "instances is \"-1\"")
	d.exec("UPDATE apps SET instances = 2", "UPDATE apps SET package_state = 'STAGING' WHERE id = 1", "UPDATE apps SET instances = 2.5 WHERE id = 2", "UPDATE apps SET version = x'ff00' WHERE id = 3")
	reads(t, s, 997)
	d.exec("UPDATE apps SET guid = hex(randomblob(1000000)) WHERE id = 1")
	fails(t, s, BadRows, "the guid of row 1 is")
	d.exec("UPDATE apps SET guid = 'ü' WHERE id = 1")
	fails(t, s, BadRows, "the guid of row 1 is")
	d.exec("DROP INDEX apps_guid_index", "UPDATE apps SET guid = 'same', version = id WHERE id <= 3")
	fails(t, s, BadRows, "returned twice")
}

// In PostgreSQL and SQLite two guids may differ only in letter case. Both rows are unreadable.
func TestRowsThatDifferInCaseOnly(t *testing.T) {
	const small, capitals = "abcdef01-aaaa-4bbb-8ccc-000000000024", "ABCDEF01-AAAA-4BBB-8CCC-000000000024"
	for _, driver := range []string{"postgres", "sqlite"} {
		d := setUp(t, driver, 3)
		d.exec("UPDATE apps SET guid = '"+small+"' WHERE id = 1", "UPDATE apps SET guid = '"+capitals+"' WHERE id = 2")
		s := d.source(t)
		read, err := s.Read(t.Context())
		if err != nil || len(read.Apps) != 1 || len(read.Unreadable) != 1 || read.Unreadable[0] != app.MustGUID(small) || s.Stats().LastUnreadable != 1 {
			t.Errorf("%s: %+v, %v", driver, read, err)
		}
		if rows, err := s.ReadApp(t.Context(), app.MustGUID(small)); err != nil || len(rows) != 2 {
			t.Errorf("%s: %+v, %v", driver, rows, err)
		}
	}
}

// All of 400,000 apps are read, each once.
func TestManyApps(t *testing.T) {
	if testing.Short() && os.Getenv("HM_TEST_REQUIRE") != "all" {
		t.Skip("takes a minute")
	}
	for driver, n := range map[string]int{"postgres": 400_000, "mysql": 400_000, "sqlite": 50_000} {
		d := setUp(t, driver, n)
		s := d.source(t, func(o *Options) { o.BatchSize = 0 })
		reads(t, s, n) // NewRead refuses duplicates
		if st := s.Stats(); st.LastPages != n/DefaultBatchSize+1 {
			t.Errorf("%+v", st)
		}
	}
}
