package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/sim/router"
)

// routesAgree reports whether the router's table is exactly the instances that serve.
func routesAgree(s *Sim) bool {
	type route struct {
		app, instance string
		address       string
	}
	key := func(a, b route) int {
		if a.address < b.address {
			return -1
		}
		return 1
	}
	var has, want []route
	for _, r := range s.Router.Routes("", 1<<30) {
		has = append(has, route{r.App, r.Instance, r.Address})
	}
	for _, e := range s.Fleet.Endpoints() {
		want = append(want, route{e.App.String(), e.Instance.String(), e.Address})
	}
	slices.SortFunc(has, key)
	slices.SortFunc(want, key)
	return slices.Equal(has, want)
}

func awaitRoutes(t *testing.T, s *Sim) {
	t.Helper()
	poll(t, "the router knows exactly the instances that serve", func() bool { return routesAgree(s) })
}

// noneFailed checks that no request failed that was sent after ready, and that the router took none astray.
func noneFailed(t *testing.T, s *Sim, ready time.Time) {
	t.Helper()
	for _, f := range s.Failures() {
		if !f.Excused && f.At.After(ready) {
			t.Errorf("a request failed: %+v", f)
		}
	}
	if r := s.State().Requests; r.Astray != 0 || r.Answered == 0 {
		t.Errorf("requests: %+v", r)
	}
}

// TestRouterCarriesRequestsToTheApp: requests reach an instance of the app that they name, also while instances crash,
// stop, start and move.
func TestRouterCarriesRequestsToTheApp(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 20, DEAs: 4, Seed: 60, RouterListen: "127.0.0.1:0", Requests: 400,
		HeartbeatPeriod:      40 * time.Millisecond,
		RouterStaleThreshold: time.Minute, // so long that a loaded machine makes no route stale
	})
	awaitRoutes(t, s)
	ready, before := time.Now(), s.State().Requests
	apps := s.Apps(0, 100)
	var one AppView
	for _, a := range apps {
		if a.Instances == 2 {
			one = a
		}
	}
	if _, err := s.CC.ScaleApp(one.GUID, 5); err != nil {
		t.Fatal(err)
	}
	await(t, s, "the new instances", converged)
	awaitRoutes(t, s)
	if err := s.Fleet.CrashInstance(one.GUID, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CC.ScaleApp(one.GUID, 4); err != nil {
		t.Fatal(err)
	}
	if err := s.CC.DeleteApp(apps[3].GUID); err != nil {
		t.Fatal(err)
	}
	awaitRoutes(t, s)
	poll(t, "requests", func() bool { return s.State().Requests.Sent > before.Sent+200 })
	noneFailed(t, s, ready)
	if _, err := s.users.ask(t.Context(), app.MustGUID("unknown")); err == nil ||
		!strings.HasPrefix(err.Error(), "status 404 "+router.ErrorUnknownRoute) {
		t.Errorf("a request to an unknown app: %v", err)
	}
}
