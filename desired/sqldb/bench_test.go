package sqldb

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"hm/desired/sqldb/dbtest"
)

// fillMany puts n started apps into the tables. In v3 each app has two packages and two droplets.
func (d *database) fillMany(schema string, n int) { d.fillHistory(schema, n, 2, 2) }

// fillHistory puts n started apps into the tables. In v3 each app has so many packages and droplets; the newest ones
// count. Each droplet is as old as its package.
func (d *database) fillHistory(schema string, n, packages, droplets int) {
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
	day := func(i int) string {
		return fmt.Sprintf("'2016-01-%02d 00:00:00'%s", i, map[string]string{"postgres": "::timestamp"}[d.driver])
	}
	old, now := day(1), day(packages)
	if schema == schemaV2 {
		d.exec("INSERT INTO apps (guid, name, version, instances, state, package_state, created_at, updated_at) SELECT " + guid("a") + ", " + word("app") + ", " + guid("ver") + ", 2, 'STARTED', 'STAGED', " + old + ", " + now + " FROM " + from)
	} else {
		d.exec("INSERT INTO apps (guid, name, droplet_guid, desired_state, created_at, updated_at) SELECT "+guid("a")+", "+word("app")+", "+word(fmt.Sprintf("d%d-", packages))+", 'STARTED', "+old+", "+now+" FROM "+from,
			"INSERT INTO processes (guid, app_guid, version, instances, state, created_at, updated_at) SELECT "+guid("a")+", "+guid("a")+", "+guid("ver")+", 2, 'STARTED', "+old+", "+now+" FROM "+from)
		for i := range packages {
			pack, droplet, at := word(fmt.Sprintf("p%d-", i+1)), word(fmt.Sprintf("d%d-", i+1)), day(i+1)
			d.exec("INSERT INTO packages (guid, app_guid, state, created_at) SELECT " + pack + ", " + guid("a") + ", 'READY', " + at + " FROM " + from)
			if i >= packages-droplets {
				d.exec("INSERT INTO droplets (guid, app_guid, package_guid, state, created_at) SELECT " + droplet + ", " + guid("a") + ", " + pack + ", 'STAGED', " + at + " FROM " + from)
			}
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

// BenchmarkRead reads 400,000 apps from servers with the caches of their default configuration. deep is v3 with five
// packages and three droplets of each app. It reports seconds, the CPU seconds of hm, the additional peak memory, and
// two ratios: to the time in which the driver alone reads the same rows, in one statement a table, and to that for the
// started processes, in the order of their ids.
func BenchmarkRead(b *testing.B) {
	for _, driver := range drivers {
		for _, kind := range []string{schemaV2, schemaV3, "deep"} {
			b.Run(driver+"/"+kind, func(b *testing.B) {
				schema, packages, droplets := kind, 2, 2
				if kind == "deep" {
					schema, packages, droplets = schemaV3, 5, 3
				}
				var server *dbtest.Server
				if driver != "sqlite" {
					server = dbtest.Start(b, driver, dbtest.Options{SmallCache: true})
				}
				d := openDatabaseOn(b, server, driver, schema)
				d.fillHistory(schema, manyApps, packages, droplets)
				s := d.source(b, func(o *Options) { o.BatchSize, o.Timeout = 0, 5*time.Minute })
				var before, m runtime.MemStats
				var peak uint64
				s.afterPage = func(n int) {
					if n%16 == 0 {
						runtime.ReadMemStats(&m)
						peak = max(peak, m.HeapAlloc)
					}
				}
				if _, err := s.Read(b.Context()); err != nil { // fills the server's caches
					b.Fatal(err)
				}
				raw, processes := readRaw(b, s)
				runtime.GC()
				runtime.ReadMemStats(&before)
				peak = 0
				cpu := cpuTime(b)
				var took []time.Duration
				b.ResetTimer()
				for b.Loop() {
					began := time.Now()
					read, err := s.Read(b.Context())
					if err != nil || len(read.Apps) != manyApps || len(read.Unreadable) != 0 {
						b.Fatal(len(read.Apps), err)
					}
					took = append(took, time.Since(began))
				}
				b.StopTimer()
				slices.Sort(took)
				median := took[len(took)/2]
				b.ReportMetric(median.Seconds(), "s/read")
				b.ReportMetric((cpuTime(b)-cpu).Seconds()/float64(b.N), "CPU-s/read")
				b.ReportMetric(raw.Seconds(), "s/raw")
				b.ReportMetric(median.Seconds()/raw.Seconds(), "ratio")
				b.ReportMetric(median.Seconds()/processes.Seconds(), "ratio-to-processes")
				b.ReportMetric(float64(peak-min(peak, before.HeapAlloc))/(1<<20), "MiB/peak")
			})
		}
	}
}

// cpuTime returns the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// readRaw returns how long the driver alone takes to read all rows, in one statement a table, and to read the first
// table, whose rows are the apps of v2 or the processes of v3.
func readRaw(b *testing.B, s *Source) (all, first time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	t := s.targets[0]
	c, err := t.connect(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	snap, err := openSnapshot(ctx, t, c, schemaAuto, 5*time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	all, first = time.Hour, time.Hour
	for range 3 {
		began, n := time.Now(), 0
		statements := []string{snap.plan.page(0, 10*manyApps)}
		if snap.plan.schema == schemaV3 {
			for table := range snap.plan.scans {
				statements = append(statements, snap.plan.scan(table, 0, 10*manyApps))
			}
		}
		for i, statement := range statements {
			if err := c.query(ctx, statement, nil, func([][]byte) error { n++; return nil }); err != nil {
				b.Fatal(err)
			}
			if i == 0 {
				first = min(first, time.Since(began))
			}
		}
		if n < manyApps {
			b.Fatal(n)
		}
		all = min(all, time.Since(began))
	}
	return all, first
}
