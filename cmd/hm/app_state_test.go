package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/bus/bustest"
	"hm/internal/liveview"
)

// TestCutOffNodeDoesNotAnswerFromAnOldRecord: a node without a majority hears every heartbeat and can record none. What
// it recorded last it must not tell a Cloud Controller as if it held still.
func TestCutOffNodeDoesNotAnswerFromAnOldRecord(t *testing.T) {
	t.Parallel()
	takesSeconds(t)
	r := startDev(t, testDevOptions())
	r.await("gate", gateOpen)
	r.await("nodes", allHealthy)
	nc, err := nats.Connect(r.stage.world.nats.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	a := r.apps()[0]
	question, err := json.Marshal(map[string]string{"droplet": a.GUID.String(), "version": a.Version.String()})
	if err != nil {
		t.Fatal(err)
	}
	told := func() bool {
		m, err := nc.Request("app.state", question, time.Second) // one that gets no answer is asked again, as a Cloud Controller does
		return err == nil && string(m.Data) != "{}"
	}
	r.await("an answer", func(liveview.Frame) bool { return told() })

	left := r.stage.world.nodes[0].node.cluster
	for _, n := range r.stage.world.nodes[1:] {
		if err := n.close(); err != nil {
			t.Fatal(err)
		}
	}
	r.await("a whole time to live without a leader", func(liveview.Frame) bool {
		return left.Leadership().LeaderID == "" && time.Since(left.LeaderContact()) > 3*devTestPeriod
	})
	for began := time.Now(); time.Since(began) < 10*devTestPeriod; time.Sleep(devTestPeriod / 10) {
		if told() {
			t.Fatal("a node that is alone told what it had recorded before")
		}
	}
	for _, n := range r.stage.world.nodes[1:] {
		if err := n.open(); err != nil {
			t.Fatal(err)
		}
	}
	r.await("an answer again", func(liveview.Frame) bool { return told() })
}

// TestCutOffFollowerLeavesTheQuestions: a follower that no other node reaches, and NATS does, gets its share of a Cloud
// Controller's questions. It hears from no peer whether another node can answer, asks over NATS, and leaves them to those
// that can; once it has caught up it takes its share again.
func TestCutOffFollowerLeavesTheQuestions(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 300 * time.Millisecond
	r := startRefusedNodes(t, period, nil, nil)
	leader := r.awaitOpen("first")
	r.await("all runs", func() bool { return r.sim.State().Converged })
	cc := bustest.Client(t, "nats://sim:sim@"+r.srv.Address())
	app, _, err := r.nodes[leader].client.App(t.Context(), r.apps()[0], "")
	if err != nil || len(app.Versions) == 0 {
		t.Fatalf("app: %+v, %v", app, err)
	}
	question := fmt.Appendf(nil, `{"droplet":%q,"version":%q}`, app.App, app.Versions[0].Version)
	told := func() bool {
		m, err := cc.Request("app.state", question, 10*time.Second)
		return err == nil && len(m.Data) > 2
	}
	cut := r.nodes[(leader+1)%3].node
	r.await("the follower knows enough", func() bool {
		return cut.api.Answers() && fmt.Sprint(r.status((leader+1)%3).Gate.Reasons) == "[not-leader]"
	})

	r.ways[(leader+1)%3].BlackHole(true)
	line := "msg=\"this node leaves it to the others to answer for the state of apps, as it knows less than they do\" node=hm-" + fmt.Sprint((leader+1)%3) + " reason=no-leader"
	r.await("the follower leaves", func() bool { return strings.Contains(r.log.String(), line) })
	r.await("the server knows that it has left", func() bool {
		answered, _ := cut.queries.Stats()
		for range 20 {
			told()
		}
		now, _ := cut.queries.Stats()
		return now == answered
	})
	for range 50 {
		if !told() {
			t.Fatal("a question was answered with {}, or not at all, though the majority knows what runs")
		}
	}
	if reasons := fmt.Sprint(r.status((leader + 1) % 3).Gate.Reasons); !strings.HasPrefix(reasons, "[no-leader") {
		t.Errorf("the follower's gate says %s", reasons)
	}
	r.ways[(leader+1)%3].BlackHole(false)
	answered, _ := cut.queries.Stats()
	r.await("the follower answers again", func() bool {
		if !told() {
			t.Fatal("a question was answered with {}, or not at all")
		}
		now, _ := cut.queries.Stats()
		return now > answered
	})
}
