package server

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/actual"
	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/internal/sim"
	"hm/internal/sim/cc"
)

// startHealthCluster starts a cluster that commands by health.start and health.stop. Other commands go into wrong.
func startHealthCluster(t *testing.T, period time.Duration, options func(*sim.Options), sets ...string) (c *testCluster, wrong chan *nats.Msg) {
	t.Helper()
	srv := bustest.Run(t, nil)
	wrong = make(chan *nats.Msg, 1000)
	if _, err := bustest.Client(t, srv.URL()).ChanSubscribe("hm9000.>", wrong); err != nil {
		t.Fatal(err)
	}
	c = startCluster(t, srv, clusterSetup{period: period, sets: append(sets, "commands.protocol=health"), sim: options})
	c.awaitConverged()
	return c, wrong
}

// live gives the live instances of an app, on DEAs that are not cut off.
func (c *testCluster) live(guid app.GUID) (list []actual.Instance) {
	for _, in := range c.sim.Fleet.Instances(guid) {
		if in.State.Live() && !in.CutOff {
			list = append(list, actual.Instance{App: in.App, GUID: in.GUID, Index: in.Index, State: in.State})
		}
	}
	return list
}

// TestHealthProtocol: hm corrects every kind of drift by commands of HealthManager 2.0, of which the Cloud Controller
// refuses none (N18, N20).
func TestHealthProtocol(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 500 * time.Millisecond
	c, wrong := startHealthCluster(t, period, func(o *sim.Options) {
		o.Apps, o.DEAs, o.EvacuationBailOut = 16, 8, time.Hour
	}, "policy.duplicate_grace=1", "guard.min_apps=1000")
	apps := c.sim.Apps(0, 100)
	c.wantNoCommands("the start")
	seen := uint64(0)
	// corrects waits until all is as it should be, and gives the commands since the last call.
	corrects := func(what string, done func() bool) (starts, stops int) {
		t.Helper()
		bustest.Until(t, what, func() bool { return done() && c.sim.State().Converged })
		for _, cmd := range c.sim.CC.Commands(seen, 10_000) {
			seen = cmd.Seq
			if !cmd.Accepted || cmd.Harmful || cmd.Needless || cmd.Via != "health."+cmd.Action {
				t.Errorf("%s: the Cloud Controller takes %+v", what, cmd)
			}
			if cmd.Action == cc.ActionStart {
				starts++
			} else {
				stops++
			}
		}
		t.Logf("%s: %d starts, %d stops", what, starts, stops)
		return starts, stops
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	row := func(_ cc.Row, err error) error { return err }
	always := func() bool { return true }
	a, n := apps[0], apps[0].Instances

	do(row(c.sim.CC.ScaleApp(a.GUID, n+3)))
	if starts, stops := corrects("missing indices are started", always); starts != 3 || stops != 0 {
		t.Errorf("scaled up by 3: %d starts, %d stops", starts, stops)
	}
	do(c.sim.Fleet.CrashInstance(a.GUID, 1))
	if starts, stops := corrects("a crash is restarted", always); starts != 1 || stops != 0 {
		t.Errorf("a crash: %d starts, %d stops", starts, stops)
	}
	do(row(c.sim.CC.ScaleApp(a.GUID, n)))
	if _, stops := corrects("surplus instances are stopped", always); stops < 3 {
		t.Errorf("scaled down by 3: %d stops", stops)
	}
	paused := c.sim.Fleet.DEAs(0, 1)[0].ID
	lost, err := c.sim.Fleet.DEA(paused)
	do(err)
	do(c.sim.Fleet.Pause(paused))
	if starts, _ := corrects("the instances of a silent DEA are started elsewhere", func() bool { return c.sim.State().CutOff > 0 }); starts == 0 || starts < lost.Live {
		t.Errorf("%d instances lost: %d starts", lost.Live, starts)
	}
	do(c.sim.Fleet.Resume(paused))
	if starts, stops := corrects("duplicates are stopped", func() bool { return c.sim.State().CutOff == 0 }); starts != 0 || stops < lost.Live {
		t.Errorf("%d duplicates: %d starts, %d stops", lost.Live, starts, stops)
	}
	before, err := c.sim.CC.RestartApp(a.GUID)
	do(err)
	if starts, stops := corrects("the old version is stopped after the new one runs", always); starts != n || stops < n {
		t.Errorf("%d instances in a new version: %d starts, %d stops", n, starts, stops)
	}
	for _, in := range c.live(a.GUID) {
		if in.App.Version != before.Version {
			t.Errorf("%+v is not of the new version", in)
		}
	}
	for _, dea := range c.sim.Fleet.DEAs(1, 1) {
		do(c.sim.Fleet.Evacuate(dea.ID))
		starts, stops := corrects("a DEA is evacuated", func() bool { return c.sim.State().DEAsGone == 1 })
		if starts != dea.Live || stops < dea.Live {
			t.Errorf("%d instances evacuated: %d starts, %d stops", dea.Live, starts, stops)
		}
	}
	do(row(c.sim.CC.StopApp(a.GUID)))
	do(c.sim.CC.DeleteApp(apps[1].GUID))
	gone := func() bool { return len(c.live(a.GUID))+len(c.live(apps[1].GUID)) == 0 }
	if starts, stops := corrects("apps that are stopped and deleted do not run", gone); starts != 0 || stops == 0 {
		t.Errorf("%d starts, %d stops", starts, stops)
	}
	if len(wrong) > 0 {
		m := <-wrong
		t.Errorf("%s %s was published", m.Subject, m.Data)
	}
	if m := c.sim.State().Commands; m.Malformed != 0 || m.StartsRefused+m.StopsRefused != 0 {
		t.Errorf("the Cloud Controller counts %+v", m)
	}
}

// endedOf gives the ended commands of an app, oldest first.
func (c *testCluster) endedOf(guid app.GUID) []api.Command {
	c.t.Helper()
	list, err := c.nodes[max(0, c.commander())].client.History(c.t.Context(), guid.String(), 1000)
	if err != nil {
		return nil // no leader at present
	}
	slices.SortStableFunc(list.Items, func(a, b api.Command) int { return a.SentAt.Compare(b.SentAt.Time) })
	return list.Items
}

// wantRefused waits until the Cloud Controller has refused n commands of an app by a check. It checks that each was kept
// for a grace before the next one was sent, and that none counts as carried out.
func (c *testCluster) wantRefused(guid app.GUID, action, check string, n int) {
	c.t.Helper()
	var refused []cc.Command
	bustest.Until(c.t, "the Cloud Controller refuses a "+action+": "+check, func() bool {
		refused = nil
		for _, cmd := range c.sim.CC.Commands(0, 10_000) {
			if cmd.App == guid && !cmd.Accepted {
				refused = append(refused, cmd)
			}
		}
		return len(refused) >= n
	})
	for _, cmd := range refused {
		if cmd.Action != action || cmd.Check != check {
			c.t.Errorf("the Cloud Controller refuses %+v, want %s %s", cmd, action, check)
		}
	}
	var sent []api.Command
	bustest.Until(c.t, "the refused commands have ended", func() bool {
		sent = slices.DeleteFunc(c.endedOf(guid), func(cmd api.Command) bool { return cmd.SentAt.IsZero() || cmd.Action != action })
		return len(sent) >= n-1
	})
	grace := c.nodes[0].cfg.Grace()
	last := map[string]api.Command{} // by what the command is for
	for _, cmd := range sent {
		if cmd.State == "confirmed" {
			c.t.Errorf("a refused command counts as confirmed: %+v", cmd)
		}
		target := cmd.Version + cmd.Instance + string(rune(cmd.Index))
		if kept := cmd.EndedAt.Sub(cmd.CreatedAt.Time); cmd.State == "expired" && kept < grace {
			c.t.Errorf("a command without effect was kept for %v, want a grace of %v: %+v", kept, grace, cmd)
		}
		if before, again := last[target]; again && cmd.SentAt.Before(before.EndedAt.Time) {
			c.t.Errorf("a command was sent before the one before it had ended: %+v, %+v", before, cmd)
		}
		last[target] = cmd
	}
}

// explained reports whether hm explain gives a finding of an app with a rule for which hm waits.
func (c *testCluster) explained(guid app.GUID, rule string) (found bool) {
	c.t.Helper()
	e, _, err := c.nodes[max(0, c.commander())].client.Explain(c.t.Context(), guid.String(), "")
	if err != nil {
		return false
	}
	for _, v := range e.Versions {
		for _, i := range v.Indices {
			for _, f := range i.Findings {
				found = found || f.Rule == rule && f.Bucket == "wait" && f.WaitsFor != ""
			}
		}
	}
	return found
}

// TestCloudControllerSaysNo: the Cloud Controller refuses a start that hm was right to ask for, as its bulk API shows the
// app as it was. hm asks again after the grace, and then ever later; it says what it waits for.
func TestCloudControllerSaysNo(t *testing.T) {
	takesSeconds(t)
	for _, tt := range []struct {
		protocol, check string
		refuse, permit  func(*cc.Controller, app.GUID) (cc.Row, error)
	}{
		{"hm9000", cc.CheckNotStaged, func(ctl *cc.Controller, g app.GUID) (cc.Row, error) { return ctl.StageApp(g, true) },
			func(ctl *cc.Controller, g app.GUID) (cc.Row, error) { return ctl.StageApp(g, false) }},
		{"health", cc.CheckNotStarted, (*cc.Controller).StopApp, (*cc.Controller).StartApp},
	} {
		t.Run(tt.protocol, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, bustest.Run(t, nil), clusterSetup{period: 500 * time.Millisecond, sets: []string{"commands.protocol=" + tt.protocol},
				sim: func(o *sim.Options) { o.Apps, o.DEAs = 8, 4 }})
			c.awaitConverged()
			a := c.sim.Apps(0, 1)[0]
			if err := c.sim.SetFaults(sim.Faults{Bulk: cc.BulkStale}); err != nil {
				t.Fatal(err)
			}
			if _, err := tt.refuse(c.sim.CC, a.GUID); err != nil {
				t.Fatal(err)
			}
			if err := c.sim.Fleet.CrashInstance(a.GUID, 0); err != nil {
				t.Fatal(err)
			}
			c.wantRefused(a.GUID, cc.ActionStart, tt.check, 3)
			bustest.Until(t, "hm explain says that the start waits", func() bool { return c.explained(a.GUID, "R05") || c.explained(a.GUID, "R01") })
			if n := c.sim.State().Commands; n.StartsAccepted+n.StopsAccepted+n.StopsRefused != 0 {
				t.Errorf("commands %+v", n)
			}
			if err := c.sim.SetFaults(sim.Faults{}); err != nil {
				t.Fatal(err)
			}
			if _, err := tt.permit(c.sim.CC, a.GUID); err != nil {
				t.Fatal(err)
			}
			c.awaitConverged()
			if n := c.sim.State().Commands; n.Harmful+n.Needless != 0 {
				t.Errorf("commands %+v", n)
			}
		})
	}
}

