package sqldb

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// newestOf joins an app's newest row of a table, as the reference statement for the Cloud Controller does (D23).
func newestOf(table, alias string) string {
	return fmt.Sprintf("LEFT JOIN %[1]s %[2]s ON %[2]s.id = (SELECT x.id FROM %[1]s x WHERE x.app_guid = a.guid ORDER BY x.created_at DESC, x.id DESC LIMIT 1)", table, alias)
}

var byStatement = `SELECT p.guid || ' ' || CASE
  WHEN d.guid IS NULL THEN CASE WHEN k.state = 'FAILED' THEN 'FAILED' ELSE 'PENDING' END
  WHEN d.state = 'FAILED' THEN 'FAILED'
  WHEN a.droplet_guid IS NOT d.guid THEN 'PENDING'
  WHEN k.guid IS NULL OR d.package_guid = k.guid OR d.created_at > k.created_at THEN 'STAGED'
  WHEN k.state = 'FAILED' THEN 'FAILED' ELSE 'PENDING' END
  FROM processes p JOIN apps a ON a.guid = p.app_guid ` + newestOf("droplets", "d") + " " + newestOf("packages", "k") + ` WHERE p.state = 'STARTED' AND p.diego = 0 ORDER BY p.guid`

// For any droplets and packages, created in any order, hm computes the package state that the statement of D23 returns.
func TestPackageStateIsThatOfTheStatement(t *testing.T) {
	d := openDatabase(t, "sqlite", schemaV3)
	s := d.source(t)
	rapid.Check(t, func(rt *rapid.T) {
		d.exec("DELETE FROM processes", "DELETE FROM apps", "DELETE FROM droplets", "DELETE FROM packages")
		second := func(label string) string {
			return fmt.Sprintf("'2016-01-01 00:00:0%d'", rapid.IntRange(0, 4).Draw(rt, label))
		}
		guid := 0
		for n := range rapid.IntRange(1, 4).Draw(rt, "apps") {
			packages := []string{"NULL", "'of-nothing'"}
			for range rapid.IntRange(0, 3).Draw(rt, "packages") {
				guid++
				packages = append(packages, fmt.Sprintf("'p%d'", guid))
				d.exec(fmt.Sprintf("INSERT INTO packages (guid, app_guid, state, created_at) VALUES ('p%d', 'a%d', '%s', %s)", guid, n,
					rapid.SampledFrom([]string{"READY", "FAILED", "PROCESSING_UPLOAD"}).Draw(rt, "state"), second("created")))
			}
			droplets := []string{"NULL", "'gone'"}
			for range rapid.IntRange(0, 3).Draw(rt, "droplets") {
				guid++
				droplets = append(droplets, fmt.Sprintf("'d%d'", guid))
				d.exec(fmt.Sprintf("INSERT INTO droplets (guid, app_guid, package_guid, state, created_at) VALUES ('d%d', 'a%d', %s, '%s', %s)", guid, n,
					rapid.SampledFrom(packages).Draw(rt, "package"), rapid.SampledFrom([]string{"STAGED", "FAILED", "STAGING", "EXPIRED"}).Draw(rt, "state"), second("created")))
			}
			if rapid.IntRange(0, 9).Draw(rt, "app row") > 0 { // a process without its app is not returned
				d.exec(fmt.Sprintf("INSERT INTO apps (guid, droplet_guid) VALUES ('a%d', %s)", n, rapid.SampledFrom(droplets).Draw(rt, "current")))
			}
			d.exec(fmt.Sprintf("INSERT INTO processes (guid, app_guid, version, state) VALUES ('a%d', 'a%d', 'v', '%s')", n, n, rapid.SampledFrom([]string{"STARTED", "STARTED", "STOPPED"}).Draw(rt, "state")))
		}
		c, err := s.targets[0].connect(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		defer c.close()
		var want strings.Builder
		err = c.query(t.Context(), byStatement, nil, func(v [][]byte) error {
			if !strings.HasSuffix(string(v[0]), " FAILED") {
				fmt.Fprintf(&want, "%s\n", v[0])
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		read, err := s.Read(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		var got strings.Builder
		for _, a := range read.Apps {
			fmt.Fprintf(&got, "%s %s\n", a.Key.Droplet, a.Package)
		}
		if got.String() != want.String() {
			rt.Fatalf("got\n%swant\n%s", got.String(), want.String())
		}
	})
}
