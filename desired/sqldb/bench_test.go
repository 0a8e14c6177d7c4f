package sqldb

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// fillMany puts n started apps into the tables. In v3 each app has two packages and two droplets; the newer ones count.
func (d *database) fillMany(schema string, n int) {
	var from, uuid, text string
	switch d.driver {
	case "postgres":
		from = fmt.Sprintf("generate_series(1, %d) AS s (seq)", n)
		uuid = "substr(md5('%s' || seq), 1, 8) || '-' || substr(md5('%s' || seq), 9, 4) || '-4bbb-8ccc-' || substr(md5('%s' || seq), 13, 12)"
		text = "'%s' || seq"
	case "mysql":
		from = fmt.Sprintf("seq_1_to_%d", n)
		uuid = "concat(substr(md5(concat('%s', seq)), 1, 8), '-', substr(md5(concat('%s', seq)), 9, 4), '-4bbb-8ccc-', substr(md5(concat('%s', seq)), 13, 12))"
		text = "concat('%s', seq)"
	case "sqlite":
		from = fmt.Sprintf("(WITH RECURSIVE c (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM c WHERE seq < %d) SELECT seq FROM c)", n)
		uuid = "printf('%%08x-%.0s%.0saaaa-4bbb-8ccc-%%012x', seq * 2654435761 %% 4294967296, seq + length('%s') * 1000000000)"
		text = "'%s' || seq"
	}
	guid := func(s string) string { return fmt.Sprintf(uuid, s, s, s) }
	word := func(s string) string { return fmt.Sprintf(text, s) }
	old, now := "'2016-01-01 00:00:00'", "'2016-01-02 00:00:00'"
	if d.driver == "postgres" {
		old, now = old+"::timestamp", now+"::timestamp"
	}
	if schema == schemaV2 {
		d.exec("INSERT INTO apps (guid, name, version, instances, state, package_state, created_at, updated_at) SELECT " + guid("a") + ", " + word("app") + ", " + guid("ver") + ", 2, 'STARTED', 'STAGED', " + old + ", " + now + " FROM " + from)
	} else {
		d.exec("INSERT INTO apps (guid, name, droplet_guid, desired_state, created_at, updated_at) SELECT "+guid("a")+", "+word("app")+", "+word("dnew")+", 'STARTED', "+old+", "+now+" FROM "+from,
			"INSERT INTO processes (guid, app_guid, version, instances, state, created_at, updated_at) SELECT "+guid("a")+", "+guid("a")+", "+guid("ver")+", 2, 'STARTED', "+old+", "+now+" FROM "+from)
		for _, age := range []string{"old", "new"} {
			at := map[string]string{"old": old, "new": now}[age]
			d.exec("INSERT INTO packages (guid, app_guid, state, created_at) SELECT "+word("p"+age)+", "+guid("a")+", 'READY', "+at+" FROM "+from,
				"INSERT INTO droplets (guid, app_guid, package_guid, state, created_at) SELECT "+word("d"+age)+", "+guid("a")+", "+word("p"+age)+", 'STAGED', "+at+" FROM "+from)
		}
	}
	switch d.driver {
	case "postgres":
		d.exec("ANALYZE")
	case "mysql":
		if schema == schemaV3 {
			d.exec("ANALYZE TABLE apps, processes, packages, droplets")
		}
	case "sqlite":
		d.exec("ANALYZE")
	}
}

// manyApps is the number of apps to read: 400,000, or HM_TEST_BENCH_APPS for a short run.
var manyApps = func() int {
	if n, err := strconv.Atoi(os.Getenv("HM_TEST_BENCH_APPS")); err == nil && n > 0 {
		return n
	}
	return 400_000
}()

// BenchmarkRead reads 400,000 apps. It reports seconds, additional peak memory, and the ratio to the time in which the
// driver alone reads the same rows, in one statement a table.
func BenchmarkRead(b *testing.B) {
	for _, driver := range drivers {
		for _, schema := range schemas {
			b.Run(driver+"/"+schema, func(b *testing.B) {
				d := openDatabase(b, driver, schema)
				d.fillMany(schema, manyApps)
				s := d.source(b, func(o *Options) { o.BatchSize, o.Timeout = 0, 5*time.Minute })
				var before, m runtime.MemStats
				var peak uint64
				s.afterPage = func(int) { runtime.ReadMemStats(&m); peak = max(peak, m.HeapAlloc) }
				if _, err := s.Read(b.Context()); err != nil { // fills the server's caches
					b.Fatal(err)
				}
				raw := readRaw(b, s)
				runtime.GC()
				runtime.ReadMemStats(&before)
				peak = 0
				b.ResetTimer()
				for b.Loop() {
					read, err := s.Read(b.Context())
					if err != nil || len(read.Apps) != manyApps || len(read.Unreadable) != 0 {
						b.Fatal(len(read.Apps), err)
					}
				}
				b.StopTimer()
				took := b.Elapsed() / time.Duration(b.N)
				b.ReportMetric(took.Seconds(), "s/read")
				b.ReportMetric(raw.Seconds(), "s/raw")
				b.ReportMetric(took.Seconds()/raw.Seconds(), "ratio")
				b.ReportMetric(float64(peak-min(peak, before.HeapAlloc))/(1<<20), "MiB/peak")
			})
		}
	}
}

// readRaw returns how long the driver alone takes to read all rows, in one statement a table.
func readRaw(b *testing.B, s *Source) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	t := s.targets[0]
	c, err := t.connect(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	snap, err := openSnapshot(ctx, t, c, schemaAuto, time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	best := time.Hour
	for range 3 {
		began, n := time.Now(), 0
		statements := []string{snap.plan.page(0, 10*manyApps)}
		if snap.plan.schema == schemaV3 {
			statements = append(statements, snap.plan.artifacts[0]+"IS NOT NULL", snap.plan.artifacts[1]+"IS NOT NULL")
		}
		for _, statement := range statements {
			if err := c.query(ctx, statement, nil, func([][]byte) error { n++; return nil }); err != nil {
				b.Fatal(err)
			}
		}
		if n < manyApps {
			b.Fatal(n)
		}
		best = min(best, time.Since(began))
	}
	return best
}
