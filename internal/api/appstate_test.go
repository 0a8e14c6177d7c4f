package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/raftfsm"
)

func asked(keys ...app.Key) string {
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf(`{"droplet":%q,"version":%q}`, k.Droplet, k.Version))
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func one(k app.Key) []byte { return []byte(strings.Trim(asked(k), "[]")) }

func TestAppState(t *testing.T) {
	view := apitest.Fleet().View()
	for name, c := range map[string]struct {
		fresh   bool
		request string
		golden  string // empty: {}
	}{
		"N41 an app with crashes":         {true, string(one(apitest.Crashy)), "app_state.json"},
		"N38 stale":                       {false, string(one(apitest.Crashy)), ""},
		"N38 no JSON":                     {true, `{`, ""},
		"N38 mistyped":                    {true, `{"droplet":1,"version":2}`, ""},
		"N38 empty":                       {true, ``, ""},
		"N38 unknown":                     {true, `{"droplet":"x","version":"y"}`, ""},
		"N38 not a guid":                  {true, `{"droplet":"a b","version":""}`, ""},
		"N41 desired without an instance": {true, string(one(apitest.Staging)), ""},
		"another version":                 {true, string(one(apitest.Key(9, 2))), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := api.AppState(view, c.fresh, api.Wall{}, []byte(c.request))
			if c.golden != "" {
				golden(t, c.golden, indent(t, got))
			} else if string(got) != "{}" {
				t.Errorf("%s, want {}", got)
			}
		})
	}
}

// A Cloud Controller looks for the letter case that it asked in.
func TestAppStateInUpperCase(t *testing.T) {
	view := apitest.Fleet().View()
	small := one(apitest.Crashy)
	capitals := bytes.ReplaceAll(bytes.ToUpper(small), []byte(`"DROPLET":`), []byte(`"droplet":`))
	capitals = bytes.ReplaceAll(capitals, []byte(`"VERSION":`), []byte(`"version":`))
	droplet, version := apitest.Crashy.Droplet.String(), apitest.Crashy.Version.String()
	spelled := strings.NewReplacer(droplet, strings.ToUpper(droplet), version, strings.ToUpper(version))
	want := spelled.Replace(string(api.AppState(view, true, api.Wall{}, small)))
	if got := string(api.AppState(view, true, api.Wall{}, capitals)); got != want || got == "{}" {
		t.Errorf("one app: %s, want %s", got, want)
	}
	both := string(api.AppStateBulk(view, true, api.Wall{}, fmt.Appendf(nil, "[%s,%s]", small, capitals)))
	for _, part := range []string{`"` + droplet + `":{`, `"` + strings.ToUpper(droplet) + `":` + want} {
		if !strings.Contains(both, part) {
			t.Errorf("both spellings: %s is not in %s", part, both)
		}
	}
}

func TestAppStateBulk(t *testing.T) {
	w := apitest.Fleet()
	base := serve(t, w.Options())
	both := asked(apitest.Crashy, apitest.Steady, apitest.Staging, app.Key{Droplet: app.MustGUID("x"), Version: app.MustGUID("y")}, apitest.Key(9, 2), apitest.Moved)
	for name, c := range map[string]struct {
		request, golden string
	}{
		"N39 found and not found": {both, "app_state_bulk.json"},
		"N40 nothing asked":       {`[]`, ""},
		"N40 no body":             {``, ""},
		"N40 no JSON":             {`[{]`, ""},
		"N40 an object":           {string(one(apitest.Crashy)), ""},
		"N40 nothing found":       {asked(apitest.Staging), ""},
		"too large a body":        {"[" + strings.Repeat(" ", 5<<20) + "]", ""},
		"too many":                {"[" + strings.Repeat(`{},`, 20_001) + "{}]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			resp, raw := ask(t, "POST", base+"/bulk_app_state", c.request)
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
			}
			if c.golden != "" {
				golden(t, c.golden, indent(t, raw))
			} else if string(raw) != "{}" {
				t.Errorf("%s, want {}", raw)
			}
			if len(c.request) < 1<<20 {
				if direct := api.AppStateBulk(w.View(), true, wallOf(), []byte(c.request)); !bytes.Equal(direct, raw) {
					t.Errorf("over NATS the answer differs: %s", direct)
				}
			}
		})
	}
	w.Lock()
	w.Over.ActualFresh = false
	w.Unlock()
	if _, raw := ask(t, "POST", base+"/bulk_app_state", both); string(raw) != "{}" {
		t.Errorf("N40 stale: %s, want {}", raw)
	}
	if resp, _ := ask(t, "GET", base+"/bulk_app_state", ""); resp.StatusCode != 405 {
		t.Errorf("GET gives %d, want 405", resp.StatusCode)
	}
}

