package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
)

// TestADEASaysWhatRunsOnItAndWhoHearsIt: the list and the DEA itself count its instances by state, and name a DEA that
// only a peer hears.
func TestADEASaysWhatRunsOnItAndWhoHearsIt(t *testing.T) {
	w := apitest.Fleet()
	w.At = w.At.Add(time.Hour) // both DEAs have been silent since
	w.Over.MissedDEAs = map[string]app.Time{"1-dea-two": w.At}
	base := serve(t, w.Options())
	want := map[string]api.InstanceCounts{
		"1-dea-one": {Running: 6, Crashed: 1, Evacuating: 1}, "1-dea-two": {Running: 4, Starting: 1}, "2-dea-three": {},
	}
	var list []api.DEA
	if _, raw := ask(t, "GET", base+"/v1/deas", ""); json.Unmarshal(raw, &list) != nil || len(list) != len(want) {
		t.Fatalf("%s", raw)
	}
	for _, d := range list {
		var one api.DEA
		if _, raw := ask(t, "GET", base+"/v1/deas/"+d.DEA, ""); json.Unmarshal(raw, &one) != nil {
			t.Fatalf("%s", raw)
		}
		for _, got := range []api.DEA{d, one} {
			if got.States != want[d.DEA] || got.HeardByPeer != (d.DEA == "1-dea-two") {
				t.Errorf("%s: %+v, heard by a peer: %v; want %+v", d.DEA, got.States, got.HeardByPeer, want[d.DEA])
			}
		}
	}
}
