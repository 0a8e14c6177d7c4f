package recording

import (
	"errors"
	"fmt"
	"slices"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// The lines that only a node can tell of: what it had recorded, what people held, and reads of single apps.

// stateLine reads a line of the recorded state, with which a file begins.
func (r *Reader) stateLine(l *line, e *Event) (complete bool, err error) {
	switch {
	case len(l.Snapshot) == 0:
		return false, errors.New("a state line needs a snapshot")
	case r.begun && !r.live:
		return false, errors.New("a state can only come before everything else")
	case len(r.state)+len(l.Snapshot) > maxState:
		return false, fmt.Errorf("a state of more than %d MiB", maxState>>20)
	}
	r.state = append(r.state, l.Snapshot...)
	if l.More {
		return false, nil
	}
	e.State, r.state = r.state, nil
	e.CarriedOver = r.again
	return true, nil
}

// hold reads what a person did to a hold.
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

// oneApp reads what was read of a single app: its rows, of which some were taken out of the line, an error, or nothing
// if it is not there.
func (l *line) oneApp(apps []desired.App, e *Event) error {
	e.OnlyApp = *l.App
	if e.OnlyApp.IsZero() || l.More || l.Unchanged || len(l.Unreadable) > 0 {
		return errors.New("a read of one app has its guid, and nothing else but apps, began or error")
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
