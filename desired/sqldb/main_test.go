package sqldb

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/desired/sqldb/ccschema"
	"hm/desired/sqldb/dbtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	dbtest.CloseShared()
	os.Exit(code)
}

// database is a database of one of the drivers for a test.
type database struct {
	driver string
	dsn    string // DSN of the read-only role
	exec   func(statements ...string)
	server *dbtest.Server // nil: SQLite
	name   string
}

const readerPassword = "pw-never-shown"

// openDatabase makes an empty database with the tables of a schema, or without tables if schema is "".
func openDatabase(t testing.TB, driver, schema string) *database {
	t.Helper()
	if driver == "sqlite" {
		return openDatabaseOn(t, nil, driver, schema)
	}
	return openDatabaseOn(t, dbtest.Shared(t, driver), driver, schema)
}

func openDatabaseOn(t testing.TB, server *dbtest.Server, driver, schema string) *database {
	t.Helper()
	d := &database{driver: driver, server: server}
	if driver == "sqlite" {
		d.name = filepath.Join(t.TempDir(), "cc db ä?#%.sqlite")
		d.dsn = d.name
		db, err := sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(d.name)+"?_pragma=journal_mode(wal)&_pragma=synchronous(0)")
		if err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		t.Cleanup(func() { _ = db.Close() })
		d.exec = func(statements ...string) {
			t.Helper()
			for _, s := range statements {
				if _, err := db.Exec(s); err != nil {
					t.Fatalf("%.200s: %v", s, err)
				}
			}
		}
	} else {
		d.name = d.server.CreateDatabase(t)
		d.dsn = d.server.DSN("hm_reader", readerPassword, d.name)
		d.exec = func(statements ...string) { t.Helper(); d.server.Exec(t, d.name, statements...) }
	}
	if driver == "sqlite" {
		d.exec("PRAGMA user_version = 1") // creates the file
	}
	if schema != "" {
		statements, err := ccschema.Statements(driver, schema)
		if err != nil {
			t.Fatal(err)
		}
		d.exec(statements...)
	}
	d.grant()
	return d
}

// grant creates the role as docs/ccdb.md says.
func (d *database) grant() {
	switch d.driver {
	case "postgres":
		d.exec("DO $$ BEGIN CREATE ROLE hm_reader LOGIN PASSWORD '"+readerPassword+"'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
			"GRANT CONNECT ON DATABASE "+d.name+" TO hm_reader", "GRANT USAGE ON SCHEMA public TO hm_reader", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO hm_reader")
	case "mysql":
		d.exec("CREATE USER IF NOT EXISTS 'hm_reader'@'%' IDENTIFIED BY '"+readerPassword+"'", "GRANT SELECT ON "+d.name+".* TO 'hm_reader'@'%'")
	}
}

func (d *database) quote(s *string) string {
	if s == nil {
		return "NULL"
	}
	q := strings.ReplaceAll(*s, "'", "''")
	if d.driver == "mysql" {
		q = strings.ReplaceAll(q, `\`, `\\`)
	}
	return "'" + q + "'"
}

func (d *database) bool(b bool) string {
	if d.driver == "postgres" {
		return fmt.Sprint(b)
	}
	return map[bool]string{false: "0", true: "1"}[b]
}

// source opens a Source on a database.
func (d *database) source(t testing.TB, change ...func(*Options)) *Source {
	t.Helper()
	o := Options{Driver: d.driver, DSN: d.dsn, BatchSize: 5, Timeout: 60 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// fixtureApp is one app of testdata/ccdb/apps.json.
type fixtureApp struct {
	GUID         string
	Version      *string
	Instances    int
	State        string
	PackageState string `json:"package_state"`
	Diego        bool
	Deleted      bool
	DockerImage  *string `json:"docker_image"`
	App          string  // guid of the v3 app, if it is another one
	Current      *string // guid of the current droplet
	Droplets     []struct {
		GUID, State string
		Package     *string
		Created     int // seconds into 2016
	}
	Packages []struct {
		GUID, State string
		Created     int
	}
}

func readFixture(t testing.TB) []fixtureApp {
	t.Helper()
	text, err := os.ReadFile("../../testdata/ccdb/apps.json")
	if err != nil {
		t.Fatal(err)
	}
	var apps []fixtureApp
	if err := json.Unmarshal(text, &apps); err != nil {
		t.Fatal(err)
	}
	return apps
}

// fill puts apps into the tables of a schema.
func (d *database) fill(schema string, apps []fixtureApp) {
	at := func(seconds int) string {
		return time.Date(2016, 1, 1, 0, 0, seconds, 0, time.UTC).Format("'2006-01-02 15:04:05'")
	}
	for i, a := range apps {
		if schema == schemaV2 {
			deleted, notDeleted := "NULL", d.bool(true)
			if a.Deleted {
				deleted, notDeleted = at(60), "NULL"
			}
			d.exec(fmt.Sprintf("INSERT INTO apps (guid, name, version, instances, state, package_state, diego, deleted_at, not_deleted, docker_image, created_at, updated_at) VALUES (%s, 'app %d', %s, %d, '%s', '%s', %s, %s, %s, %s, %s, %s)",
				d.quote(&a.GUID), i, d.quote(a.Version), a.Instances, a.State, a.PackageState, d.bool(a.Diego), deleted, notDeleted, d.quote(a.DockerImage), at(i), at(i)))
			continue
		}
		if a.Deleted {
			continue // v3 deletes the row
		}
		owner := a.App
		if owner == "" {
			owner = a.GUID
			d.exec(fmt.Sprintf("INSERT INTO apps (guid, name, droplet_guid, desired_state, created_at) VALUES (%s, 'app %d', %s, '%s', %s)", d.quote(&owner), i, d.quote(a.Current), a.State, at(i)))
		}
		d.exec(fmt.Sprintf("INSERT INTO processes (guid, app_guid, version, instances, state, diego, created_at, updated_at) VALUES (%s, %s, %s, %d, '%s', %s, %s, %s)",
			d.quote(&a.GUID), d.quote(&owner), d.quote(a.Version), a.Instances, a.State, d.bool(a.Diego), at(i), at(i)))
		for _, p := range a.Packages {
			d.exec(fmt.Sprintf("INSERT INTO packages (guid, app_guid, state, docker_image, created_at) VALUES (%s, %s, '%s', %s, %s)", d.quote(&p.GUID), d.quote(&owner), p.State, d.quote(a.DockerImage), at(p.Created)))
		}
		for _, p := range a.Droplets {
			d.exec(fmt.Sprintf("INSERT INTO droplets (guid, app_guid, package_guid, state, docker_receipt_image, created_at) VALUES (%s, %s, %s, '%s', %s, %s)",
				d.quote(&p.GUID), d.quote(&owner), d.quote(p.Package), p.State, d.quote(a.DockerImage), at(p.Created)))
		}
	}
}

var (
	drivers = []string{"sqlite", "postgres", "mysql"}
	schemas = []string{schemaV2, schemaV3}
)
