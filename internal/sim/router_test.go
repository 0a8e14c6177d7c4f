package sim

import (
	"slices"
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
		want = append(want, route{e.App.String(), e.Instance.String(), e.Address()})
	}
	slices.SortFunc(has, key)
	slices.SortFunc(want, key)
	return slices.Equal(has, want)
}

func awaitRoutes(t *testing.T, s *Sim) {
	t.Helper()
	poll(t, "the router knows exactly the instances that serve", func() bool { return routesAgree(s) })
}

// TestRouterCarriesRequestsToTheApp: requests reach an instance of the app that they name, also while instances crash,
// stop, start and move.
func TestRouterCarriesRequestsToTheApp(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 20, DEAs: 4, Seed: 60, RouterListen: "127.0.0.1:0", Requests: 400,
		HeartbeatPeriod: 40 * time.Millisecond})
	awaitRoutes(t, s)
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
	if _, err := s.CC.ScaleApp(one.GUID, 3); err != nil {
		t.Fatal(err)
	}
	if err := s.CC.DeleteApp(apps[3].GUID); err != nil {
		t.Fatal(err)
	}
	awaitRoutes(t, s)
	poll(t, "requests", func() bool { return s.State().Requests.Sent > 400 })
	r := s.State().Requests
	if r.Failed != 0 || r.Astray != 0 || r.Answered == 0 {
		t.Errorf("%+v; failures %+v", r, s.Failures())
	}
	if _, err := s.users.ask(t.Context(), app.MustGUID("unknown")); err == nil ||
		err.Error() != "status 404 "+router.ErrorUnknownRoute {
		t.Errorf("a request to an unknown app: %v", err)
	}
}