// wallOf gives the Wall that a server of a Fleet uses.
func wallOf() api.Wall { return api.WallOf(apitest.WallLead) }

// TestACloudControllerReadsAppState decodes an answer as a Cloud Controller does (N42).
func TestACloudControllerReadsAppState(t *testing.T) {
	w := apitest.New()
	k := app.Key{Droplet: app.MustGUID(`we"ird\app`), Version: app.MustGUID("v-1")}
	w.Must(apitest.Start, raftfsm.DEAChanges{DEA: `0-"d"`, Upserts: []actual.Instance{
		{App: k, GUID: app.MustGUID("i"), Index: 3, State: actual.Crashed, Since: 1_500_000_000_250},
		{App: k, GUID: app.MustGUID("j"), Index: 4, State: actual.Running, Since: 1_500_000_001_000},
	}})
	c := commands.Command{Action: commands.Start, App: k, Index: 3, Reason: commands.ReasonCrashed, State: commands.Pending, CrashCount: 1, Crashed: app.MustGUID("i")}
	c.ID = commands.NewID(c)
	w.Must(apitest.Start.Add(1999*time.Millisecond), raftfsm.CommandsScheduled{Commands: []commands.Command{c}})
	request, err := json.Marshal(map[string]string{"droplet": k.Droplet.String(), "version": k.Version.String()})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Droplet            string
		Version            string
		InstanceHeartbeats []struct {
			Droplet, Version, Instance, State string
			Index                             int
			StateTimestamp                    float64 `json:"state_timestamp"`
			DEAGUID                           string  `json:"dea_guid"`
		} `json:"instance_heartbeats"`
		CrashCounts []struct {
			Droplet, Version string
			InstanceIndex    int   `json:"instance_index"`
			CrashCount       int   `json:"crash_count"`
			CreatedAt        int64 `json:"created_at"`
		} `json:"crash_counts"`
	}
	raw := api.AppState(w.View(), true, wallOf(), request)
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	if got.Droplet != k.Droplet.String() || len(got.InstanceHeartbeats) != 2 || len(got.CrashCounts) != 1 {
		t.Fatalf("%+v", got)
	}
	if h := got.InstanceHeartbeats[0]; h.StateTimestamp != 1_500_000_000.25 || h.DEAGUID != `0-"d"` || h.Index != 3 || h.State != "CRASHED" || h.Droplet != k.Droplet.String() {
		t.Errorf("%+v", h)
	}
	if h := got.CrashCounts[0]; h.CreatedAt != 1_700_000_001+3600 || h.CrashCount != 1 || h.InstanceIndex != 3 {
		t.Errorf("%+v", h)
	}
}

func FuzzAppStateBulk(f *testing.F) {
	view := apitest.Fleet().View()
	f.Add([]byte(asked(apitest.Crashy, apitest.Moved)))
	f.Add([]byte(`[{"droplet":"a","version":null},{"droplet":"\u0000"}]`))
	f.Add([]byte(`[[]]`))
	f.Fuzz(func(t *testing.T, request []byte) {
		for _, answer := range [][]byte{api.AppStateBulk(view, true, api.Wall{}, request), api.AppState(view, true, api.Wall{}, request)} {
			var object map[string]any
			if err := json.Unmarshal(answer, &object); err != nil {
				t.Fatalf("%q gives %q: %v", request, answer, err)
			}
		}
	})
}
