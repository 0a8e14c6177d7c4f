package sqldb

import (
	"errors"
	"strings"
	"testing"

	"hm/internal/app"
)

// fails makes a read and expects an error of this kind that contains the texts, and no data.
func fails(t *testing.T, s *Source, kind Kind, want ...string) {
	t.Helper()
	before := s.Stats()
	read, err := s.Read(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || read.Apps != nil || read.Unreadable != nil || read.Source != "" {
		t.Fatalf("%+v, %v; want an error of kind %s", read, err, kind)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v; want it to say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), readerPassword) {
		t.Errorf("%v shows the password", err)
	}
	if st := s.Stats(); st.Failures != before.Failures+1 || st.FailuresBy[kind] != before.FailuresBy[kind]+1 || st.Reads != before.Reads {
		t.Errorf("stats were %+v, are %+v", before, st)
	}
}

// reads makes a read and expects this number of apps.
func reads(t *testing.T, s *Source, apps int) {
	t.Helper()
	if read, err := s.Read(t.Context()); err != nil || len(read.Apps) != apps {
		t.Fatalf("%d apps, %v; want %d", len(read.Apps), err, apps)
	}
}

const oneApp = "INSERT INTO apps (guid, name, version, state, package_state) VALUES ('g', 'n', 'v', 'STARTED', 'STAGED')"

func TestSchemaIsChecked(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			d := openDatabase(t, driver, "")
			s := d.source(t)
			fails(t, s, Schema, "neither apps.package_state", "nor the table processes", "found no table of the Cloud Controller")
			d.exec("CREATE TABLE apps (id integer PRIMARY KEY, guid varchar(255), other integer)")
			d.grant()
			fails(t, s, Schema, "found apps(guid, id, other)")
			fails(t, d.source(t, func(o *Options) { o.Schema = "v2" }), Schema,
				"schema v2 needs what is missing here: apps.version, apps.instances, apps.state, apps.package_state, apps.created_at, apps.updated_at; found apps(guid, id, other)")
			d.exec("CREATE TABLE processes (id integer PRIMARY KEY, guid varchar(255))")
			d.grant()
			fails(t, s, Schema, "schema v3 needs what is missing here: apps.droplet_guid", "table droplets", "table packages", "processes.diego", "has no DEAs")
			d.exec("ALTER TABLE apps ADD COLUMN package_state varchar(255)")
			fails(t, s, Schema, "both apps.package_state", "desired.sql.schema")
		})
	}
}

// An old v2 database has no Diego column; it may or may not mark apps as deleted.
func TestOldColumns(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			d := openDatabase(t, driver, "v2")
			for _, s := range []string{"a", "b", "c", "d"} {
				d.exec(strings.Replace(oneApp, "'g'", "'"+s+"'", 1))
			}
			d.exec("UPDATE apps SET diego = "+d.bool(true)+" WHERE guid = 'b'", "UPDATE apps SET deleted_at = created_at, not_deleted = NULL WHERE guid = 'c'")
			s := d.source(t)
			reads(t, s, 2)
			d.exec("DROP INDEX apps_diego_index"+map[string]string{"mysql": " ON apps"}[driver], "ALTER TABLE apps DROP COLUMN diego")
			reads(t, s, 3) // every read looks at the columns
			d.exec("ALTER TABLE apps DROP COLUMN deleted_at")
			reads(t, s, 3)
			d.exec("ALTER TABLE apps DROP COLUMN not_deleted")
			reads(t, s, 4)
			d.exec("ALTER TABLE apps DROP COLUMN version")
			fails(t, s, Schema, "what is missing here: apps.version; found apps(app_guid,")
		})
	}
}

// Old versions of Sequel store booleans in SQLite as letters.
func TestSQLiteLetters(t *testing.T) {
	d := openDatabase(t, "sqlite", "v2")
	d.exec(oneApp, strings.Replace(oneApp, "'g'", "'h'", 1), "UPDATE apps SET diego = CASE guid WHEN 'g' THEN 'f' ELSE 't' END")
	if apps, err := d.source(t).ReadApp(t.Context(), app.MustGUID("g")); err != nil || len(apps) != 1 {
		t.Error(apps, err)
	}
	reads(t, d.source(t), 1)
}

// A column that the role may not read is never treated as missing.
func TestHiddenColumns(t *testing.T) {
	columns := "id, guid, version, instances, state, package_state, created_at, updated_at, deleted_at"
	t.Run("postgres", func(t *testing.T) {
		d := openDatabase(t, "postgres", "v2")
		d.exec(oneApp, "REVOKE SELECT ON apps FROM hm_reader")
		s := d.source(t)
		fails(t, s, Permission, "the role may not read apps.id, apps.guid")
		d.exec("GRANT SELECT (" + columns + ") ON apps TO hm_reader")
		fails(t, s, Permission, "the role may not read apps.diego, apps.not_deleted", "docs/ccdb.md")
		d.exec("GRANT SELECT (diego, not_deleted) ON apps TO hm_reader")
		reads(t, s, 1)
	})
	t.Run("mysql", func(t *testing.T) {
		d := openDatabase(t, "mysql", "v2")
		d.exec(oneApp, "CREATE USER hm_narrow IDENTIFIED BY 'pw'", "GRANT SELECT ("+columns+") ON "+d.name+".apps TO hm_narrow")
		t.Cleanup(func() { d.exec("DROP USER hm_narrow") })
		d.dsn = d.server.DSN("hm_narrow", "pw", d.name)
		s := d.source(t)
		fails(t, s, Permission, "the role may not read apps.diego", "docs/ccdb.md")
		d.exec("GRANT SELECT (diego, not_deleted) ON " + d.name + ".apps TO hm_narrow")
		reads(t, s, 1)
		d.exec("ALTER TABLE apps ENGINE=MyISAM")
		fails(t, s, Schema, "hm cannot read a snapshot of apps (MyISAM)", "InnoDB")
	})
}

// hm cannot write, even if the role may.
func TestReadOnly(t *testing.T) {
	for _, driver := range drivers {
		d := openDatabase(t, driver, "v2")
		d.exec(oneApp)
		switch driver {
		case "postgres":
			d.exec("GRANT ALL ON apps TO hm_reader")
		case "mysql":
			d.exec("GRANT ALL ON " + d.name + ".* TO 'hm_reader'@'%'")
		}
		s := d.source(t)
		reads(t, s, 1)
		c, err := s.targets[0].connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.begin(t.Context(), DefaultTimeout); err != nil {
			t.Fatal(err)
		}
		if err := c.query(t.Context(), "DELETE FROM apps", nil, func([][]byte) error { return nil }); err == nil {
			t.Errorf("%s: a transaction of hm has written", driver)
		}
		c.close()
		reads(t, s, 1)
	}
}
