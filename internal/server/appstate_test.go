package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/internal/bus/bustest"
	"hm/internal/sim"
)

// TestCutOffNodeDoesNotAnswerFromAnOldRecord: a node without a majority hears every heartbeat and can record none. It
// must not answer a Cloud Controller from what it recorded before.
func TestCutOffNodeDoesNotAnswerFromAnOldRecord(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 100 * time.Millisecond
	c := startCluster(t, bustest.Run(t, nil), clusterSetup{period: period})
	c.awaitConverged()
	answered := c.appStateAnswered(time.Second) // an unanswered question is asked again, as a Cloud Controller does
	bustest.Until(t, "the question is answered", answered)

	left := c.nodes[0]
	for _, n := range c.nodes[1:] {
		n.close(t)
	}
	bustest.Until(t, "the node has had no leader for a whole time to live", func() bool {
		return left.cluster.Leadership().LeaderID == "" && time.Since(left.cluster.LeaderContact()) > 3*period
	})
	for began := time.Now(); time.Since(began) < 10*period; time.Sleep(period / 10) {
		if answered() {
			t.Fatal("a node that is alone answered from what it had recorded before")
		}
	}
	for _, n := range c.nodes[1:] {
		n.open(t)
	}
	bustest.Until(t, "the question is answered again", answered)
}

// TestCutOffFollowerLeavesTheQuestions: NATS sends a follower its share of a Cloud Controller's questions while no other
// node reaches it. The follower does not know from its peers whether another node can answer, so it asks over NATS. It
// leaves the questions to the nodes that can answer, and takes its share again once it has caught up.
func TestCutOffFollowerLeavesTheQuestions(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := startCluster(t, bustest.Run(t, nil), clusterSetup{period: 300 * time.Millisecond, raftProxies: true, sets: []string{"guard.mass_loss=0"}})
	answered := c.appStateAnswered(10 * time.Second)
	follower := (c.awaitConverged() + 1) % 3
	cut := c.nodes[follower]
	bustest.Until(t, "the follower knows enough to answer", func() bool {
		return cut.api.Answers() && fmt.Sprint(c.status(follower).Gate.Reasons) == "[not-leader]"
	})

	c.raftProxies[follower].BlackHole(true)
	line := fmt.Sprintf("msg=\"this node leaves it to the others to answer for the state of apps, as it knows less than they do\" node=hm-%d reason=no-leader", follower)
	bustest.Until(t, "the follower leaves the questions to the others", func() bool { return strings.Contains(c.log.String(), line) })
	bustest.Until(t, "the server sends the follower no more questions", func() bool {
		before, _ := cut.queries.Stats()
		for range 20 {
			answered()
		}
		now, _ := cut.queries.Stats()
		return now == before
	})
	for range 50 {
		if !answered() {
			t.Fatal("a question was answered with {}, or not at all, though the majority knows what runs")
		}
	}
	if reasons := fmt.Sprint(c.status(follower).Gate.Reasons); !strings.HasPrefix(reasons, "[no-leader") {
		t.Errorf("the follower's gate has the reasons %s", reasons)
	}
	c.raftProxies[follower].BlackHole(false)
	before, _ := cut.queries.Stats()
	bustest.Until(t, "the follower answers again", func() bool {
		if !answered() {
			t.Fatal("a question was answered with {}, or not at all")
		}
		now, _ := cut.queries.Stats()
		return now > before
	})
}

// appStateAnswered gives a function that asks for the state of a running app over NATS, and reports whether the answer
// has the app's instances.
func (c *testCluster) appStateAnswered(timeout time.Duration) func() bool {
	c.t.Helper()
	nc := bustest.Client(c.t, c.nats.URL())
	apps := c.sim.Apps(0, 30)
	app := apps[slices.IndexFunc(apps, func(v sim.AppView) bool { return v.State == "STARTED" })]
	question, err := json.Marshal(map[string]string{"droplet": app.GUID.String(), "version": app.Version.String()})
	if err != nil {
		c.t.Fatal(err)
	}
	return func() bool {
		m, err := nc.Request("app.state", question, timeout)
		return err == nil && string(m.Data) != "{}"
	}
}
