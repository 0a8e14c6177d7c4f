package sqldb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hm/desired"
	"hm/internal/app"
)

const (
	goldSegment = "5e900000-0000-4000-8000-00000000901d"
	orgGUID     = "04900000-0000-4000-8000-00000000000b"
	nobody      = "99999999-0000-4000-8000-000000000000"
)

// cells fills a database with apps in two organizations, each with two spaces, and on two stacks. App ors runs in
// organization o, its space s, on stack r.
func (d *database) cells(schema string) {
	d.exec("INSERT INTO organizations (guid, name) VALUES ('org-a', 'a'), ('"+orgGUID+"', 'b')",
		"INSERT INTO spaces (guid, name, organization_id) VALUES ('space-1', '1', 1), ('space-2', '2', 1), ('space-3', '3', 2), ('space-4', '4', 2)",
		"INSERT INTO stacks (guid, name) VALUES ('stack-x', 'lucid64'), ('stack-y', 'cflinuxfs2')")
	if schema == schemaV3 {
		d.exec("INSERT INTO isolation_segments (guid, name) VALUES ('"+sharedSegment+"', 'shared'), ('"+goldSegment+"', 'gold')",
			"UPDATE organizations SET default_isolation_segment_guid = '"+goldSegment+"' WHERE name = 'b'",
			"UPDATE spaces SET isolation_segment_guid = '"+goldSegment+"' WHERE name = '2'",
			"UPDATE spaces SET isolation_segment_guid = '"+sharedSegment+"' WHERE name = '4'")
	}
	for space := range 4 {
		for stack := range 2 {
			guid := fmt.Sprintf("a%d%s", space+1, "xy"[stack:stack+1])
			stackName := []string{"lucid64", "cflinuxfs2"}[stack]
			if schema == schemaV2 {
				d.exec(fmt.Sprintf("INSERT INTO apps (guid, name, version, instances, state, package_state, space_id, stack_id) VALUES ('%s', '%s', 'v', 1, 'STARTED', 'STAGED', %d, %d)",
					guid, guid, space+1, stack+1))
				continue
			}
			d.exec(fmt.Sprintf("INSERT INTO apps (guid, name, droplet_guid, desired_state, space_guid) VALUES ('%s', '%s', 'd-%s', 'STARTED', 'space-%d')", guid, guid, guid, space+1),
				fmt.Sprintf("INSERT INTO processes (guid, app_guid, version, instances, state) VALUES ('%s', '%s', 'v', 1, 'STARTED')", guid, guid),
				fmt.Sprintf("INSERT INTO packages (guid, app_guid, state) VALUES ('p-%s', '%s', 'READY')", guid, guid),
				fmt.Sprintf("INSERT INTO droplets (guid, app_guid, package_guid, state) VALUES ('d-%s', '%s', 'p-%s', 'STAGED')", guid, guid, guid),
				fmt.Sprintf("INSERT INTO buildpack_lifecycle_data (guid, app_guid, stack) VALUES ('b-%s', '%s', '%s')", guid, guid, stackName),
				// The row of a droplet has a stack as well, and it may be an older one.
				fmt.Sprintf("INSERT INTO buildpack_lifecycle_data (guid, droplet_guid, stack) VALUES ('c-%s', 'd-%s', 'lucid64')", guid, guid))
		}
	}
}

