package sqldb

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"hm/desired"
	"hm/internal/app"
)

func at(newest string, ids ...int64) changeMark {
	m := changeMark{newest: newest}
	copy(m.ids[:], ids)
	return m
}

func TestMarkBefore(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b changeMark
		want bool
	}{
		{"the same", at("2016-01-01", 5, 5), at("2016-01-01", 5, 5), false},
		{"an older change", at("2016-01-01", 9), at("2016-01-02", 5), true},
		{"a newer change, but the row with the highest id was deleted", at("2016-01-02", 4), at("2016-01-01", 5), false},
		{"fewer rows in the same second", at("2016-01-01", 5, 4), at("2016-01-01", 5, 5), true},
		{"more rows in the same second", at("2016-01-01", 5, 6), at("2016-01-01", 5, 5), false},
		{"an empty table", at(""), at("2016-01-01", 1), true},
		{"from an empty table", at("2016-01-01", 1), at(""), false},
	} {
		if got := c.a.before(c.b); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestAcceptedCheck(t *testing.T) {
	read := accepted{server: "a", schema: schemaV2, mark: at("2016-01-02", 5)}
	for _, c := range []struct {
		name     string
		accepted accepted
		snap     snapshot
		stale    bool
	}{
		{"the first", accepted{}, snapshot{server: "b", mark: at("")}, false},
		{"the same server, rows deleted", read, snapshot{server: "a", mark: at("2016-01-01", 4)}, false},
		{"another server that is as new", read, snapshot{server: "b", plan: plan{schema: schemaV2}, mark: at("2016-01-02", 5)}, false},
		{"another server that lags behind", read, snapshot{server: "b", plan: plan{schema: schemaV2, tables: v2Tables[:]}, mark: at("2016-01-01", 5)}, true},
		{"another server without the newest row", read, snapshot{server: "b", plan: plan{schema: schemaV2, tables: v2Tables[:]}, mark: at("2016-01-02", 4)}, true},
		{"another server, migrated: ids count anew", read, snapshot{server: "b", plan: plan{schema: schemaV3, tables: v3Tables[:]}, mark: at("2016-01-02", 4, 1)}, false},
		{"another server, migrated, but older", read, snapshot{server: "b", plan: plan{schema: schemaV3, tables: v3Tables[:]}, mark: at("2016-01-01", 9, 9)}, true},
	} {
		err := c.accepted.check(&c.snap)
		if e := (*Error)(nil); (err != nil) != c.stale || err != nil && (!errors.As(err, &e) || e.Kind != Stale) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Two files act as two servers of one database; the second one lags.
func TestReplicaLags(t *testing.T) {
	primary, replica := openDatabase(t, "sqlite", "v2"), openDatabase(t, "sqlite", "v2")
	for _, d := range []*database{primary, replica} {
		d.exec(oneApp, "UPDATE apps SET created_at = '2016-01-01 00:00:00'")
	}
	primary.exec("UPDATE apps SET instances = 7, updated_at = '2016-01-01 00:01:00'")
	s := primary.source(t, func(o *Options) { o.DSN = primary.dsn + "\n" + replica.dsn })
	reads(t, s, 1)
	away := func(d *database, gone bool) {
		from, to := d.name, d.name+".away"
		if !gone {
			from, to = to, from
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	away(primary, true)
	s.disconnect() // else the file stays open
	_, err := s.Read(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Kind != Refused || len(e.Others) != 1 || e.Others[0].Kind != Stale ||
		!strings.Contains(err.Error(), "; then read desired state from "+replica.name) || !strings.Contains(err.Error(), "2016-01-01 00:00:00") {
		t.Fatalf("%v; want both servers' reasons", err)
	}
	if _, err := s.ReadApp(t.Context(), app.MustGUID("g")); err == nil {
		t.Error("one app was read from the replica that lags")
	}
	if st := s.Stats(); st.Stale < 2 || st.Moves != 0 || st.From != primary.name {
		t.Errorf("%+v", st)
	}
	replica.exec("UPDATE apps SET instances = 7, updated_at = '2016-01-01 00:01:00'")
	reads(t, s, 1)
	if st := s.Stats(); st.Moves != 1 || st.From != replica.name || !strings.Contains(s.Name(), replica.name+" (one of 2)") {
		t.Errorf("%+v, %s", st, s.Name())
	}
	// No server is preferred: when the primary is back, hm still reads the replica.
	away(primary, false)
	reads(t, s, 1)
	if st := s.Stats(); st.From != replica.name {
		t.Errorf("%+v", st)
	}
	// After rows are deleted the newest time is an earlier one. On the server that was read last this is allowed.
	replica.exec("DELETE FROM apps")
	reads(t, s, 0)
}

// hm reads the second host if the first one refuses connections, or never answers.
func TestNextHost(t *testing.T) {
	for _, driver := range []string{"postgres", "mysql"} {
		d := setUp(t, driver, 10)
		dead, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := dead.Close(); err != nil {
			t.Fatal(err)
		}
		s := d.source(t, func(o *Options) {
			o.DSN = strings.Replace(o.DSN, d.server.Addr, dead.Addr().String()+","+d.server.Addr, 1)
		})
		reads(t, s, 10)
		if !strings.Contains(s.Name(), d.server.Addr) {
			t.Error(s.Name())
		}
		silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and never answers
		if err != nil {
			t.Fatal(err)
		}
		s = d.source(t, func(o *Options) {
			o.DSN = strings.Replace(o.DSN, d.server.Addr, silent.Addr().String()+","+d.server.Addr, 1)
			o.Timeout = 4 * time.Second
		})
		reads(t, s, 10)
		if err := silent.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A read of one app waits for the running complete read, so its result is the newer one.
func TestReadsAreInOrder(t *testing.T) {
	d := openDatabase(t, "sqlite", "v2")
	d.exec(oneApp)
	s := d.source(t)
	result := make(chan desired.App, 1)
	s.afterPage = once(1, func() {
		d.exec("UPDATE apps SET instances = 9")
		go func() {
			apps, err := s.ReadApp(context.Background(), app.MustGUID("g"))
			if err != nil || len(apps) != 1 {
				t.Error(apps, err)
				apps = make([]desired.App, 1)
			}
			result <- apps[0]
		}()
	})
	read, err := s.Read(t.Context())
	if err != nil || read.Apps[0].Instances != 1 {
		t.Error(read, err)
	}
	if a := <-result; a.Instances != 9 {
		t.Error(a)
	}
}

func TestVerify(t *testing.T) {
	d := openDatabase(t, "sqlite", "v2")
	d.exec(oneApp)
	s := d.source(t)
	s.afterPage = once(1, func() { // as if every statement had its own transaction
		if err := s.conn.rollback(t.Context()); err != nil {
			t.Error(err)
		}
		d.exec("UPDATE apps SET updated_at = '2030-01-01'")
	})
	fails(t, s, Inconsistent, "proxy")
	s.afterPage = nil
	reads(t, s, 1)
	if got := s.Stats().Newest; got != "2030-01-01" {
		t.Error(got)
	}
}
