package dashboard_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/dashboard"
)

// serve serves the API of a fake node with its dashboard, and gives its base URL.
func serve(t *testing.T, o api.Options, with dashboard.Options) string {
	t.Helper()
	o.Dashboard = func(c *api.Client) http.Handler { return dashboard.New(c, with) }
	s, err := api.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr()
}

// oneRequest keeps no connection open, for which a closing server would wait.
var oneRequest = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// load asks for a page and gives the answer with its body.
func load(t *testing.T, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := oneRequest.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// pages are the paths of the pages that every fake node has.
var pages = []string{"/", "/events", "/cluster", "/apps", "/apps/a0000003", "/deas", "/deas/1-dea-two", "/commands"}

// TestPagesAreShown loads every page, and the changing part of each.
func TestPagesAreShown(t *testing.T) {
	base := serve(t, apitest.WithUnreadable().Options(), dashboard.Options{})
	for _, path := range pages {
		resp, body := load(t, base+path)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, "The gate is open") || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
			t.Errorf("%s: %s\n%s", path, resp.Status, body)
		}
		resp, part := load(t, base+path, "Hm-Part", "live")
		if resp.StatusCode != http.StatusOK || strings.Contains(part, "<html") || !strings.Contains(body, part) {
			t.Errorf("the changing part of %s is not the part that the page shows: %s\n%s", path, resp.Status, part)
		}
		if age, err := strconv.Atoi(resp.Header.Get("Hm-Age")); err != nil || age < 0 {
			t.Errorf("the changing part of %s does not say how old it is: %v, %d ms", path, err, age)
		}
	}
}
