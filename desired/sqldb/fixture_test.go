package sqldb

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"hm/desired"
	"hm/internal/app"
)

var update = flag.Bool("update", false, "update the golden files")

const golden = "../../testdata/ccdb/golden.txt"

// newest is the time of the newest row of the fixture.
var newest = map[string]string{schemaV2: "2016-01-01 00:00:30", schemaV3: "2016-01-01 00:00:40"}

func table(read desired.Read) string {
	var b strings.Builder
	for _, a := range read.Apps {
		fmt.Fprintf(&b, "%s %s %d %s %s\n", a.LetterCase.Droplet.Spell(a.Key.Droplet), a.LetterCase.Version.Spell(a.Key.Version), a.Instances, a.State, a.Package)
	}
	for _, g := range read.Unreadable {
		fmt.Fprintf(&b, "%s unreadable\n", g)
	}
	return b.String()
}

// The same apps give the same desired state in every database, in both schemas and with every page size.
func TestFixture(t *testing.T) {
	want, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for _, driver := range drivers {
		for _, schema := range schemas {
			t.Run(driver+"/"+schema, func(t *testing.T) {
				d := openDatabase(t, driver, schema)
				d.fill(schema, readFixture(t))
				for _, batch := range []int{1, 5, 5000} {
					s := d.source(t, func(o *Options) { o.BatchSize = batch })
					read, err := s.Read(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					got := table(read)
					if *update {
						want = []byte(got)
						if err := os.WriteFile(golden, want, 0o644); err != nil {
							t.Fatal(err)
						}
					}
					if got != string(want) {
						t.Errorf("batches of %d give\n%swant\n%s", batch, got, want)
					}
					if !strings.HasPrefix(read.Source, "sql "+driver+" ") {
						t.Errorf("source is %q", read.Source)
					}
					if st := s.Stats(); st.Schema != schema || st.Reads != 1 || st.LastApps != len(read.Apps) || st.LastPages < 2 || !strings.HasPrefix(st.Newest, newest[schema]) {
						t.Errorf("stats: %+v", st)
					}
					readApps(t, s, read)
				}
			})
		}
	}
}

// readApps reads every app of the fixture separately and compares it with the complete read.
func readApps(t *testing.T, s *Source, read desired.Read) {
	t.Helper()
	want := map[string]desired.App{}
	for _, a := range read.Apps {
		want[a.Key.Droplet.String()] = a
	}
	unreadable := fmt.Sprint(read.Unreadable)
	for _, f := range readFixture(t) {
		got, err := s.ReadApp(t.Context(), app.MustGUID(f.GUID))
		a, there := want[app.MustGUID(f.GUID).String()]
		switch {
		case strings.Contains(unreadable, f.GUID):
			if err == nil || got != nil {
				t.Errorf("app %s: %v, %v; want an error, the row is unreadable", f.GUID, got, err)
			}
		case err != nil, there != (len(got) == 1), there && got[0] != a, len(got) > 1:
			t.Errorf("app %s: %v, %v; want %v %v", f.GUID, got, err, there, a)
		}
	}
	if got, err := s.ReadApp(t.Context(), app.MustGUID("abcdef01-aaaa-4bbb-8ccc-000000000024")); err != nil || len(got) != 1 || got[0].LetterCase.Droplet.Spell(got[0].Key.Droplet) != "ABCDEF01-AAAA-4BBB-8CCC-000000000024" {
		t.Errorf("an app whose guid is in upper case: %v, %v", got, err)
	}
	if got, err := s.ReadApp(t.Context(), app.MustGUID("00000000-0000-0000-0000-00000000dead")); err != nil || len(got) != 0 {
		t.Errorf("an app that does not exist: %v, %v", got, err)
	}
}
