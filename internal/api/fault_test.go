package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/cluster"
)

// A node whose record cannot be trusted answers no question about it. It says why, to probes and people too.
func TestFaultIsReported(t *testing.T) {
	w := apitest.Fleet()
	base := serve(t, w.Options())
	for _, kind := range []string{cluster.FaultState, cluster.FaultStore, cluster.FaultHealing} {
		w.Lock()
		for i := range w.Peers {
			if w.Peers[i].ID == w.ID {
				w.Peers[i].Fault = &cluster.Fault{Kind: kind, Detail: "the reason"}
			}
		}
		w.Unlock()
		for _, path := range []string{"/v1/drift", "/v1/apps", "/v1/apps/x", "/v1/apps/x/explain", "/v1/deas", "/v1/deas/x", "/v1/commands", "/v1/holds", "/v1/recording"} {
			resp, raw := ask(t, "GET", base+path, "")
			if p := problemIn(t, raw); resp.StatusCode != http.StatusServiceUnavailable || p.Type != "urn:hm:problem:"+kind || !strings.Contains(p.Detail, "the reason") {
				t.Errorf("%s: %s: %s %+v", kind, path, resp.Status, p)
			}
		}
		if resp, _ := ask(t, "POST", base+"/bulk_app_state", "[]"); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: the compatibility endpoint answers %s", kind, resp.Status)
		}
		resp, raw := ask(t, "GET", base+"/readyz", "")
		var ready api.Readiness
		if err := json.Unmarshal(raw, &ready); err != nil || resp.StatusCode != http.StatusServiceUnavailable || ready.Ready || !strings.HasPrefix(ready.Reasons[0], kind) {
			t.Errorf("%s: readyz: %s %+v, %v", kind, resp.Status, ready, err)
		}
		var s api.Status
		if _, raw := ask(t, "GET", base+"/v1/status", ""); json.Unmarshal(raw, &s) != nil || s.Cluster.Nodes[0].Fault == nil || s.Cluster.Nodes[0].Fault.Kind != kind {
			t.Errorf("%s: the status shows %+v", kind, s.Cluster.Nodes)
		}
		_, metrics := ask(t, "GET", base+"/metrics", "")
		want := map[bool][]string{true: {"hm_state_differs 1", "hm_store_damaged 0"}, false: {"hm_state_differs 0", "hm_store_damaged 1"}}[kind == cluster.FaultState]
		for _, line := range want {
			if !strings.Contains(string(metrics), line+"\n") {
				t.Errorf("%s: the metrics lack %q", kind, line)
			}
		}
	}
}
