package api_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/api/apitest"
	"hm/raftfsm"
)

// sources gives the code of the package without its tests.
func sources(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "profiles.go" { // the profiles of Go are not part of the API
			continue
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	return all.String()
}

var tagged = []string{
	"/v1/apps", "/v1/apps?filter=drift=any&sort=-drift", "/v1/drift", "/v1/deas", "/v1/deas?filter=state=silent", "/v1/commands", "/v1/holds",
	"/v1/apps/a0000003", "/v1/apps/a0000003/explain", "/v1/apps/a0000002/explain", "/v1/apps/a0000001", "/v1/deas/1-dea-one",
}

// withoutTimes gives an answer without its basis and without the times that pass by themselves.
func withoutTimes(t *testing.T, raw []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range []string{"basis", "last_heard", "due_in_ms", "running_ms"} {
				delete(v, name)
			}
			for _, x := range v {
				strip(x)
			}
		case []any:
			for _, x := range v {
				strip(x)
			}
		}
	}
	strip(v)
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestEqualTagsMeanEqualAnswers changes everything on which an answer depends, also without an entry of the log: gate,
// holds, silence, what cannot be read, and the time. Two answers with the same tag say the same, but for the times that
// pass by themselves; and what does not change at all keeps its tag.
func TestEqualTagsMeanEqualAnswers(t *testing.T) {
	t.Parallel()
	w := apitest.WithUnreadable()
	base := serve(t, w.Options())
	random := rand.New(rand.NewPCG(7, 1))
	seen := map[string]map[string]string{}
	same, different := 0, 0
	for step := range 24 {
		w.Lock()
		at := w.At
		w.Unlock()
		change := "nothing"
		switch step % 10 {
		case 0:
		case 1:
			change = "a minute"
			w.Lock()
			w.At = at.Add(time.Duration(random.IntN(60)) * time.Second)
			w.Unlock()
		case 2:
			change = "a heartbeat"
			w.Lock()
			w.HeardAt["1-dea-one"] = at
			w.Unlock()
		case 3:
			change = "an instance"
			w.Must(at, raftfsm.DEAChanges{DEA: "1-dea-one", Upserts: []actual.Instance{apitest.Instance(apitest.Gappy, 900+step, uint32(random.IntN(4)), actual.State(1+random.IntN(4)))}})
		case 4:
			change = "the gate closes"
			w.CloseGate("nats-down")
		case 5:
			change = "the gate opens"
			w.Lock()
			w.Over.GateOpen, w.Over.GateReasons = true, nil
			w.Unlock()
		case 6:
			change = "a hold"
			w.Must(at, raftfsm.HoldSet{Hold: raftfsm.Hold{Name: fmt.Sprint("h", step), SetAt: at}})
		case 7:
			change = "trouble"
			w.Lock()
			delete(w.Troubles, "1-dea-two")
			delete(w.UnplacedSince, apitest.Gappy)
			w.Unlock()
		case 8:
			change = "a DEA is gone"
			w.Apply(at, raftfsm.DEAsGone{DEAs: []string{"1-dea-two"}})
		case 9:
			change = "a limit"
			w.Lock()
			w.Over.StartsLimited = !w.Over.StartsLimited
			w.Unlock()
		}
		for _, path := range tagged {
			resp, raw := ask(t, "GET", base+path, "", "Accept", "application/json")
			tag := resp.Header.Get("ETag")
			if resp.StatusCode != 200 || !strings.HasPrefix(tag, `W/"`) {
				t.Fatalf("%s: %d, tag %q", path, resp.StatusCode, tag)
			}
			if seen[path] == nil {
				seen[path] = map[string]string{}
			}
			says := resp.Header.Get("X-Hm-Gate") + withoutTimes(t, raw)
			if before, ok := seen[path][tag]; ok {
				same++
				if before != says {
					t.Fatalf("%s after %s has the tag of another answer:\n%s\n%s", path, change, before, says)
				}
			} else {
				different++
				for other, before := range seen[path] {
					if before == says && !strings.Contains(path, "sort") { // a cursor may differ
						t.Errorf("%s after %s says the same under the tags %s and %s", path, change, other, tag)
					}
				}
			}
			seen[path][tag] = says
			if step%8 != 0 {
				continue
			}
			again, none := ask(t, "GET", base+path, "", "Accept", "application/json", "If-None-Match", `"x", `+tag)
			if again.StatusCode != http.StatusNotModified || len(none) > 0 || again.Header.Get("ETag") != tag || again.Header.Get("X-Hm-At") == "" {
				t.Errorf("%s with its tag: %d, %d bytes, %v", path, again.StatusCode, len(none), again.Header)
			}
		}
	}
	t.Logf("%d answers had a tag that was seen before, %d a new one", same, different)
	if same < 60 || different < 30 {
		t.Error("the test changes too much or too little")
	}
}
