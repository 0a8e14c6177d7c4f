package server

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/internal/config"
	"hm/internal/reconcile"
	"hm/internal/sim"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
	"hm/internal/sim/hm9000"
)

// TestMigrationFromHM9000 is docs/migration.md: hm in shadow mode beside a simulated HM9000, the switch, a time in which hm
// commands, and the way back. There is drift at every step, so that both always have something to do. No index is started
// by both, hm causes no needless start and no harmful stop, and all drift is corrected.
func TestMigrationFromHM9000(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 300 * time.Millisecond
	c, _ := startBesideHM9000(t, clusterSetup{period: period, startDelay: period})
	m := &driftMaker{c: c, used: map[app.GUID]bool{}}
	a := m.agreement([]driftKind{
		{name: "a crash", cause: m.crash}, {name: "a scale-up", cause: m.scaleUp}, {name: "a deletion", cause: m.remove},
		{name: "a lost DEA", cause: m.loseDEA},
	})
	a.await(-1)
	t.Log("beside HM9000:", a.last.Verdict)

	c.pause()
	m.all()
	for i := range c.nodes {
		c.restartAs(i, config.ModeEnforce)
		m.crash()
	}
	c.awaitOnlyPaused()
	m.all()
	m.evacuate()
	neighbour := c.awaitStartsOfHM9000() // the worst moment: nobody has heard yet what it has just started
	m.all()
	c.setHM9000(sim.Neighbour{})
	c.passHeartbeats(period)
	if own := c.tally().HM; own != (commandTally{}) {
		t.Errorf("hm sent commands while it was paused: %+v", own)
	}
	c.resume()
	c.awaitConverged()
	t.Logf("the switch: HM9000 had sent %d starts and %d stops; %+v", neighbour.Starts, neighbour.Stops, c.handedOver())
	c.answersAppState(true)

	m.all()
	c.awaitConverged()

	// HM9000 acts once it has heard the DEAs for three heartbeats: it needs nobody to wait for it.
	m.all()
	before := c.tally().HM.Starts
	bustest.Until(t, "hm sends starts", func() bool { return c.tally().HM.Starts > before })
	c.pause()
	m.all()
	c.setHM9000(sim.Neighbour{Running: true})
	var own commandTally // when the Cloud Controller has taken all that was sent before the pause
	for i := range c.nodes {
		c.restartAs(i, config.ModeShadow)
		if i == 0 {
			own = c.tally().HM
		}
		m.crash()
	}
	c.answersAppState(false)
	c.resume()
	bustest.Until(t, "HM9000 corrects everything, and hm is in shadow mode", func() bool {
		return c.sim.State().Converged && c.sim.Neighbour().Stats.Starts > 0 && c.shadowLeader() >= 0
	})
	if now := c.tally().HM; now != own {
		t.Errorf("hm sent commands after HM9000 was started: %+v, before %+v", now, own)
	}
	t.Logf("the way back: %+v", c.handedOver())
}

// TestTwoThatCommand measures what happens if HM9000 and hm command at the same time, which docs/migration.md warns of. An
// evacuation is answered by both at once, so indices are started twice. What runs twice is stopped by both later.
func TestTwoThatCommand(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 300 * time.Millisecond
	c, _ := startBesideHM9000(t, clusterSetup{nodes: 1, period: period, startDelay: period})
	m := &driftMaker{c: c, used: map[app.GUID]bool{}}
	c.restartAs(0, config.ModeEnforce)
	for _, kind := range []struct {
		name  string
		times int
		make  func()
	}{
		{"scaled up", 12, func() { m.scaleUp() }},
		{"crashed", 12, func() { m.crash() }},
		{"on a DEA that was lost", 1, func() { m.loseDEA() }},
		{"on a DEA that was evacuated", 1, m.evacuate},
	} {
		c.awaitConverged()
		before := c.tally()
		for range kind.times { // spread over a pass of HM9000
			kind.make()
			time.Sleep(period / 2)
		}
		bustest.Until(t, "everything runs once", func() bool {
			return c.sim.State().Converged && c.tally().accepted() > before.accepted()
		})
		now := c.tally()
		t.Logf("indices %s: %d started by hm, %d by HM9000, %d of them twice; stops that took the only instance: %d by hm, %d by HM9000",
			kind.name, now.HM.Starts-before.HM.Starts, now.HM9000.Starts-before.HM9000.Starts, now.Twice-before.Twice,
			now.HM.Harmful-before.HM.Harmful, now.HM9000.Harmful-before.HM9000.Harmful)
	}
	for range 3 { // on a busy machine one of the two may be too late to answer as well
		if c.tally().Twice > 0 {
			break
		}
		before := c.tally()
		m.evacuate()
		bustest.Until(t, "everything runs once after a further evacuation", func() bool {
			return c.sim.State().Converged && c.tally().accepted() > before.accepted()
		})
	}
	if c.tally().Twice == 0 {
		t.Error("no index was started by both: then docs/migration.md says too much")
	}
}

// all makes one drift of each quick kind.
func (m *driftMaker) all() {
	m.crash()
	m.scaleUp()
	m.remove()
	m.loseDEA()
}

func (m *driftMaker) evacuate() {
	_, err := m.c.sim.Fleet.ActOnRandom(1, fleet.Evacuate)
	m.must(err)
}

// restartAs restarts a node with another commands.mode.
func (c *testCluster) restartAs(i int, mode string) {
	c.t.Helper()
	c.nodes[i].close(c.t)
	c.nodes[i].cfg.Commands.Mode = mode
	c.nodes[i].open(c.t)
	bustest.Until(c.t, "the restarted node knows a leader", func() bool { return c.status(i).Cluster.Leader != "" })
}