// TestFilter: a complete read and the read of one app have what the filter lets through, in every database and in both
// schemas.
func TestFilter(t *testing.T) {
	const all = "a1x a1y a2x a2y a3x a3y a4x a4y"
	for _, driver := range drivers {
		for _, schema := range schemas {
			t.Run(driver+"/"+schema, func(t *testing.T) {
				d := openDatabase(t, driver, schema)
				d.cells(schema)
				for _, c := range []struct {
					name   string
					filter desired.Filter
					want   string
					v3     bool // only there
				}{
					{"none", desired.Filter{}, all, false},
					{"an organization by name", desired.Filter{Organizations: []string{"a"}}, "a1x a1y a2x a2y", false},
					{"an organization by guid", desired.Filter{Organizations: []string{orgGUID}}, "a3x a3y a4x a4y", false},
					{"both organizations", desired.Filter{Organizations: []string{"a", orgGUID}}, all, false},
					{"a stack by name", desired.Filter{Stacks: []string{"lucid64"}}, "a1x a2x a3x a4x", false},
					{"a stack by guid", desired.Filter{Stacks: []string{"stack-y"}}, "a1y a2y a3y a4y", false},
					{"an organization and a stack", desired.Filter{Organizations: []string{"b"}, Stacks: []string{"lucid64"}}, "a3x a4x", false},
					{"a guid that nothing has", desired.Filter{Organizations: []string{nobody}}, "", false},
					{"a guid that nothing has, and another one", desired.Filter{Organizations: []string{nobody, "a"}}, "a1x a1y a2x a2y", false},
					{"a segment by name", desired.Filter{IsolationSegments: []string{"gold"}}, "a2x a2y a3x a3y", true},
					{"a segment by guid", desired.Filter{IsolationSegments: []string{goldSegment}}, "a2x a2y a3x a3y", true},
					{"the shared segment", desired.Filter{IsolationSegments: []string{"shared"}}, "a1x a1y a4x a4y", true},
					{"the shared segment by guid", desired.Filter{IsolationSegments: []string{sharedSegment}}, "a1x a1y a4x a4y", true},
					{"both segments", desired.Filter{IsolationSegments: []string{"shared", "gold"}}, all, true},
					{"all three", desired.Filter{IsolationSegments: []string{"gold"}, Stacks: []string{"cflinuxfs2"}, Organizations: []string{"a"}}, "a2y", true},
				} {
					if c.v3 && schema == schemaV2 {
						continue
					}
					s := d.source(t, func(o *Options) { o.Filter = c.filter })
					read, err := s.Read(t.Context())
					if err != nil {
						t.Fatalf("%s: %v", c.name, err)
					}
					var got []string
					for _, a := range read.Apps {
						got = append(got, a.Key.Droplet.String())
						if a.Package != desired.Staged {
							t.Errorf("%s: %+v", c.name, a)
						}
					}
					if text := strings.Join(got, " "); text != c.want {
						t.Errorf("%s: %s, want %s", c.name, text, c.want)
					}
					if desired.FilterOf(read.Source) != c.filter.String() || desired.FilterOf(s.Name()) != c.filter.String() {
						t.Errorf("%s: the source is %q, and its name %q", c.name, read.Source, s.Name())
					}
					for _, g := range strings.Fields(all) {
						apps, err := s.ReadApp(t.Context(), app.MustGUID(g))
						if err != nil || (len(apps) == 1) != slices.Contains(got, g) {
							t.Errorf("%s: app %s alone: %v, %v", c.name, g, apps, err)
						}
					}
				}
			})
		}
	}
}

// TestFilterThatCannotBeRight: a read fails if a name of the filter is not there, and says which.
func TestFilterThatCannotBeRight(t *testing.T) {
	for _, driver := range drivers {
		for _, schema := range schemas {
			t.Run(driver+"/"+schema, func(t *testing.T) {
				d := openDatabase(t, driver, schema)
				d.cells(schema)
				d.exec("INSERT INTO stacks (guid, name) VALUES ('stack-z', 'it''s')")
				for _, c := range []struct {
					filter desired.Filter
					kind   Kind
					want   string
					schema string // only there; empty: everywhere
				}{
					{desired.Filter{Organizations: []string{"a", "renamed"}}, BadRows, `desired.filter.organizations has "renamed"`, ""},
					{desired.Filter{Stacks: []string{"lucid"}}, BadRows, `desired.filter.stacks has "lucid"`, ""},
					{desired.Filter{Stacks: []string{"' OR '1'='1"}}, BadRows, `desired.filter.stacks has "' OR`, ""},
					{desired.Filter{Stacks: []string{"stack-z"}}, BadRows, "has a character", schemaV3},
					{desired.Filter{IsolationSegments: []string{"gold", "silver"}}, BadRows, `desired.filter.isolation_segments has "silver"`, schemaV3},
					{desired.Filter{IsolationSegments: []string{"gold"}}, Schema, "older than isolation segments", schemaV2},
				} {
					if c.schema != "" && c.schema != schema {
						continue
					}
					s := d.source(t, func(o *Options) { o.Filter = c.filter })
					_, err := s.Read(t.Context())
					var e *Error
					if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(err.Error(), c.want) {
						t.Errorf("%v: %v, want %s: %s", c.filter, err, c.kind, c.want)
					}
					if _, err := s.ReadApp(t.Context(), app.MustGUID("a1x")); err == nil {
						t.Errorf("%v: the read of one app succeeds", c.filter)
					}
				}
				d.exec("DROP TABLE stacks")
				s := d.source(t, func(o *Options) { o.Filter = desired.Filter{Stacks: []string{"lucid64"}} })
				if _, err := s.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "read the table stacks for desired.filter.stacks") {
					t.Errorf("without the table stacks: %v", err)
				}
			})
		}
	}
}
