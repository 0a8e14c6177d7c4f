package faulttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"hm/actual"
	"hm/actual/feed"
	"hm/internal/recording"
	"hm/internal/sim"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
)

var errNone = errors.New("there is nothing that it could happen to")

func isNotFound(err error) bool { return strings.Contains(err.Error(), " 404 ") }

// hitDEAs lets something happen to DEAs.
func (w *world) hitDEAs(ctx context.Context, f Fault) (over, string, error) {
	deas, err := w.control.deas(ctx)
	if err != nil {
		return nil, "", err
	}
	deas = chosen(deas, f)
	if len(deas) == 0 {
		return nil, "", errNone
	}
	what := fmt.Sprintf("%d DEAs, the first is %.6s", len(deas), deas[0].ID)
	if f.Kind == DEADoubled {
		return w.double(deas[0]), what, nil
	}
	actions := map[Kind]fleet.Action{DEAKill: fleet.Kill, DEAPause: fleet.Pause, DEARestart: fleet.Restart,
		DEAEvacuate: fleet.Evacuate, DEAShutdown: fleet.Shutdown}
	act := func(ctx context.Context, action fleet.Action) (err error) {
		for _, d := range deas {
			if e := w.control.post(ctx, "/deas/"+d.ID+"/"+string(action), nil); e != nil && !isConflict(e) {
				err = errors.Join(err, e)
			}
		}
		return err
	}
	end := func() error {
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		switch f.Kind {
		case DEAPause:
			return act(ctx, fleet.Resume)
		case DEAKill, DEAEvacuate, DEAShutdown: // others take their place
			return w.control.post(ctx, "/deas", map[string]int{"count": len(deas)})
		}
		return nil
	}
	return end, what, act(ctx, actions[f.Kind])
}

func isConflict(err error) bool { return strings.Contains(err.Error(), " 409 ") }

// double heartbeats with the id of a DEA and without an instance, as often as the DEA does.
func (w *world) double(d fleet.DEA) over {
	ctx, stop := context.WithCancel(w.ctx)
	done := make(chan struct{})
	over := w.obs.doubled(d.ID)
	beat := recording.EncodeHeartbeat(actual.Heartbeat{DEA: d.ID})
	go func() {
		defer close(done)
		tick := time.NewTicker(w.Period)
		defer tick.Stop()
		for {
			_ = w.observed.Publish(feed.SubjectHeartbeat, beat) // NATS may be away
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() error { stop(); <-done; over(); return nil }
}

// hitApp does what users do to an app, or what an app does to itself.
func (w *world) hitApp(ctx context.Context, f Fault) (over, string, error) {
	if f.Kind == AppCreate {
		return nothing, "", w.control.post(ctx, "/apps", cc.AppSpec{Instances: &f.Count})
	}
	apps, err := w.control.apps(ctx)
	if err != nil {
		return nil, "", err
	}
	a, ok := choose(apps, f)
	if !ok {
		return nil, "", errNone
	}
	act := func(ctx context.Context, action string, body any) error {
		err := w.control.post(ctx, "/apps/"+a.GUID.String()+"/"+action, body)
		if err != nil && isNotFound(err) { // it was deleted, or nothing runs any more
			return nil
		}
		return err
	}
	later := func(action string) over {
		return func() error {
			ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
			defer cancel()
			return act(ctx, action, nil)
		}
	}
	what := fmt.Sprintf("app %.8s", a.GUID.String())
	switch f.Kind {
	case AppScale:
		return nothing, what, act(ctx, "scale", map[string]int{"instances": f.Count})
	case AppDelete:
		return nothing, what, w.control.do(ctx, "DELETE", "/apps/"+a.GUID.String(), nil, nil)
	case AppStop:
		return later("start"), what, act(ctx, "stop", nil)
	case AppUpdate:
		return nothing, what, act(ctx, "restart", nil)
	case AppRestage:
		return nothing, what, act(ctx, "restage", nil)
	case AppLoop:
		return later("end-crash-loop"), what, act(ctx, "crash-loop", nil)
	case AppCrash:
		for i := range min(f.Count, a.Instances) {
			err = errors.Join(err, act(ctx, "crash", map[string]int{"index": i}))
		}
		return nothing, what, err
	}
	return nil, what, fmt.Errorf("%s is no fault that the bench knows", f.Kind)
}

// choose gives one of the apps that are started, by the number that the fault has.
func choose(apps []sim.AppView, f Fault) (sim.AppView, bool) {
	var can []sim.AppView
	for _, a := range apps {
		if a.State == "STARTED" {
			can = append(can, a)
		}
	}
	if len(can) == 0 {
		return sim.AppView{}, false
	}
	return can[f.Pick%uint64(len(can))], true
}
