package sqldb

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// perApp is the definition of what a v3 read returns (D22, D23): for each process of an app, the app's newest droplet
// and newest package, each found by its own statement. %s is the condition that two values differ.
const perApp = `SELECT p.guid, CASE WHEN p.version IS NULL THEN 'unreadable' ELSE 'readable' END, CASE
  WHEN d.guid IS NULL THEN CASE WHEN k.state = 'FAILED' THEN 'FAILED' ELSE 'PENDING' END
  WHEN d.state = 'FAILED' THEN 'FAILED'
  WHEN %s THEN 'PENDING'
  WHEN k.guid IS NULL OR d.package_guid = k.guid OR d.created_at > k.created_at THEN 'STAGED'
  WHEN k.state = 'FAILED' THEN 'FAILED' ELSE 'PENDING' END
  FROM processes p JOIN apps a ON a.guid = p.app_guid %s %s WHERE p.state = 'STARTED' AND p.diego = %s ORDER BY p.id`

// table3 draws the rows of a v3 database and returns the statements that make them.
func table3(t *rapid.T, d *database) []string {
	tables := []string{"apps", "processes", "packages", "droplets"}
	columns := map[string]string{
		"apps": "guid, droplet_guid", "processes": "guid, app_guid, version, state, diego",
		"packages": "guid, app_guid, state, created_at", "droplets": "guid, app_guid, package_guid, state, created_at",
	}
	rows := map[string][]string{}
	add := func(table, format string, args ...any) {
		rows[table] = append(rows[table], fmt.Sprintf(format, args...))
	}
	rarely := func(label string) bool { return rapid.IntRange(0, 11).Draw(t, label) == 0 }
	second := func() string {
		return fmt.Sprintf("'2016-01-01 00:00:0%d'", rapid.IntRange(0, 3).Draw(t, "created"))
	}
	uuid := func(kind string, n int) string { return fmt.Sprintf("%s0000-aaaa-4bbb-8ccc-%012x", kind, n) }
	guids := 0
	quoted := func(kind string) string {
		guids++
		if rarely("no UUID") {
			return fmt.Sprintf("'%s-%d'", kind, guids)
		}
		return "'" + uuid(kind, guids) + "'"
	}
	for n := range rapid.IntRange(1, 6).Draw(t, "apps") {
		guid := uuid("a44a", n)
		text := rarely("text") // hm takes texts in another letter case for different ones, whatever the database does
		if text {
			guid = fmt.Sprintf("text-%d", n)
		}
		of := func() string { // the guid of the app in another table
			switch {
			case !text && rarely("upper case"):
				return "'" + strings.ToUpper(guid) + "'"
			case rarely("NULL"):
				return "NULL"
			case rarely("of no app"):
				return "'" + uuid("f00f", n) + "'"
			}
			return "'" + guid + "'"
		}
		packages, droplets := []string{"NULL", "'of-nothing'"}, []string{"NULL", "'gone'"}
		for range rapid.IntRange(0, 4).Draw(t, "packages") {
			p := quoted("b55b")
			packages = append(packages, p)
			add("packages", "%s, %s, '%s', %s", p, of(), rapid.SampledFrom([]string{"READY", "FAILED"}).Draw(t, "state"), second())
		}
		for range rapid.IntRange(0, 4).Draw(t, "droplets") {
			p := quoted("d66d")
			droplets = append(droplets, p)
			add("droplets", "%s, %s, %s, '%s', %s", p, of(), rapid.SampledFrom(packages).Draw(t, "package"),
				rapid.SampledFrom([]string{"STAGED", "STAGED", "FAILED", "STAGING"}).Draw(t, "state"), second())
		}
		if !rarely("no app") {
			add("apps", "'%s', %s", guid, rapid.SampledFrom(droplets).Draw(t, "current"))
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "processes") {
			version := "'v'"
			if rarely("unreadable") {
				version = "NULL"
			}
			add("processes", "'%s', %s, %s, '%s', %s", uuid(fmt.Sprintf("e77%d", i), n), of(), version,
				rapid.SampledFrom([]string{"STARTED", "STARTED", "STARTED", "STOPPED"}).Draw(t, "state"), d.bool(rarely("diego")))
		}
	}
	var statements []string
	for _, table := range tables {
		statements = append(statements, "DELETE FROM "+table)
		if len(rows[table]) == 0 {
			continue
		}
		var values []string
		id := 0
		for _, row := range rapid.Permutation(rows[table]).Draw(t, table) { // the times are not in the order of the ids
			id += rapid.IntRange(1, 3).Draw(t, "id")
			values = append(values, fmt.Sprintf("(%d, %s)", id, row))
		}
		statements = append(statements, "INSERT INTO "+table+" (id, "+columns[table]+") VALUES "+strings.Join(values, ", "))
	}
	return statements
}

// For any rows, a read by scans, by look-ups or by both, in passes and pages of any size, returns what the statement
// says that looks at each app for itself.
func TestReadIsThatOfEachApp(t *testing.T) {
	differ := map[string]string{"sqlite": "a.droplet_guid IS NOT d.guid", "postgres": "a.droplet_guid IS DISTINCT FROM d.guid",
		"mysql": "NOT (a.droplet_guid <=> d.guid)"}
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			d := openDatabase(t, driver, schemaV3)
			statement := fmt.Sprintf(perApp, differ[driver], newestOf("droplets", "d"), newestOf("packages", "k"), d.bool(false))
			s := d.source(t)
			c, err := s.targets[0].connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			rapid.Check(t, func(rt *rapid.T) {
				d.exec(table3(rt, d)...)
				var want, got []string
				err := c.query(rt.Context(), statement, nil, func(v [][]byte) error {
					switch {
					case string(v[2]) == "FAILED":
					case string(v[1]) == "readable":
						want = append(want, fmt.Sprintf("%s %s", v[0], v[2]))
					default:
						want = append(want, fmt.Sprintf("%s unreadable", v[0]))
					}
					return nil
				})
				if err != nil {
					rt.Fatal(err)
				}
				s.options.BatchSize = rapid.IntRange(1, 8).Draw(rt, "page")
				s.appsAtOnce = rapid.IntRange(1, 12).Draw(rt, "pass")
				s.scanRows = rapid.SampledFrom([]int{0, 1, scanRows}).Draw(rt, "rows")
				read, err := s.Read(rt.Context())
				if err != nil {
					rt.Fatal(err)
				}
				for _, a := range read.Apps {
					got = append(got, fmt.Sprintf("%s %s", a.Key.Droplet, a.Package))
				}
				for _, g := range read.Unreadable {
					got = append(got, fmt.Sprintf("%s unreadable", g))
				}
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					rt.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		})
	}
}
