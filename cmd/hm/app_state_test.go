package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

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
