package sqldb

import (
	"strings"
	"testing"
	"time"
)

func TestTargets(t *testing.T) {
	for _, c := range []struct{ driver, dsn, want string }{
		{"postgres", "postgres://u:pw@db1:5433/ccdb", "db1:5433/ccdb"},
		{"postgres", " postgres://u:pw@db1/ccdb\tpostgresql://u:pw@db2/ccdb \n postgres://u:pw@db3/ccdb", "db1:5432/ccdb db2:5432/ccdb db3:5432/ccdb"},
		{"postgres", "postgres://u:pw@db1:5433,db2:5434/ccdb?sslmode=prefer", "db1:5433/ccdb db2:5434/ccdb"},
		{"postgres", "host=db1,db2 user=u password='p w' dbname=ccdb\n\nhost=db3 user=u dbname=ccdb", "db1:5432/ccdb db2:5432/ccdb db3:5432/ccdb"},
		{"postgres", "postgres://u:pw@/ccdb?host=/run/postgresql", "/run/postgresql:5432/ccdb"},
		{"mysql", "u:pw@tcp(db1)/ccdb", "db1:3306/ccdb"},
		{"mysql", "u:p@w/x@tcp(db1:3307)/ccdb?tls=true u:pw@tcp(db2)/ccdb", "db1:3307/ccdb db2:3306/ccdb"},
		{"mysql", "mysql2://u:p%40w%2F@db1:3306,db2:3307/ccdb?tls=preferred", "db1:3306/ccdb db2:3307/ccdb"},
		{"mysql", "u:pw@tcp(db1,db2:3307)/ccdb?tls=true", "db1:3306/ccdb db2:3307/ccdb"},
		{"mysql", "u:pw@unix(/run/mysqld/mysqld.sock)/ccdb", "/run/mysqld/mysqld.sock/ccdb"},
		{"sqlite", "/var/lib/cc db/ccdb.sqlite", "/var/lib/cc db/ccdb.sqlite"},
		{"sqlite", "file:/a%20b.sqlite?mode=ro\nsqlite:///c.sqlite", "/a b.sqlite /c.sqlite"},
	} {
		s, err := New(Options{Driver: c.driver, DSN: c.dsn})
		if err != nil {
			t.Errorf("%s: %v", c.dsn, err)
			continue
		}
		var names []string
		for _, target := range s.targets {
			names = append(names, target.name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s gives %q, want %q", c.dsn, got, c.want)
		}
		if strings.Contains(s.Name(), "p w") || strings.Contains(s.Name(), "pw") || !strings.HasPrefix(s.Name(), "sql "+c.driver+" "+names[0]) {
			t.Errorf("%s is named %q", c.dsn, s.Name())
		}
		s.Close()
	}
}

// The error for a bad DSN does not quote the DSN.
func TestRefusedOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Driver: "oracle", DSN: "x"}, "none of postgres, mysql, sqlite"},
		{Options{Driver: "postgres", DSN: " \n"}, "the DSN is empty; an example is postgres://"},
		{Options{Driver: "postgres", DSN: "postgres://u:hunter2@db:port/ccdb"}, "DSN 1 of 1: it cannot be parsed; an example is postgres://"},
		{Options{Driver: "postgres", DSN: "postgres://u:hunter2%zz@db/ccdb"}, "it cannot be parsed"},
		{Options{Driver: "postgres", DSN: "host=db password=hunter2 port=x"}, "it cannot be parsed"},
		{Options{Driver: "postgres", DSN: "postgres://u:hunter2@db/ccdb?sslmode=always"}, "verify-full"},
		{Options{Driver: "postgres", DSN: "postgres://u:hunter2@db/ccdb?sslmode=verify-ca&sslrootcert=/no/such.pem"}, "/no/such.pem"},
		{Options{Driver: "mysql", DSN: "hunter2"}, "it cannot be parsed"},
		{Options{Driver: "mysql", DSN: "u:hunter2@tcp(db)/"}, "it cannot be parsed"},
		{Options{Driver: "mysql", DSN: "u:hunter2@tcp(db)/ccdb?tls=nonesuch"}, "it cannot be parsed"},
		{Options{Driver: "mysql", DSN: "mysql://u:hunter2%zz@db/ccdb"}, "it cannot be parsed"},
		{Options{Driver: "mysql", DSN: "u:hunter2@tcp(db)/ccdb?ssl-ca=/no/such.pem"}, "ssl-ca: open /no/such.pem"},
		{Options{Driver: "mysql", DSN: "u:hunter2@tcp(db)/ccdb?ssl-ca=/etc/hostname&tls=skip-verify"}, "tls must be true"},
		{Options{Driver: "sqlite", DSN: "file:/x?immutable=1"}, "immutable"},
		{Options{Driver: "sqlite", DSN: "file:/x?mode=rwc"}, "mode"},
		{Options{Driver: "sqlite", DSN: ":memory:"}, "must name a file"},
		{Options{Driver: "sqlite", DSN: "/x", Schema: "v4"}, "none of v2, v3, auto"},
		{Options{Driver: "sqlite", DSN: "/x", BatchSize: -1}, "batch size"},
		{Options{Driver: "sqlite", DSN: "/x", Timeout: -time.Second}, "negative"},
		{Options{Driver: "sqlite", DSN: strings.Repeat("/x\n", 17)}, "17 servers"},
	} {
		s, err := New(c.o)
		if err == nil {
			s.Close()
			t.Errorf("%+v is not refused", c.o)
		} else if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

func TestArrayOf(t *testing.T) {
	if got := arrayOf([]string{`a`, `b"c\d`, `{e,f}`, ``}); got != `{"a","b\"c\\d","{e,f}",""}` {
		t.Error(got)
	}
}
