//go:build !race

package browsertest

import (
	"net/http"
	"testing"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/dashboard"
)

// serve serves the API and the pages of a fake node, whose recorded state and time stand still.
func serve(t testing.TB, n *apitest.Node) (base string) {
	t.Helper()
	o := n.Options()
	o.Dashboard = func(c *api.Client) http.Handler { return dashboard.New(c, dashboard.Options{}) }
	s, err := api.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the API: %v", err)
		}
	})
	return "http://" + s.Addr()
}

// stillPages are the pages of a fake node with every kind of drift, by what they show.
func stillPages() map[string]string {
	return map[string]string{
		"overview": "/", "apps": "/apps", "apps with drift": "/apps?show=crashed",
		"app with crashes": "/apps/" + apitest.Crashy.Droplet.String(), "app with a gap": "/apps/" + apitest.Gappy.Droplet.String(),
		"deas": "/deas", "dea": "/deas/1-dea-one", "commands": "/commands", "events": "/events", "cluster": "/cluster",
		"no such page": "/nothing", "no such app": "/apps/zzz",
	}
}
