package sandbox

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

// servingDEAs returns the DEAs that run and take new instances.
func (i *injector) servingDEAs() []fleet.DEA {
	return slices.DeleteFunc(i.sandbox.sim.Fleet.DEAs(0, 1<<30),
		func(d fleet.DEA) bool { return d.Status != "serving" || d.Paused })
}

// draw picks one at random. It returns false if there is none.
func draw[T any](in *injector, of []T) (T, bool) {
	if len(of) == 0 {
		var none T
		return none, false
	}
	return of[in.rng.IntN(len(of))], true
}

var (
	errNoDEA = errors.New("no DEA is serving; r brings back the DEAs that are gone")
	errNoApp = errors.New("no app is suitable; a adds one")
)

func (i *injector) killDEA(context.Context) (string, error) {
	d, ok := draw(i, i.servingDEAs())
	if !ok {
		return "killing a DEA", errNoDEA
	}
	return fmt.Sprintf("killed DEA %s with %s on it", d.ID, plural(d.Live, "instance")), i.sandbox.sim.Fleet.Kill(d.ID)
}

// killSeveral kills a quarter of the DEAs. That is too few, by itself, for hold:mass-loss.
func (i *injector) killSeveral(context.Context) (string, error) {
	deas := i.servingDEAs()
	if len(deas) == 0 {
		return "killing several DEAs", errNoDEA
	}
	i.rng.Shuffle(len(deas), func(a, b int) { deas[a], deas[b] = deas[b], deas[a] })
	instances := 0
	deas = deas[:max(1, len(deas)/4)]
	for _, d := range deas {
		if err := i.sandbox.sim.Fleet.Kill(d.ID); err != nil {
			return "killing DEA " + d.ID, err
		}
		instances += d.Live
	}
	return fmt.Sprintf("killed %s with %s on them", plural(len(deas), "DEA"), plural(instances, "instance")), nil
}

// reviveDEAs brings back the DEAs that were killed or that left after an evacuation.
func (i *injector) reviveDEAs(context.Context) (string, error) {
	n := 0
	for _, d := range i.sandbox.sim.Fleet.DEAs(0, 1<<30) {
		if d.Status != "gone" {
			continue
		}
		if err := i.sandbox.sim.Fleet.Restart(d.ID); err != nil {
			return "bringing DEA " + d.ID + " back", err
		}
		n++
	}
	if n == 0 {
		return "bringing DEAs back", errors.New("no DEA is gone")
	}
	return fmt.Sprintf("brought %s back, empty and with a new id each", plural(n, "DEA")), nil
}

func (i *injector) evacuateDEA(context.Context) (string, error) {
	d, ok := draw(i, i.servingDEAs())
	if !ok {
		return "evacuating a DEA", errNoDEA
	}
	return fmt.Sprintf("asked DEA %s to evacuate its %s", d.ID, plural(d.Live, "instance")),
		i.sandbox.sim.Fleet.Evacuate(d.ID)
}

// maxApps bounds the apps from which one is drawn.
const maxApps = 2000

// app draws one of the started apps that fit accepts.
func (i *injector) app(fit func(sim.AppView) bool) (sim.AppView, error) {
	apps := slices.DeleteFunc(i.sandbox.sim.Apps(0, maxApps),
		func(v sim.AppView) bool { return v.State != "STARTED" || !fit(v) })
	v, ok := draw(i, apps)
	if !ok {
		return v, errNoApp
	}
	return v, nil
}

func anyApp(sim.AppView) bool { return true }

// runs returns the index of a RUNNING instance of the app, if there is one.
func runs(v sim.AppView) (index uint32, ok bool) {
	for _, in := range v.Running {
		if in.State == "RUNNING" {
			return in.Index, true
		}
	}
	return 0, false
}

func (i *injector) crashOne(context.Context) (string, error) {
	v, err := i.app(func(v sim.AppView) bool { _, ok := runs(v); return ok })
	if err != nil {
		return "crashing an instance", err
	}
	index, _ := runs(v)
	return fmt.Sprintf("crashed app %s index %d", shortGUID(v.GUID), index),
		i.sandbox.sim.Fleet.CrashInstance(v.GUID, int(index))
}

func (i *injector) crashLoop(context.Context) (string, error) {
	if g := i.looping; !g.IsZero() {
		i.looping = app.GUID{}
		err := i.sandbox.sim.Fleet.EndCrashLoop(g)
		if errors.Is(err, sim.ErrNotFound) {
			err = nil // the app has been deleted
		}
		return "healed app " + shortGUID(g), err
	}
	v, err := i.app(func(v sim.AppView) bool { _, ok := runs(v); return ok })
	if err != nil {
		return "making an app crash-loop", err
	}
	if err := i.sandbox.sim.Fleet.CrashLoop(v.GUID, i.sandbox.opts.Heartbeat/2); err != nil {
		return "making app " + shortGUID(v.GUID) + " crash-loop", err
	}
	i.looping = v.GUID
	return fmt.Sprintf("app %s with %s crashes again and again", shortGUID(v.GUID), plural(v.Instances, "instance")), nil
}

func (i *injector) scaleUp(context.Context) (string, error) { return i.scale(1, anyApp) }

func (i *injector) scaleDown(context.Context) (string, error) {
	return i.scale(-1, func(v sim.AppView) bool { return v.Instances > 1 })
}

func (i *injector) scale(by int, fit func(sim.AppView) bool) (string, error) {
	v, err := i.app(fit)
	if err != nil {
		return "scaling an app", err
	}
	_, err = i.sandbox.sim.CC.ScaleApp(v.GUID, v.Instances+by)
	to := plural(v.Instances+by, "instance")
	return fmt.Sprintf("scaled app %s from %d to %s", shortGUID(v.GUID), v.Instances, to), err
}

func (i *injector) updateApp(context.Context) (string, error) {
	v, err := i.app(anyApp)
	if err != nil {
		return "updating an app", err
	}
	row, err := i.sandbox.sim.CC.RestartApp(v.GUID)
	return fmt.Sprintf("updated app %s from version %s to %s",
		shortGUID(v.GUID), shortGUID(v.Version), shortGUID(row.Version)), err
}

func (i *injector) deleteApp(context.Context) (string, error) {
	v, err := i.app(anyApp)
	if err != nil {
		return "deleting an app", err
	}
	return fmt.Sprintf("deleted app %s with %s", shortGUID(v.GUID), plural(v.Instances, "instance")),
		i.sandbox.sim.CC.DeleteApp(v.GUID)
}

func (i *injector) addApp(context.Context) (string, error) {
	instances := 1 + i.rng.IntN(4)
	row, err := i.sandbox.sim.CC.CreateApp(cc.AppSpec{Instances: &instances})
	return fmt.Sprintf("added app %s with %s", shortGUID(row.GUID), plural(instances, "instance")), err
}
