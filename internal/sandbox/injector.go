package sandbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"hm/internal/app"
	"hm/internal/liveview"
	"hm/internal/sim/cc"
)

// injector injects the faults that the keys ask for, and ends them. It is not safe for concurrent use.
type injector struct {
	sandbox *Sandbox
	rng     *rand.Rand

	natsDown bool
	looping  app.GUID // the app that crash-loops; zero if none does
}

// fault injects a fault, ends one, or changes an app. It returns what it did to what. With an error the text says what
// was tried.
type fault func(context.Context) (string, error)

// outcome is the result of a fault.
type outcome struct {
	text string
	err  error
}

func newInjector(s *Sandbox) injector {
	return injector{sandbox: s, rng: rand.New(rand.NewPCG(s.opts.Seed, 0))}
}

// inject injects the fault that an action asks for.
func (i *injector) inject(ctx context.Context, action liveview.Action) outcome {
	f := i.faultOf(action)
	if f == nil {
		return outcome{string(action), errors.New("unknown action")}
	}
	text, err := f(ctx)
	return outcome{text, err}
}

// faultOf returns the fault for an action, or nil.
func (i *injector) faultOf(action liveview.Action) fault {
	switch action {
	case liveview.KillDEA:
		return i.killDEA
	case liveview.KillSeveral:
		return i.killSeveral
	case liveview.ReviveDEAs:
		return i.reviveDEAs
	case liveview.EvacuateDEA:
		return i.evacuateDEA
	case liveview.CrashOne:
		return i.crashOne
	case liveview.CrashLoop:
		return i.crashLoop
	case liveview.ScaleUp:
		return i.scaleUp
	case liveview.ScaleDown:
		return i.scaleDown
	case liveview.UpdateApp:
		return i.updateApp
	case liveview.DeleteApp:
		return i.deleteApp
	case liveview.AddApp:
		return i.addApp
	case liveview.ToggleNATS:
		return i.toggleNATS
	case liveview.ToggleLeader:
		return i.toggleLeader
	case liveview.TogglePause:
		return i.togglePause
	case liveview.ToggleBulk:
		return i.toggleBulk
	}
	return nil
}

// reopenDue opens the closed nodes that are due.
func (i *injector) reopenDue(now time.Time) []outcome {
	var done []outcome
	for _, n := range i.sandbox.nodes {
		if open, _, backAt := n.state(); !open && !now.Before(backAt) {
			done = append(done, i.reopen(n))
		}
	}
	return done
}

// reopenRetry is how long to wait after a node could not be opened.
const reopenRetry = time.Second

func (i *injector) reopen(n *node) outcome {
	if err := n.open(); err != nil {
		n.setBackAt(time.Now().Add(reopenRetry))
		return outcome{"opening node " + n.id() + " again", err}
	}
	return outcome{"opened node " + n.id() + " again on the same data", nil}
}

// active lists the faults that last.
func (i *injector) active() []string {
	var faults []string
	add := func(is bool, text string) {
		if is {
			faults = append(faults, text)
		}
	}
	add(i.natsDown, "NATS is stopped (n)")
	add(i.sandbox.sim.Faults().Bulk != cc.BulkHealthy, "the bulk API is broken (b)")
	add(!i.looping.IsZero(), "app "+shortGUID(i.looping)+" crash-loops (C)")
	gone := i.sandbox.sim.State().DEAsGone
	add(gone > 0, plural(gone, "DEA")+" gone (r)")
	return faults
}