func (c *testCluster) setHM9000(n sim.Neighbour) {
	c.t.Helper()
	if err := c.sim.SetNeighbour(n); err != nil {
		c.t.Fatal(err)
	}
}

// pause does what hm pause does. There may be no leader at the moment.
func (c *testCluster) pause() {
	c.t.Helper()
	bustest.Until(c.t, "hm is paused", func() bool {
		_, _, err := c.nodes[0].client.SetHold(c.t.Context(), api.HoldRequest{Name: reconcile.HoldPaused, Reason: "migration"})
		return err == nil
	})
}

// resume does what hm resume does.
func (c *testCluster) resume() {
	c.t.Helper()
	bustest.Until(c.t, "hm is resumed", func() bool {
		return c.nodes[0].client.ReleaseHold(c.t.Context(), reconcile.HoldPaused) == nil
	})
}

// awaitOnlyPaused waits until every node is in enforce mode, and the pause alone keeps the leader's gate closed.
func (c *testCluster) awaitOnlyPaused() {
	c.t.Helper()
	bustest.Until(c.t, "only the pause keeps the gate closed", func() bool {
		return slices.ContainsFunc(c.nodes, func(n *testNode) bool {
			return n.Leads() && slices.Equal(n.loop.Overview().GateReasons, []string{reconcile.ReasonPaused})
		})
	})
}

// awaitStartsOfHM9000 waits until it has sent further starts.
func (c *testCluster) awaitStartsOfHM9000() hm9000.Stats {
	c.t.Helper()
	before := c.sim.Neighbour().Stats.Starts
	bustest.Until(c.t, "HM9000 sends starts", func() bool { return c.sim.Neighbour().Stats.Starts > before })
	return c.sim.Neighbour().Stats
}

// passHeartbeats lets three heartbeats pass, so that hm has heard what was started last.
func (c *testCluster) passHeartbeats(period time.Duration) {
	c.t.Helper()
	time.Sleep(3 * period) // as an operator waits 30 s
	c.awaitOnlyPaused()
}

func byHM9000(cmd cc.Command) bool { return len(cmd.MessageID) == 36 && cmd.MessageID[14] == '4' }

// startedByBoth gives the starts that were not needed because the other health manager had started the index shortly
// before.
func startedByBoth(all []cc.Command) (twice []cc.Command) {
	type index struct {
		app, version app.GUID
		index        int
	}
	last := map[index]cc.Command{}
	for _, cmd := range all {
		if cmd.Action != cc.ActionStart || !cmd.Accepted {
			continue
		}
		at := index{cmd.App, cmd.Version, cmd.Index}
		if before, ok := last[at]; ok && cmd.Needless && byHM9000(before) != byHM9000(cmd) {
			twice = append(twice, cmd)
		}
		last[at] = cmd
	}
	return twice
}

// commandTally counts accepted commands by who sent them.
type commandTally struct{ Starts, Needless, Stops, Harmful int }

type commandTallies struct {
	HM, HM9000 commandTally
	Twice      int // starts of an index that the other had just started
}

func (t commandTallies) accepted() int {
	return t.HM.Starts + t.HM.Stops + t.HM9000.Starts + t.HM9000.Stops
}

func (c *testCluster) tally() (t commandTallies) {
	all := c.sim.CC.Commands(0, 100_000)
	t.Twice = len(startedByBoth(all))
	for _, cmd := range all {
		of := &t.HM
		if byHM9000(cmd) {
			of = &t.HM9000
		}
		switch {
		case !cmd.Accepted:
		case cmd.Action == cc.ActionStart:
			of.Starts++
		default:
			of.Stops++
		}
		if cmd.Needless {
			of.Needless++
		}
		if cmd.Harmful {
			of.Harmful++
		}
	}
	return t
}

// handedOver fails the test if a command so far was one that the handover made needless or harmful. HM9000 alone may do
// harm on a busy machine, where it believes that a DEA is gone.
func (c *testCluster) handedOver() commandTallies {
	c.t.Helper()
	all := c.sim.CC.Commands(0, 100_000)
	for _, cmd := range startedByBoth(all) {
		c.t.Errorf("both started an index: %+v", cmd)
	}
	for _, cmd := range all {
		if !byHM9000(cmd) && (cmd.Needless || cmd.Harmful) {
			i := slices.IndexFunc(all, func(x cc.Command) bool { return x.App == cmd.App && x.Index == cmd.Index })
			c.t.Errorf("hm sent a needless or harmful command: %+v, the first one at the index was %+v", cmd, all[i])
		}
	}
	return c.tally()
}

// answersAppState checks whether hm answers the Cloud Controller's question for an app.
func (c *testCluster) answersAppState(want bool) {
	c.t.Helper()
	nc := bustest.Client(c.t, c.nats.URL())
	apps := c.sim.Apps(0, 100)
	a := slices.MaxFunc(apps, func(a, b sim.AppView) int { return cmp.Compare(len(a.Running), len(b.Running)) })
	question := []byte(`{"droplet":"` + a.GUID.String() + `","version":"` + a.Version.String() + `"}`)
	bustest.Until(c.t, "app.state is answered by hm, or by nobody", func() bool {
		answer, err := nc.Request("app.state", question, 5*time.Second)
		if !want {
			return err == nats.ErrNoResponders
		}
		return err == nil && len(answer.Data) > 2
	})
}
