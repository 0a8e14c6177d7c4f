package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"hm/internal/app"
	"hm/internal/sim"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
)

func shortGUID(g app.GUID) string { return fmt.Sprintf("%.8s", g.String()) }

// servingDEAs gives the DEAs that run and take new instances.
func (a *devActor) servingDEAs() []fleet.DEA {
	return slices.DeleteFunc(a.world.sim.Fleet.DEAs(0, 1<<30), func(d fleet.DEA) bool { return d.Status != "serving" || d.Paused })
}

// draw takes one of them at random.
func draw[T any](a *devActor, of []T) (T, bool) {
	if len(of) == 0 {
		var none T
		return none, false
	}
	return of[a.dice.IntN(len(of))], true
}

var (
	errNoDEA = errors.New("no DEA is serving; r brings back those that are gone")
	errNoApp = errors.New("no app fits; a adds one")
)

func (a *devActor) killDEA(context.Context) (string, error) {
	d, ok := draw(a, a.servingDEAs())
	if !ok {
		return "killing a DEA", errNoDEA
	}
	return fmt.Sprintf("killed DEA %s with %s on it", d.ID, plural(d.Live, "instance")), a.world.sim.Fleet.Kill(d.ID)
}

// killSeveral kills a quarter of the DEAs: enough to be seen, and not enough, by itself, for hold:mass-loss.
func (a *devActor) killSeveral(context.Context) (string, error) {
	deas := a.servingDEAs()
	if len(deas) == 0 {
		return "killing several DEAs", errNoDEA
	}
	a.dice.Shuffle(len(deas), func(i, j int) { deas[i], deas[j] = deas[j], deas[i] })
	instances := 0
	deas = deas[:max(1, len(deas)/4)]
	for _, d := range deas {
		if err := a.world.sim.Fleet.Kill(d.ID); err != nil {
			return "killing DEA " + d.ID, err
		}
		instances += d.Live
	}
	return fmt.Sprintf("killed %s with %s on them", plural(len(deas), "DEA"), plural(instances, "instance")), nil
}

// reviveDEAs brings back those that were killed, and those that left after an evacuation.
func (a *devActor) reviveDEAs(context.Context) (string, error) {
	n := 0
	for _, d := range a.world.sim.Fleet.DEAs(0, 1<<30) {
		if d.Status != "gone" {
			continue
		}
		if err := a.world.sim.Fleet.Restart(d.ID); err != nil {
			return "bringing DEA " + d.ID + " back", err
		}
		n++
	}
	if n == 0 {
		return "bringing DEAs back", errors.New("none is gone")
	}
	return fmt.Sprintf("brought %s back, empty and with a new id each", plural(n, "DEA")), nil
}

func (a *devActor) evacuateDEA(context.Context) (string, error) {
	d, ok := draw(a, a.servingDEAs())
	if !ok {
		return "evacuating a DEA", errNoDEA
	}
	return fmt.Sprintf("asked DEA %s to evacuate its %s", d.ID, plural(d.Live, "instance")), a.world.sim.Fleet.Evacuate(d.ID)
}

// devApps is from how many apps one is drawn.
const devApps = 2000

// app draws one of the started apps that fit.
func (a *devActor) app(fits func(sim.AppView) bool) (sim.AppView, error) {
	apps := slices.DeleteFunc(a.world.sim.Apps(0, devApps), func(v sim.AppView) bool { return v.State != "STARTED" || !fits(v) })
	v, ok := draw(a, apps)
	if !ok {
		return v, errNoApp
	}
	return v, nil
}

func anyApp(sim.AppView) bool { return true }

// runs reports whether an instance of the app is RUNNING, and at what index.
func runs(v sim.AppView) (index uint32, ok bool) {
	for _, in := range v.Running {
		if in.State == "RUNNING" {
			return in.Index, true
		}
	}
	return 0, false
}

func (a *devActor) crashOne(context.Context) (string, error) {
	v, err := a.app(func(v sim.AppView) bool { _, ok := runs(v); return ok })
	if err != nil {
		return "crashing an instance", err
	}
	index, _ := runs(v)
	return fmt.Sprintf("crashed app %s index %d", shortGUID(v.GUID), index), a.world.sim.Fleet.CrashInstance(v.GUID, int(index))
}

func (a *devActor) crashLoop(context.Context) (string, error) {
	if g := a.looping; !g.IsZero() {
		a.looping = app.GUID{}
		err := a.world.sim.Fleet.EndCrashLoop(g)
		if errors.Is(err, sim.ErrNotFound) {
			err = nil // the app was deleted meanwhile
		}
		return "healed app " + shortGUID(g), err
	}
	v, err := a.app(func(v sim.AppView) bool { _, ok := runs(v); return ok })
	if err != nil {
		return "making an app crash-loop", err
	}
	if err := a.world.sim.Fleet.CrashLoop(v.GUID, a.world.opts.heartbeat/2); err != nil {
		return "making app " + shortGUID(v.GUID) + " crash-loop", err
	}
	a.looping = v.GUID
	return fmt.Sprintf("app %s with %s crashes again and again", shortGUID(v.GUID), plural(v.Instances, "instance")), nil
}

func (a *devActor) scaleUp(context.Context) (string, error) { return a.scale(1, anyApp) }

func (a *devActor) scaleDown(context.Context) (string, error) {
	return a.scale(-1, func(v sim.AppView) bool { return v.Instances > 1 })
}

func (a *devActor) scale(by int, fits func(sim.AppView) bool) (string, error) {
	v, err := a.app(fits)
	if err != nil {
		return "scaling an app", err
	}
	_, err = a.world.sim.CC.ScaleApp(v.GUID, v.Instances+by)
	return fmt.Sprintf("scaled app %s from %d to %s", shortGUID(v.GUID), v.Instances, plural(v.Instances+by, "instance")), err
}

func (a *devActor) updateApp(context.Context) (string, error) {
	v, err := a.app(anyApp)
	if err != nil {
		return "updating an app", err
	}
	row, err := a.world.sim.CC.RestartApp(v.GUID)
	return fmt.Sprintf("updated app %s from version %s to %s", shortGUID(v.GUID), shortGUID(v.Version), shortGUID(row.Version)), err
}

func (a *devActor) deleteApp(context.Context) (string, error) {
	v, err := a.app(anyApp)
	if err != nil {
		return "deleting an app", err
	}
	return fmt.Sprintf("deleted app %s with %s", shortGUID(v.GUID), plural(v.Instances, "instance")), a.world.sim.CC.DeleteApp(v.GUID)
}

func (a *devActor) addApp(context.Context) (string, error) {
	instances := 1 + a.dice.IntN(4)
	row, err := a.world.sim.CC.CreateApp(cc.AppSpec{Instances: &instances})
	return fmt.Sprintf("added app %s with %s", shortGUID(row.GUID), plural(instances, "instance")), err
}
