package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// serve opens a server that ends with the test.
func serve(t *testing.T, o api.Options) string {
	t.Helper()
	_, base := serveWith(t, o)
	return base
}

// serveWith is serve. It also gives the server.
func serveWith(t *testing.T, o api.Options) (*api.Server, string) {
	t.Helper()
	s, err := api.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, "http://" + s.Addr()
}

// ask makes one request and gives the answer with its body.
func ask(t *testing.T, method, url, body string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	asDescribed(t, req, resp, raw)
	return resp, raw
}

var hash = regexp.MustCompile(`"state_hash": "[0-9a-f]*"`)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test ./internal/api -update rewrites it):\n%s", file, got)
	}
}

func indent(t *testing.T, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, raw)
	}
	return hash.ReplaceAll(b.Bytes(), []byte(`"state_hash": "HASH"`))
}

func TestAnswers(t *testing.T) {
	base := serve(t, apitest.Fleet().Options())
	closed := apitest.Fleet()
	closed.CloseGate("nats-down", "actual-stale")
	held := serve(t, closed.Options())
	odd := serve(t, apitest.WithUnreadable().Options())
	shadow := serve(t, apitest.Shadow().Options())
	for _, c := range []struct {
		name, url string
		status    int
	}{
		{"status", base + "/v1/status", 200},
		{"status_closed", held + "/v1/status", 200},
		{"drift", base + "/v1/drift", 200},
		{"drift_held", held + "/v1/drift?kind=missing", 200},
		{"drift_app", base + "/v1/drift?app=a0000003", 200},
		{"drift_kind_unknown", base + "/v1/drift?kind=mising", 400},
		{"drift_parameter_unknown", base + "/v1/drift?knd=missing", 400},
		{"drift_cursor_bad", base + "/v1/drift?cursor=abc", 400},
		{"drift_limit_bad", base + "/v1/drift?limit=0", 400},
		{"apps", base + "/v1/apps", 200},
		{"apps_filtered", base + "/v1/apps?filter=drift=missing|crashed&sort=-crashes", 200},
		{"apps_filter_bad", base + "/v1/apps?filter=drift=mising", 400},
		{"apps_sort_bad", base + "/v1/apps?sort=colour", 400},
		{"drift_filtered", base + "/v1/drift?filter=dea=1-dea-two", 200},
		{"deas_silent", base + "/v1/deas?filter=state=silent|gone&sort=-silence", 200},
		{"commands_sorted", base + "/v1/commands?sort=-due", 200},
		{"app", base + "/v1/apps/" + apitest.Crashy.Droplet.String(), 200},
		{"app_prefix_ambiguous", base + "/v1/apps/a0000", 409},
		{"app_unknown", base + "/v1/apps/zzz", 404},
		{"app_index", base + "/v1/apps/a0000001?index=1", 200},
		{"app_index_bad", base + "/v1/apps/a0000001?index=-1", 400},
		{"explain_steady", base + "/v1/apps/a0000001/explain?index=0", 200},
		{"explain_crashed", base + "/v1/apps/a0000003/explain", 200},
		{"explain_moved", base + "/v1/apps/a0000009/explain", 200},
		{"explain_double", base + "/v1/apps/a0000005/explain", 200},
		{"explain_held", held + "/v1/apps/a0000007/explain", 200},
		{"deas", base + "/v1/deas", 200},
		{"dea", base + "/v1/deas/1-dea-two", 200},
		{"dea_ambiguous", base + "/v1/deas/1-dea", 409},
		{"dea_unknown", base + "/v1/deas/9", 404},
		{"status_odd", odd + "/v1/status", 200},
		{"deas_odd", odd + "/v1/deas", 200},
		{"dea_odd", odd + "/v1/deas/1-dea-two", 200},
		{"explain_odd", odd + "/v1/apps/a0000002/explain", 200},
		{"explain_odd_unknown", odd + "/v1/apps/a0000001/explain?index=1", 200},
		{"commands", base + "/v1/commands", 200},
		{"commands_history", base + "/v1/commands?history=10", 200},
		{"commands_ended", base + "/v1/commands?history=10&outstanding=false", 200},
		{"commands_app", base + "/v1/commands?app=a0000003", 200},
		{"compare", shadow + "/v1/commands/compare?since=115m", 200},
		{"compare_class", shadow + "/v1/commands/compare?since=2023-11-15T00:00:00Z&class=only-other&limit=1", 200},
		{"compare_enforce", base + "/v1/commands/compare", 200},
		{"compare_since_bad", base + "/v1/commands/compare?since=yesterday", 400},
		{"compare_class_bad", base + "/v1/commands/compare?class=all", 400},
		{"holds", base + "/v1/holds", 200},
		{"events", base + "/v1/events", 200},
		{"events_app", base + "/v1/events?app=a0000001&kind=command", 200},
		{"events_limit", base + "/v1/events?limit=2&kind=dea", 200},
		{"events_after", base + "/v1/events?limit=2&kind=dea&after=0.0", 200},
		{"events_app_unknown", base + "/v1/events?app=zzz", 404},
		{"events_dea_unknown", base + "/v1/events?dea=9", 404},
		{"events_kind_unknown", base + "/v1/events?kind=dea.lots", 400},
		{"events_subject_unknown", base + "/v1/events?kind=deas", 400},
		{"events_after_bad", base + "/v1/events?after=yesterday", 400},
		{"events_since_bad", base + "/v1/events?since=yesterday", 400},
		{"events_follow_json", base + "/v1/events?follow=true", 400},
		{"readyz", base + "/readyz", 200},
		{"nothing_here", base + "/v2/status", 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, raw := ask(t, "GET", c.url, "", "Accept", "application/json")
			want := "application/json"
			if c.status >= 400 {
				want = "application/problem+json"
			}
			if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != want {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, resp.Header.Get("Content-Type"), c.status, want)
			}
			if c.status == 200 && (resp.Header.Get("X-Hm-Node") != "hm-1" || resp.Header.Get("X-Hm-Leader") != "hm-1" || resp.Header.Get("X-Hm-Index") == "") {
				t.Errorf("the headers have no basis: %v", resp.Header)
			}
			golden(t, c.name+".json", indent(t, raw))
		})
	}
	if resp, raw := ask(t, "PUT", base+"/v1/holds", ""); resp.StatusCode != 405 {
		t.Errorf("PUT gives %d %s, want 405", resp.StatusCode, raw)
	}
	if resp, raw := ask(t, "GET", base+"/healthz", ""); resp.StatusCode != 200 || string(raw) != "ok\n" {
		t.Errorf("healthz gives %d %q", resp.StatusCode, raw)
	}
}
