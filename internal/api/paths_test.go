package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"hm/actual"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/raftfsm"
)

// unusualIDs are ids that would change a path if they were not escaped.
var unusualIDs = []string{
	".", "..", "...", "../..", "a/b", "/", "//", "a//b", "/a", "a/", "a/../b", "a/./b", "explain", "x/explain", "%", "%2F", "%2e%2e", "%zz",
	"-weird/id", "--index", "a?b=c", "a#b", "a+b", "a&b;c=d", `a\b`, `"quoted"`, "{guid}", "a:b", "http://x", "~", "a/3", "weird/0",
}

// Every id that can be recorded can be asked for, with the client and without.
func TestUnusualIDsAreAddressed(t *testing.T) {
	w := apitest.Fleet()
	for i, id := range unusualIDs {
		k := app.Key{Droplet: app.MustGUID(id), Version: app.MustGUID("v-" + id)}
		w.Must(apitest.Start, raftfsm.DEAChanges{DEA: "odd " + id, Upserts: []actual.Instance{apitest.Instance(k, 100+i, 3, actual.Running)}},
			raftfsm.DEAChanges{DEA: id, Upserts: nil})
	}
	base := serve(t, w.Options())
	client, err := api.NewClient(api.ClientOptions{Addr: base})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, id := range unusualIDs {
		if a, _, err := client.App(t.Context(), id, "3"); err != nil || a.App != id || len(a.Versions) != 1 || len(a.Versions[0].Instances) != 1 {
			t.Errorf("app %q: %+v, %v", id, a, err)
		}
		if e, _, err := client.Explain(t.Context(), id, ""); err != nil || e.App != id {
			t.Errorf("explaining app %q: %+v, %v", id, e, err)
		}
		for _, dea := range []string{id, "odd " + id} {
			if d, _, err := client.DEA(t.Context(), dea); err != nil || d.DEA != dea {
				t.Errorf("DEA %q: %+v, %v", dea, d, err)
			}
		}
		if l, err := client.Drift(t.Context(), id, "", 0); err != nil || len(l.Items) != 1 || l.Items[0].App != id {
			t.Errorf("drift of app %q: %+v, %v", id, l, err)
		}
		if _, err := client.Commands(t.Context(), id, 0); err != nil {
			t.Errorf("commands of app %q: %v", id, err)
		}
	}
	resp, raw := ask(t, http.MethodGet, base+"/v1/apps/%2E%2E/explain?index=3", "")
	var e api.Explanation
	if err := json.Unmarshal(raw, &e); err != nil || resp.StatusCode != http.StatusOK || e.App != ".." {
		t.Errorf("an app of the name .. asked for by hand: %s %s", resp.Status, raw)
	}
}

// A guid, or its beginning, names an app in capital letters, too.
func TestAppsAreFoundInUpperCase(t *testing.T) {
	base := serve(t, apitest.Fleet().Options())
	client, err := api.NewClient(api.ClientOptions{Addr: base})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	guid := apitest.Gappy.Droplet.String()
	for _, text := range []string{strings.ToUpper(guid), strings.ToUpper(guid[:9]), "A" + guid[1:12]} {
		if a, _, err := client.App(t.Context(), text, ""); err != nil || a.App != guid {
			t.Errorf("app %s: %+v, %v", text, a, err)
		}
		if e, _, err := client.Explain(t.Context(), text, "1"); err != nil || e.App != guid {
			t.Errorf("explaining app %s: %+v, %v", text, e, err)
		}
		if l, err := client.Drift(t.Context(), text, "", 0); err != nil || len(l.Items) == 0 || l.Items[0].App != guid {
			t.Errorf("drift of app %s: %+v, %v", text, l, err)
		}
		if l, err := client.Commands(t.Context(), text, 0); err != nil || len(l.Items) == 0 {
			t.Errorf("commands of app %s: %+v, %v", text, l, err)
		}
	}
}
