package recording

import (
	"errors"
	"fmt"
	"slices"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// The lines with the recorded state, holds, and reads of single apps.

// stateLine reads a line of the recorded state.
func (r *Reader) stateLine(l *line, e *Event) (complete bool, err error) {
	switch {
	case len(l.Snapshot) == 0:
		return false, errors.New("a state line needs a snapshot")
	case r.hasEvent && !r.anyState:
		return false, errors.New("a state must come before all other events")
	case len(r.state)+len(l.Snapshot) > maxState:
		return false, fmt.Errorf("a state of more than %d MiB", maxState>>20)
	}
	r.state = append(r.state, l.Snapshot...)
	if l.More {
		return false, nil
	}
	e.State, r.state = r.state, nil
	e.CarriedOver = r.continues
	return true, nil
}

// hold reads that a person set or released a hold.
func (l *line) hold(e *Event) error {
	if l.Set == nil {
		return errors.New("a hold line needs set: true or false")
	}
	e.Released = !*l.Set
	e.Hold = raftfsm.Hold{Name: l.Name, Reason: l.Reason, By: l.By}
	if l.Until != nil {
		if err := checkTime(*l.Until); err != nil {
			return fmt.Errorf("until: %w", err)
		}
		e.Hold.Until = app.TimeOf(*l.Until)
	}
	return raftfsm.CheckHold(e.Hold)
}

// oneApp reads the outcome of a read of one app: its rows, none if the app does not exist, or an error. apps are the
// rows that takeRows has cut out.
func (l *line) oneApp(apps []desired.App, e *Event) error {
	e.OnlyApp = *l.App
	if e.OnlyApp.IsZero() || l.More || l.Unchanged || len(l.Unreadable) > 0 {
		return errors.New("a read of one app has app, and of the other members only apps, began or error")
	}
	if l.Apps == nil {
		return nil
	}
	for _, row := range *l.Apps {
		a, err := row.app()
		if err != nil {
			return err
		}
		apps = append(apps, a)
	}
	for _, a := range apps {
		if a.Key.Droplet != e.OnlyApp {
			return fmt.Errorf("a read of app %s has a row of %s", e.OnlyApp, a.Key.Droplet)
		}
	}
	var err error
	e.Read, err = desired.NewRead("recording", slices.Clip(apps))
	return err
}
