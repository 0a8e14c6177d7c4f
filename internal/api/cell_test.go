package api_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/raftfsm"
)

// TestWhatIsLeftAloneIsNoDrift: instances that may be another cell's are counted and listed as such (R65), and nowhere as
// drift.
func TestWhatIsLeftAloneIsNoDrift(t *testing.T) {
	w := apitest.New()
	row := desired.App{Key: apitest.Steady, Instances: 2, State: desired.Started, Package: desired.Staged}
	w.Must(apitest.Start, raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{row}}, raftfsm.DesiredCommit{
		Generation: 1, Parts: 1, Source: desired.Filtered("sql sqlite ccdb", desired.Filter{Stacks: []string{"lucid64"}}),
	})
	w.Must(apitest.Start.Add(time.Second), raftfsm.DEAChanges{DEA: "1-dea", Upserts: []actual.Instance{
		apitest.Instance(apitest.Steady, 1, 0, actual.Running), // index 1 is missing
		apitest.Instance(apitest.Extra, 2, 0, actual.Running), apitest.Instance(apitest.Extra, 3, 1, actual.Running),
		apitest.Instance(apitest.Double, 4, 0, actual.Evacuating), apitest.Instance(apitest.Double, 5, 1, actual.Crashed),
	}})
	base := serve(t, w.Options())
	for query, want := range map[string]string{
		"":                              "missing",
		"kind=missing":                  "missing",
		"kind=undesired":                "",
		"kind=foreign":                  "foreign foreign foreign",
		"kind=foreign&filter=index%3D1": "foreign",
		"kind=foreign&sort=-app":        "foreign foreign foreign",
		"filter=rule%3DR65":             "",
		"sort=-app":                     "missing",
	} {
		items, _ := pages[api.DriftItem](t, base, "/v1/drift?"+query, nil)
		var kinds []string
		for _, d := range items {
			kinds = append(kinds, d.Kind)
			if d.Kind == "foreign" && (d.Rule != "R65" || d.Action != "none" || !strings.Contains(d.Detail, "another cell may have it")) {
				t.Errorf("%s: %+v", query, d)
			}
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("drift?%s: %s, want %s", query, got, want)
		}
	}
	text := func(path string) string {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	for path, want := range map[string]string{
		"/v1/status": `"undesired":0,"foreign":3,`,
		"/metrics":   `hm_drift{kind="foreign"} 3`,
		fmt.Sprintf("/v1/apps/%s/explain", apitest.Extra.Droplet): `2 left alone: another cell may have it`,
	} {
		if got := text(path); !strings.Contains(got, want) {
			t.Errorf("%s has no %s:\n%s", path, want, got)
		}
	}
	if got := text("/metrics"); !strings.Contains(got, "hm_number_of_undesired_running_apps 0") {
		t.Error("an app of another cell counts as undesired")
	}
}
