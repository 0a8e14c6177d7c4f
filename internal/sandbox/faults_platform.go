package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hm/internal/api"
	"hm/internal/config"
	"hm/internal/reconcile"
	"hm/internal/sim/cc"
)

func (i *injector) toggleNATS(context.Context) (string, error) {
	if i.natsDown {
		if err := i.sandbox.nats.Start(); err != nil {
			return "starting NATS", err
		}
		i.natsDown = false
		return "started NATS again", nil
	}
	i.sandbox.nats.Stop()
	i.natsDown = true
	return "stopped NATS: nothing expires and nothing is sent until it is back", nil
}

// A closed leader stays away for nodeAway heartbeats, but at most for maxNodeAway.
const (
	nodeAway    = 20
	maxNodeAway = 10 * time.Second
)

// toggleLeader closes the leader. If a node is closed already, it opens that one instead.
func (i *injector) toggleLeader(context.Context) (string, error) {
	nodes := i.sandbox.nodes
	for _, n := range nodes {
		if open, _, _ := n.state(); !open {
			done := i.reopen(n)
			return done.text, done.err
		}
	}
	for at, n := range nodes {
		if _, leads, _ := n.state(); !leads {
			continue
		}
		away := min(nodeAway*i.sandbox.opts.Heartbeat, maxNodeAway)
		text := fmt.Sprintf("closed node %s, which led; it comes back in %s", n.id(), away)
		if at == 0 && len(nodes) > 1 {
			text += ", until then ask " + nodes[1].url()
		}
		return text, n.closeFor(away)
	}
	return "closing the leader", errors.New("no node leads at present")
}

// togglePause does what hm pause and hm resume do.
func (i *injector) togglePause(ctx context.Context) (string, error) {
	client := i.openClient()
	if client == nil {
		return "pausing", errors.New("no node is open")
	}
	status, _, err := client.Status(ctx)
	if err != nil {
		return "pausing", err
	}
	for _, h := range status.Holds {
		if h.Name == reconcile.HoldPaused {
			return "resumed: commands are sent again", client.ReleaseHold(ctx, h.Name)
		}
	}
	_, _, err = client.SetHold(ctx, api.HoldRequest{Name: reconcile.HoldPaused, Reason: "paused from hm dev",
		By: "hm dev"})
	return "paused: no command is sent until p is pressed again", err
}

// openClient returns the client of any open node, or nil.
func (i *injector) openClient() *api.Client {
	for _, n := range i.sandbox.nodes {
		if open, _, _ := n.state(); open {
			return n.client
		}
	}
	return nil
}

func (i *injector) toggleBulk(context.Context) (string, error) {
	f := i.sandbox.sim.Faults()
	if f.Bulk != cc.BulkHealthy {
		f.Bulk = cc.BulkHealthy
		return "repaired the Cloud Controller's bulk API", i.sandbox.sim.SetFaults(f)
	}
	f.Bulk = cc.BulkError
	text := "broke the Cloud Controller's bulk API: it answers 500"
	if i.sandbox.opts.Desired == config.SourceSQL {
		text += "; the nodes read its database and do not need it"
	}
	return text, i.sandbox.sim.SetFaults(f)
}
