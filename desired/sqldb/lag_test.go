package sqldb

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/desired"
	"hm/desired/sqldb/dbtest"
	"hm/internal/app"
)

// replicated is a database on its own server, and a replica of that server, which hm reads.
type replicated struct {
	*database
	replica *dbtest.Server
	source  *Source
}

func startReplicated(t *testing.T, driver string, grants ...string) *replicated {
	t.Helper()
	primary := dbtest.Start(t, driver, dbtest.Options{Replicates: true})
	limit := time.Now().Add(2 * time.Minute)
	r := &replicated{database: openDatabaseOn(t, primary, driver, "v2")}
	r.exec(append(slices.Clone(grants), oneApp)...)
	r.replica = dbtest.Start(t, driver, dbtest.Options{ReplicaOf: primary})
	for { // a connection has the rights that the role had when it was opened
		v, err := r.replica.Query(r.name, "SELECT COUNT(*) FROM apps")
		if err == nil && v[0] == "1" {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("not within two minutes: the replica has the app; the last answer is %v, %v", v, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.source = r.database.source(t, func(o *Options) {
		o.DSN = r.replica.DSN("hm_reader", readerPassword, r.name)
		o.Timeout = 10 * time.Second
	})
	r.await(t, "the replica shows the app, and does not lag", func(read desired.Read) bool { return len(read.Apps) == 1 && read.Lag <= appLag })
	return r
}

// await reads until done returns true for a read. Failed reads are ignored.
func (r *replicated) await(t *testing.T, what string, done func(desired.Read) bool) {
	t.Helper()
	var read desired.Read
	var err error
	if !r.within(t, 60*time.Second, func(r desired.Read) bool { read = r; return done(r) }, &err) {
		t.Fatalf("not within a minute: %s; the last read is of %d apps, lag %v, error %v", what, len(read.Apps), read.Lag, err)
	}
}

// within is await with a time limit; it returns false if that ends. failed is the error of the newest read, if it
// failed.
func (r *replicated) within(t *testing.T, limit time.Duration, done func(desired.Read) bool, failed *error) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var read desired.Read
		if read, *failed = r.source.Read(t.Context()); *failed == nil && done(read) {
			return true
		}
	}
	return false
}

// scale changes the app on the primary. It returns a time just after the change.
func (r *replicated) scale(instances string) time.Time {
	r.exec("UPDATE apps SET instances = " + instances + ", updated_at = CURRENT_TIMESTAMP")
	return time.Now()
}

// mustLag makes a read that does not have the change yet, and checks that its lag says so. whole is the resolution of
// the server's lag.
func (r *replicated) mustLag(t *testing.T, changed time.Time, instances uint32, whole time.Duration) {
	t.Helper()
	for time.Since(changed) < 2*appLag+2*whole { // so that the lag is clearly more than none
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	read, err := r.source.Read(t.Context())
	if err != nil || len(read.Apps) != 1 || read.Apps[0].Instances != instances {
		t.Fatalf("%v; read %+v, want %d instances", err, read.Apps, instances)
	}
	if shown := began.Add(-read.Lag); shown.After(changed) {
		t.Errorf("the read claims to show the time %v, %v after a change that it does not have", shown, shown.Sub(changed))
	}
	if read.Lag > time.Minute {
		t.Errorf("the lag is %v, more than possible", read.Lag)
	}
	var e *Error
	if _, err := r.source.ReadApp(t.Context(), app.MustGUID("g")); !errors.As(err, &e) || e.Kind != Stale {
		t.Errorf("one app was read from a replica that lags: %v", err)
	}
	if st := r.source.Stats(); st.Lag != read.Lag || !st.Replica {
		t.Errorf("%+v, want a lag of %v", st, read.Lag)
	}
}

// A hot standby that does not replay reports a lag; with an idle primary it reports none.
func TestStandbyLags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, grant string }{{"role of docs/ccdb.md", "SELECT 1"}, {"role that sees the receiver", "GRANT pg_read_all_stats TO hm_reader"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := startReplicated(t, "postgres", c.grant)
			r.scale("3") // else the standby has replayed no transaction since it was started
			r.await(t, "a change", func(read desired.Read) bool { return read.Apps[0].Instances == 3 })
			r.replica.Exec(t, "", "SELECT pg_wal_replay_pause()")
			changed := r.scale("7")
			for received := false; !received; time.Sleep(time.Millisecond) {
				v, err := r.replica.Query("", "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()")
				if err != nil {
					t.Fatal(err)
				}
				received = v[0] == "t"
			}
			r.mustLag(t, changed, 3, time.Millisecond)

			r.replica.Exec(t, "", "SELECT pg_wal_replay_resume()")
			r.await(t, "the change, without a lag", func(read desired.Read) bool { return read.Apps[0].Instances == 7 && read.Lag <= appLag })
			if _, err := r.source.ReadApp(t.Context(), app.MustGUID("g")); err != nil {
				t.Error(err)
			}

			// Without its primary a standby cannot know its lag, although it has replayed all that it received.
			if err := r.server.Kill(); err != nil {
				t.Fatal(err)
			}
			r.await(t, "the lag of a standby without a primary", func(read desired.Read) bool { return read.Lag > appLag })
			if err := r.server.Start(); err != nil {
				t.Fatal(err)
			}
			r.await(t, "the primary is back", func(read desired.Read) bool { return read.Lag <= appLag })
		})
	}
}

