package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/liveview"
	"hm/internal/reconcile"
	"hm/internal/sim/cc"
)

// devActor does what the keys ask for. It is not safe for concurrent use.
type devActor struct {
	world *devWorld
	dice  *rand.Rand

	natsDown bool
	looping  app.GUID // the app that crashes again and again; zero if none does
}

// deed does one thing and says what was done to what. With an error the text says what was tried.
type deed func(context.Context) (string, error)

func newDevActor(w *devWorld) devActor {
	return devActor{world: w, dice: rand.New(rand.NewPCG(w.opts.seed, 0))}
}

// deedOf gives what an action is made of.
func (a *devActor) deedOf(action liveview.Action) deed {
	switch action {
	case liveview.KillDEA:
		return a.killDEA
	case liveview.KillSeveral:
		return a.killSeveral
	case liveview.ReviveDEAs:
		return a.reviveDEAs
	case liveview.EvacuateDEA:
		return a.evacuateDEA
	case liveview.CrashOne:
		return a.crashOne
	case liveview.CrashLoop:
		return a.crashLoop
	case liveview.ScaleUp:
		return a.scaleUp
	case liveview.ScaleDown:
		return a.scaleDown
	case liveview.UpdateApp:
		return a.updateApp
	case liveview.DeleteApp:
		return a.deleteApp
	case liveview.AddApp:
		return a.addApp
	case liveview.ToggleNATS:
		return a.toggleNATS
	case liveview.ToggleLeader:
		return a.toggleLeader
	case liveview.TogglePause:
		return a.togglePause
	case liveview.ToggleBulk:
		return a.toggleBulk
	}
	return nil
}

func (a *devActor) do(ctx context.Context, action liveview.Action) (string, error) {
	d := a.deedOf(action)
	if d == nil {
		return string(action), errors.New("nothing does this")
	}
	return d(ctx)
}

// A closed leader stays away for devAway heartbeats, but not longer than devMaxAway. When it cannot be opened then, it
// is tried again after devRetry.
const (
	devAway    = 20
	devMaxAway = 10 * time.Second
	devRetry   = time.Second
)

// done is something that was done, or could not be.
type done struct {
	text string
	err  error
}

// due does what has come to its time: closed nodes are opened again.
func (a *devActor) due(now time.Time) []done {
	var did []done
	for _, n := range a.world.nodes {
		if open, _, backAt := n.state(); !open && !now.Before(backAt) {
			did = append(did, a.reopen(n))
		}
	}
	return did
}

func (a *devActor) reopen(n *devNode) done {
	if err := n.open(); err != nil {
		n.delay(time.Now().Add(devRetry))
		return done{"opening node " + n.id() + " again", err}
	}
	return done{"opened node " + n.id() + " again on the same data", nil}
}

// faults lists what is broken on purpose at present.
func (a *devActor) faults() []string {
	var faults []string
	add := func(is bool, text string) {
		if is {
			faults = append(faults, text)
		}
	}
	add(a.natsDown, "NATS is stopped (n)")
	add(a.world.sim.Faults().Bulk != cc.BulkHealthy, "the bulk API is broken (b)")
	if !a.looping.IsZero() {
		add(true, "app "+shortGUID(a.looping)+" crash-loops (C)")
	}
	if n := a.world.sim.State().DEAsGone; n > 0 {
		add(true, plural(n, "DEA")+" gone (r)")
	}
	return faults
}

func (a *devActor) toggleNATS(context.Context) (string, error) {
	if a.natsDown {
		if err := a.world.nats.Start(); err != nil {
			return "starting NATS", err
		}
		a.natsDown = false
		return "started NATS again", nil
	}
	a.world.nats.Stop()
	a.natsDown = true
	return "stopped NATS: nothing expires and nothing is sent until it is back", nil
}

// toggleLeader closes the leader. One that is closed already is opened instead.
func (a *devActor) toggleLeader(context.Context) (string, error) {
	for _, n := range a.world.nodes {
		if open, _, _ := n.state(); !open {
			did := a.reopen(n)
			return did.text, did.err
		}
	}
	for i, n := range a.world.nodes {
		if _, leads, _ := n.state(); !leads {
			continue
		}
		away := min(devAway*a.world.opts.heartbeat, devMaxAway)
		text := fmt.Sprintf("closed node %s, which led; it comes back in %s", n.id(), away)
		if others := len(a.world.nodes) - 1; i == 0 && others > 0 {
			text += ", until then ask " + a.world.nodes[1].url()
		}
		return text, n.closeFor(away)
	}
	return "closing the leader", errors.New("no node leads at present")
}

// togglePause does what hm pause and hm resume do.
func (a *devActor) togglePause(ctx context.Context) (string, error) {
	client := a.anyClient()
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
	_, _, err = client.SetHold(ctx, api.HoldRequest{Name: reconcile.HoldPaused, Reason: "paused from hm dev", By: "hm dev"})
	return "paused: no command is sent until p is pressed again", err
}

func (a *devActor) anyClient() *api.Client {
	for _, n := range a.world.nodes {
		if open, _, _ := n.state(); open {
			return n.client
		}
	}
	return nil
}

func (a *devActor) toggleBulk(context.Context) (string, error) {
	f := a.world.sim.Faults()
	if f.Bulk != cc.BulkHealthy {
		f.Bulk = cc.BulkHealthy
		return "mended the Cloud Controller's bulk API", a.world.sim.SetFaults(f)
	}
	f.Bulk = cc.BulkError
	text := "broke the Cloud Controller's bulk API: it answers 500"
	if a.world.opts.desired == config.SourceSQL {
		text += ", which nodes that read its database do not mind"
	}
	return text, a.world.sim.SetFaults(f)
}
