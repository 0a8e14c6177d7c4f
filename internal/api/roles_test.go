package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
)

// TestRoles: a reader may look and not change, whichever node it asks.
func TestRoles(t *testing.T) {
	leader, follower := apitest.Fleet(), apitest.Fleet()
	with := func(w *apitest.Node) api.Options {
		o := w.Options()
		o.Username, o.Password, o.ReadUsername, o.ReadPassword = "amy", "secret", "rob", "looking"
		return o
	}
	bases := map[string]string{"leader": serve(t, with(leader))}
	follower.Follow("hm-2", "hm-1", writesOf(leader))
	bases["follower"] = serve(t, with(follower))
	for node, base := range bases {
		for _, c := range []struct {
			method, path, body string
			reader, admin      int
		}{
			{"GET", "/v1/status", "", 200, 200},
			{"GET", "/metrics", "", 200, 200},
			{"GET", "/nothing", "", 404, 404},
			{"POST", "/bulk_app_state", "[]", 200, 200},
			{"POST", "/v1/holds", `{"name":"x"}`, 403, 201},
			{"DELETE", "/v1/holds/x", "", 403, 204},
			{"GET", "/v1/recording", "", 403, 404},
			{"POST", "/v1/recording/x/state", "", 403, 404},
		} {
			for user, want := range map[string]int{"rob:looking": c.reader, "amy:secret": c.admin} {
				req, err := http.NewRequest(c.method, base+c.path, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				name, password, _ := strings.Cut(user, ":")
				req.SetBasicAuth(name, password)
				resp, raw := ask(t, c.method, base+c.path, c.body, "Authorization", req.Header.Get("Authorization"))
				if resp.StatusCode != want {
					t.Errorf("%s: %s %s by %s: %d, want %d: %s", node, c.method, c.path, user, resp.StatusCode, want, raw)
				}
				if want == 403 {
					var p api.Problem
					if err := json.Unmarshal(raw, &p); err != nil || p.Type != "urn:hm:problem:forbidden" || !strings.Contains(p.Detail, "rob may only read") || p.Hint == "" {
						t.Errorf("%s: %s %s: %s %v", node, c.method, c.path, raw, err)
					}
				}
			}
		}
	}
}