// A replica of MariaDB that does not apply what it has received reports a lag, if the role may see it.
func TestMariaDBReplicaLags(t *testing.T) {
	t.Parallel()
	r := startReplicated(t, "mysql", "GRANT SLAVE MONITOR ON *.* TO 'hm_reader'@'%'")
	// Lock the row, not the table: the server counts the lag only from when it begins to apply the change.
	lock := r.replica.Connect(t, r.name)
	lock("BEGIN")
	lock("SELECT * FROM apps FOR UPDATE")
	changed := r.scale("7")
	r.await(t, "the replica tells a lag", func(read desired.Read) bool { return read.Lag > 0 })
	r.mustLag(t, changed, 1, time.Second)
	lock("ROLLBACK")
	r.await(t, "the change, without a lag", func(read desired.Read) bool { return read.Apps[0].Instances == 7 && read.Lag <= appLag })

	r.replica.Exec(t, "", "STOP SLAVE IO_THREAD")
	var e *Error
	if _, err := r.source.Read(t.Context()); !errors.As(err, &e) || e.Kind != Stale || !strings.Contains(err.Error(), "replication") {
		t.Errorf("read from a replica that has stopped: %v", err)
	}
	if read, err := r.database.source(t).Read(t.Context()); err != nil || read.Lag != 0 {
		t.Errorf("the primary lags by %v, %v", read.Lag, err)
	}

	r.exec("REVOKE SLAVE MONITOR ON *.* FROM 'hm_reader'@'%'")
	denied := r.database.source(t)
	if read, err := denied.Read(t.Context()); err != nil || read.Lag != 0 || !denied.Stats().NoLag {
		t.Errorf("a role that may not see the lag: lag %v, %v, %+v", read.Lag, err, denied.Stats())
	}
}

func TestPostgresLagOf(t *testing.T) {
	text := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	}
	for name, c := range map[string]struct {
		all, heard, committed string // empty: NULL
		want                  time.Duration
		fails                 string
	}{
		"all replayed, primary heard":      {"1", "40", "900000", 40 * time.Millisecond, ""},
		"all replayed, just committed":     {"1", "40", "5", 5 * time.Millisecond, ""},
		"all replayed, may not see":        {"1", "-1", "900000", 0, ""},
		"all replayed, no primary":         {"1", "", "900000", 15 * time.Minute, ""},
		"not all replayed":                 {"0", "40", "900000", 15 * time.Minute, ""},
		"not all replayed, may not see":    {"0", "-1", "900000", 15 * time.Minute, ""},
		"just started, all replayed":       {"1", "40", "", 40 * time.Millisecond, ""},
		"just started, may not see":        {"1", "-1", "", 0, ""},
		"just started, no primary":         {"1", "", "", 0, "replayed nothing"},
		"just started, not all replayed":   {"0", "40", "", 0, "replayed nothing"},
		"the primary's clock is ahead":     {"0", "40", "-70", 0, ""},
		"for longer than a duration holds": {"0", "", "9007199254740991", maxLag, ""},
		"no number":                        {"1", "x", "1", 0, "whole number"},
		"no number at the end":             {"1", "1", "x", 0, "whole number"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := postgresLagOf([][]byte{text(c.all), text(c.heard), text(c.committed)})
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("%+v, %v, want an error with %q", got, err, c.fails)
				}
			} else if err != nil || got != (lag{known: true, by: c.want}) {
				t.Errorf("%+v, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestMySQLLagOf(t *testing.T) {
	channel := func(column, value string) map[string]*string {
		if value == "" {
			return map[string]*string{column: nil}
		}
		return map[string]*string{column: &value}
	}
	const source, master = "Seconds_Behind_Source", "Seconds_Behind_Master"
	for name, c := range map[string]struct {
		channels []map[string]*string
		readOnly bool
		want     lag
		fails    string
	}{
		"no replica":                {nil, false, noLag, ""},
		"no lag":                    {[]map[string]*string{channel(source, "0")}, true, noLag, ""},
		"older name":                {[]map[string]*string{channel(master, "7")}, true, lag{true, 8 * time.Second}, ""},
		"the worst of several":      {[]map[string]*string{channel(source, "7"), channel(source, "9"), channel(source, "0")}, true, lag{true, 10 * time.Second}, ""},
		"stopped":                   {[]map[string]*string{channel(source, "")}, true, lag{}, "threads"},
		"stopped, and takes writes": {[]map[string]*string{channel(source, "")}, false, noLag, ""},
		"another server":            {[]map[string]*string{{"State": nil}}, true, lag{}, ""},
		"no number":                 {[]map[string]*string{channel(source, "-1")}, true, lag{}, "whole number"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := mysqlLagOf(c.channels, c.readOnly)
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) || got != c.want {
				t.Errorf("%+v, %v, want %+v %s", got, err, c.want, c.fails)
			}
		})
	}
}
