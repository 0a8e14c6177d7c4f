package server

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/internal/sim"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
)

// TestTwoCellsOnOneBus: two clusters divide the organizations of one Cloud Foundry, and hear the same DEAs. Each keeps
// its own apps as they should be, and neither ever asks to stop what the other one has.
func TestTwoCellsOnOneBus(t *testing.T) {
	nats := bustest.Run(t, nil)
	db := filepath.Join(t.TempDir(), "ccdb.sqlite")
	cell := func(organization string) []string {
		return []string{"desired.source=sql", "desired.sql.driver=sqlite", "desired.sql.dsn=" + db, "desired.filter.organizations=" + organization}
	}
	c := startCluster(t, nats, clusterSetup{nodes: 1, period: 200 * time.Millisecond, sets: cell("ours"), sim: func(o *sim.Options) { o.DB = db }})
	b := &testNode{logger: c.nodes[0].logger, cfg: c.nodes[0].cfg}
	b.cfg.Node.ID, b.cfg.Node.DataDir, b.cfg.API.Listen = "hm-1", t.TempDir(), "127.0.0.1:0"
	b.cfg.Raft.Listen = fmt.Sprintf("127.0.0.1:%d", bustest.FreePorts(t, 1)[0])
	b.cfg.Raft.Advertise, b.cfg.Raft.Peers = "", nil
	b.cfg.Desired.Filter.Organizations = []string{"theirs"}
	b.open(t)
	t.Cleanup(func() { b.close(t) })

	conn, err := sql.Open("sqlite", "file:"+db+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, statement := range []string{
		"INSERT INTO organizations (guid, name) VALUES ('org-1', 'ours'), ('org-2', 'theirs')",
		"INSERT INTO spaces (guid, name, organization_id) VALUES ('space-1', 's', 1), ('space-0', 's', 2)",
		"UPDATE apps SET space_guid = 'space-' || (id % 2)",
	} {
		if _, err := conn.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	converged := func(what string) {
		t.Helper()
		bustest.Until(t, what, func() bool {
			return c.nodes[0].loop.Overview().GateOpen && b.loop.Overview().GateOpen && c.sim.State().Converged
		})
	}
	converged("both cells know their apps")
	var ours, theirs, gone app.GUID
	c.sim.CC.Read(func(v cc.View) {
		for _, r := range v.Apps(0, 100) {
			switch {
			case r.ID%2 == 0:
				theirs = r.GUID
			case gone.IsZero():
				gone = r.GUID
			default:
				ours = r.GUID
			}
		}
	})
	if n := c.status(0).Desired.Apps; n != 15 {
		t.Errorf("%d apps are desired in a cell, want 15 of 30", n)
	}
	for _, droplet := range []app.GUID{ours, theirs} {
		if err := c.sim.Fleet.CrashInstance(droplet, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.sim.Fleet.ActOnRandom(1, fleet.Kill); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the crashes and the loss are found", func() bool { return c.sim.State().Missing > 0 })
	converged("both cells mend their apps")
	for _, cmd := range c.sim.CC.Commands(0, 10_000) {
		if cmd.Action == "stop" && !cmd.Duplicate || cmd.Harmful {
			t.Errorf("%+v", cmd)
		}
	}
	if err := c.sim.CC.DeleteApp(gone); err != nil {
		t.Fatal(err)
	}
	converged("a deleted app is stopped")
	bustest.Until(t, "its row is removed", func() bool { return len(c.nodes[0].cluster.View().Versions(gone)) == 0 })
	stops := 0
	for _, cmd := range c.sim.CC.Commands(0, 10_000) {
		if cmd.Action == "stop" && !cmd.Duplicate {
			if stops++; cmd.App != gone {
				t.Errorf("a stop of another app: %+v", cmd)
			}
		}
	}
	if stops == 0 {
		t.Error("nobody asked to stop the deleted app")
	}
}
