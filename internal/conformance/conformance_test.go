package conformance

import (
	"testing"
)

// TestConformance plays every neighbour against real nodes on one NATS server.
func TestConformance(t *testing.T) {
	srv := runNATS(t, "fleet", "bulk", "many", "rubytime", "posts", "https")
	t.Run("bulk", func(t *testing.T) { t.Parallel(); playBulk(t, srv) })
	t.Run("many", func(t *testing.T) { t.Parallel(); playMany(t, srv) })
	t.Run("rubytime", func(t *testing.T) { t.Parallel(); playRubyTime(t, srv) })
	t.Run("posts", func(t *testing.T) { t.Parallel(); playPosts(t, srv) })
	t.Run("https", func(t *testing.T) { t.Parallel(); playHTTPS(t, srv) })
	t.Run("fleet", func(t *testing.T) { t.Parallel(); fleetWorld(t, newFleet(t, srv)) })
}

// newFleet starts a world with apps that run, DEAs of each time, and a Cloud Controller of 2015.
func newFleet(t *testing.T, srv *natsServer) *world {
	w := newWorld(t, srv, "fleet", worldSetup{
		sets:   []string{"desired.bulk.username=" + bulkUser, "desired.bulk.password=" + bulkPassword, "desired.bulk.batch_size=20"},
		before: func(w *world) { w.fill(50) },
	})
	w.awaitGate(t)
	return w
}

// fill makes apps that run as they should on four DEAs, so that a scenario is never a large part of the whole.
func (w *world) fill(apps int) {
	deas := []*DEA{w.dea(DEA2013), w.dea(DEA2014), w.dea(DEA2015), w.dea(DEA2016)}
	for i := range apps {
		row := Row{GUID: NewUUID(), Version: NewUUID(), Instances: 2, State: "STARTED", PackageState: "STAGED"}
		w.cc.Put(row)
		w.filler = append(w.filler, row)
		w.place(row.GUID, deas[i%4])
		for index := range row.Instances {
			deas[(i+index)%4].Run(row.GUID, row.Version, index)
		}
	}
}

// fleetWorld runs everything that needs a fleet at the same time: each scenario has its own app and DEAs.
func fleetWorld(t *testing.T, w *world) {
	t.Run("all", func(t *testing.T) {
		commandScenarios(t, w)
		questionScenarios(t, w)
		deaScenarios(t, w)
	})
	wantSubscriptions(t, w)
	c := ledger.Check(t, aboutCommands)
	wantKnownApps(c, w)
}
