package sim

import (
	"errors"
	"fmt"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

// AppSpec is an app to create. Zero values take the default that the field names.
type AppSpec struct {
	GUID      app.GUID `json:"guid,omitzero"`    // default: a new one
	Version   app.GUID `json:"version,omitzero"` // default: a new one
	Instances *int     `json:"instances"`        // default 1
	Stopped   bool     `json:"stopped"`          // default STARTED
	Staging   bool     `json:"staging"`          // PENDING, with no droplet yet; StageApp ends it. Default STAGED
	Diego     bool     `json:"diego"`
	Memory    int      `json:"memory"` // MiB, default 256
}

// CreateApp adds an app, as a push does, and, unless passive, has its instances started.
func (s *Sim) CreateApp(spec AppSpec) (Row, error) {
	instances := 1
	if spec.Instances != nil {
		instances = *spec.Instances
	}
	if err := checkInstances(instances); err != nil {
		return Row{}, err
	}
	c := s.controller
	c.mu.Lock()
	row := Row{GUID: spec.GUID, Version: spec.Version, Instances: instances, State: desired.Started, Package: desired.Staged,
		Droplet: !spec.Staging, Diego: spec.Diego, Memory: spec.Memory, UpdatedAt: time.Now()}
	if row.GUID.IsZero() {
		row.GUID = c.mint.uuid()
	}
	if row.Version.IsZero() {
		row.Version = c.mint.uuid()
	}
	if row.Memory == 0 {
		row.Memory = 256
	}
	if spec.Stopped {
		row.State = desired.Stopped
	}
	if spec.Staging {
		row.Package = desired.Pending
	}
	row, err := c.apps.insert(row)
	var out []post
	if err == nil {
		out = append(c.startAll(row), c.updated(row.GUID))
		c.fleet.changed(row.GUID)
	}
	c.mu.Unlock()
	c.publish(out...)
	return row, err
}

// ScaleApp sets the number of wanted instances.
func (s *Sim) ScaleApp(guid app.GUID, instances int) (Row, error) {
	if err := checkInstances(instances); err != nil {
		return Row{}, err
	}
	return s.change(guid, func(r *Row) { r.Instances = instances }, func(before, after Row) []post {
		if !after.Startable() {
			return nil
		}
		if after.Instances >= before.Instances {
			return s.controller.startFrom(after, before.Instances)
		}
		stop := stopFilter{Droplet: guid, Version: after.Version}
		for i := after.Instances; i < before.Instances; i++ {
			stop.Indices = append(stop.Indices, uint32(i))
		}
		return []post{stopMessage(stop)}
	})
}

// StopApp turns an app STOPPED.
func (s *Sim) StopApp(guid app.GUID) (Row, error) {
	return s.change(guid, func(r *Row) { r.State = desired.Stopped }, s.stopBefore)
}

// StartApp turns an app STARTED, which gives it a new version (D25). A started app stays as it is.
func (s *Sim) StartApp(guid app.GUID) (Row, error) {
	return s.change(guid, func(r *Row) {
		if r.State != desired.Started {
			r.State, r.Version = desired.Started, s.controller.mint.uuid()
		}
	}, func(before, after Row) []post {
		if before.State == desired.Started {
			return nil
		}
		return s.controller.startAll(after)
	})
}

// RestartApp stops an app and starts it with a new version.
func (s *Sim) RestartApp(guid app.GUID) (Row, error) {
	return s.change(guid, func(r *Row) { r.State, r.Version = desired.Started, s.controller.mint.uuid() }, func(before, after Row) []post {
		return append(s.stopBefore(before, after), s.controller.startAll(after)...)
	})
}

// RestageApp stops an app and stages it anew, under a new version: it is PENDING until staging ends after
// Options.StagingDelay, then STAGED and started; or FAILED, if it is to fail.
func (s *Sim) RestageApp(guid app.GUID, fail bool) (Row, error) {
	row, err := s.change(guid, func(r *Row) { r.Package, r.Version = desired.Pending, s.controller.mint.uuid() }, s.stopBefore)
	if err != nil {
		return row, err
	}
	s.stageLater(row, fail)
	return row, nil
}

// stageLater ends an app's staging after Options.StagingDelay, unless the app has got another version by then.
func (s *Sim) stageLater(row Row, fail bool) {
	s.timeline.after(s.opts.StagingDelay, func() {
		s.wg.Go(func() { s.endStaging(row, fail) }) // the database may take its time, which the timeline must not
	})
}

func (s *Sim) endStaging(row Row, fail bool) {
	c := s.controller
	c.mu.Lock()
	now, known := c.apps.get(row.GUID)
	c.mu.Unlock()
	if !known || now.Package != desired.Pending || now.Version != row.Version {
		return
	}
	if _, err := s.StageApp(row.GUID, fail); errors.Is(err, ErrUnavailable) {
		c.log.Warn("the end of a staging could not be kept and is tried again", "app", row.GUID.String(), "error", err)
		s.stageLater(row, fail)
	} // the app can also have been deleted meanwhile, which is fine
}

// StageApp ends the staging of an app: STAGED with a droplet, or FAILED.
func (s *Sim) StageApp(guid app.GUID, fail bool) (Row, error) {
	return s.change(guid, func(r *Row) {
		if fail {
			r.Package = desired.Failed
			return
		}
		r.Package, r.Droplet = desired.Staged, true
	}, func(before, after Row) []post {
		if before.Startable() {
			return nil
		}
		return s.controller.startAll(after)
	})
}

// DeleteApp removes an app.
func (s *Sim) DeleteApp(guid app.GUID) error {
	c := s.controller
	c.mu.Lock()
	row, err := c.apps.remove(guid)
	var out []post
	if err == nil {
		out = append(s.stopBefore(row, row), c.updated(guid))
		c.fleet.changed(guid)
	}
	c.mu.Unlock()
	c.publish(out...)
	return err
}

// change alters a row and, unless passive, sends what act asks for; droplet.updated follows (N46).
func (s *Sim) change(guid app.GUID, alter func(*Row), act func(before, after Row) []post) (Row, error) {
	c := s.controller
	c.mu.Lock()
	before, after, err := c.apps.update(guid, func(r *Row) {
		alter(r)
		r.UpdatedAt = time.Now()
	})
	var out []post
	if err == nil {
		if !s.opts.Passive {
			out = act(before, after)
		}
		out = append(out, c.updated(guid))
		c.fleet.changed(guid)
	}
	c.mu.Unlock()
	c.publish(out...)
	return after, err
}

// stopBefore stops every instance of an app, as the Cloud Controller does before it stops, restarts or deletes it.
func (s *Sim) stopBefore(before, _ Row) []post {
	if s.opts.Passive || before.Diego {
		return nil
	}
	return []post{stopMessage(stopFilter{Droplet: before.GUID})}
}

func (c *controller) startAll(row Row) []post { return c.startFrom(row, 0) }

// startFrom starts the indices from the given one up, if the app is one to be started.
func (c *controller) startFrom(row Row, from int) []post {
	if c.opts.Passive || !row.Startable() {
		return nil
	}
	var out []post
	for i := from; i < row.Instances; i++ {
		if p, dea := c.startMessage(row, i); dea != "" {
			out = append(out, p)
		}
	}
	return out
}

func (c *controller) updated(guid app.GUID) post {
	return post{subjectUpdated, mustJSON(struct {
		Droplet app.GUID `json:"droplet"`
	}{guid})}
}

func checkInstances(n int) error {
	if n < 0 || n > actual.MaxIndex+1 {
		return fmt.Errorf("%w: %d instances, it must be 0 to %d", ErrInvalid, n, actual.MaxIndex+1)
	}
	return nil
}