// TestHealthStopIsRefused: an old Cloud Controller keeps an old version for as long as nothing of its own version runs,
// even if the app is stopped (N20). hm asks again after each grace, and is obeyed when the new version runs.
func TestHealthStopIsRefused(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c, _ := startHealthCluster(t, 500*time.Millisecond, func(o *sim.Options) { o.Apps, o.DEAs = 8, 4 })
	a := c.sim.Apps(0, 1)[0]
	for _, change := range []func(app.GUID) (cc.Row, error){c.sim.CC.RestartApp, c.sim.CC.StopApp} {
		if _, err := change(a.GUID); err != nil {
			t.Fatal(err)
		}
	}
	c.wantRefused(a.GUID, cc.ActionStop, cc.CheckNoneRuns, 2*a.Instances)
	if n := c.sim.State().Commands; n.StopsAccepted+n.StartsAccepted != 0 || len(c.live(a.GUID)) != a.Instances {
		t.Errorf("%d of %d live; commands %+v", len(c.live(a.GUID)), a.Instances, n)
	}
	if _, err := c.sim.CC.StartApp(a.GUID); err != nil {
		t.Fatal(err)
	}
	c.awaitConverged()
	if n := c.sim.State().Commands; n.Harmful+n.Needless != 0 {
		t.Errorf("commands %+v", n)
	}
}

// TestRefusedHealthStartIsTold: nats does not let hm publish health.start. hm explain says so.
func TestRefusedHealthStartIsTold(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	srv := bustest.Run(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "cf", Password: "pw"}, {Username: "hm", Password: "pw", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"health.start"}},
		}}}
		o.NoAuthUser = "cf"
	})
	c := startCluster(t, srv, clusterSetup{nodes: 1, period: 500 * time.Millisecond, sim: func(o *sim.Options) { o.Apps, o.DEAs = 4, 4 },
		sets: []string{"commands.protocol=health", "nats.username=hm", "nats.password=pw"}})
	c.awaitConverged()
	a := c.sim.Apps(0, 1)[0]
	if _, err := c.sim.CC.ScaleApp(a.GUID, a.Instances+1); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "hm explain says why the start was not sent", func() bool {
		e, _, err := c.nodes[0].client.Explain(t.Context(), a.GUID.String(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range e.Versions[0].Indices {
			for _, f := range i.Findings {
				if strings.Contains(f.Detail, "nats refuses health.start: Permissions Violation") {
					return true
				}
			}
		}
		return false
	})
	if n := c.sim.State().Commands; n.StartsAccepted+n.StartsRefused != 0 {
		t.Errorf("commands %+v", n)
	}
}
