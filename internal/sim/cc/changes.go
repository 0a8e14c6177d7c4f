package cc

import (
	"errors"
	"fmt"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/sim/wire"
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
func (c *Controller) CreateApp(spec AppSpec) (Row, error) {
	instances := 1
	if spec.Instances != nil {
		instances = *spec.Instances
	}
	if err := checkInstances(instances); err != nil {
		return Row{}, err
	}
	c.mu.Lock()
	row := Row{
		GUID: spec.GUID, Version: spec.Version, Instances: instances, State: desired.Started, Package: desired.Staged,
		Droplet: !spec.Staging, Diego: spec.Diego, Memory: spec.Memory, UpdatedAt: time.Now(),
	}
	if row.GUID.IsZero() {
		row.GUID = c.ids.UUID()
	}
	if row.Version.IsZero() {
		row.Version = c.ids.UUID()
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
	var out []wire.Message
	if err == nil {
		out = append(c.startAll(row), c.updated(row.GUID))
		c.fleet.AppChanged(row.GUID)
	}
	c.mu.Unlock()
	c.publish(out...)
	return row, err
}

// ScaleApp sets the number of wanted instances.
func (c *Controller) ScaleApp(guid app.GUID, instances int) (Row, error) {
	if err := checkInstances(instances); err != nil {
		return Row{}, err
	}
	return c.change(guid, func(r *Row) { r.Instances = instances }, func(before, after Row) []wire.Message {
		if !after.Startable() {
			return nil
		}
		if after.Instances >= before.Instances {
			return c.startFrom(after, before.Instances)
		}
		stop := wire.Stop{Droplet: guid, Version: after.Version}
		for i := after.Instances; i < before.Instances; i++ {
			stop.Indices = append(stop.Indices, uint32(i))
		}
		return []wire.Message{stopMessage(stop)}
	})
}

// StopApp turns an app STOPPED.
func (c *Controller) StopApp(guid app.GUID) (Row, error) {
	return c.change(guid, func(r *Row) { r.State = desired.Stopped }, c.stopBefore)
}

// StartApp turns an app STARTED, which gives it a new version (D25). A started app stays as it is.
func (c *Controller) StartApp(guid app.GUID) (Row, error) {
	return c.change(guid, func(r *Row) {
		if r.State != desired.Started {
			r.State, r.Version = desired.Started, c.ids.UUID()
		}
	}, func(before, after Row) []wire.Message {
		if before.State == desired.Started {
			return nil
		}
		return c.startAll(after)
	})
}

// RestartApp stops an app and starts it with a new version.
func (c *Controller) RestartApp(guid app.GUID) (Row, error) {
	return c.change(guid, func(r *Row) { r.State, r.Version = desired.Started, c.ids.UUID() },
		func(before, after Row) []wire.Message {
			return append(c.stopBefore(before, after), c.startAll(after)...)
		})
}

// RestageApp stops an app and stages it again, with a new version: it is PENDING until staging ends after
// Options.StagingDelay, then STAGED and started; or FAILED, if it is to fail, or if NATS, over which stagers work, is away
// when it begins or ends.
func (c *Controller) RestageApp(guid app.GUID, fail bool) (Row, error) {
	row, err := c.change(guid, func(r *Row) { r.Package, r.Version = desired.Pending, c.ids.UUID() }, c.stopBefore)
	if err != nil {
		return row, err
	}
	c.stageLater(row, fail || !c.stager())
	return row, nil
}

// stageLater ends an app's staging after Options.StagingDelay, unless the app has another version by then.
func (c *Controller) stageLater(row Row, fail bool) {
	c.opts.After(c.opts.StagingDelay, func() {
		c.stagings.Go(func() { c.endStaging(row, fail) }) // the database may be slow, and events must not be
	})
}

func (c *Controller) endStaging(row Row, fail bool) {
	c.mu.Lock()
	now, known := c.apps.get(row.GUID)
	c.mu.Unlock()
	if !known || now.Package != desired.Pending || now.Version != row.Version {
		return
	}
	if _, err := c.StageApp(row.GUID, fail || !c.stager()); errors.Is(err, wire.ErrUnavailable) {
		c.log.Warn("could not record the end of a staging; trying again", "app", row.GUID.String(), "error", err)
		c.stageLater(row, fail)
	} // other errors: the app was deleted meanwhile
}

// StageApp ends the staging of an app: STAGED with a droplet, or FAILED.
func (c *Controller) StageApp(guid app.GUID, fail bool) (Row, error) {
	return c.change(guid, func(r *Row) {
		if fail {
			r.Package = desired.Failed
			return
		}
		r.Package, r.Droplet = desired.Staged, true
	}, func(before, after Row) []wire.Message {
		if before.Startable() {
			return nil
		}
		return c.startAll(after)
	})
}

// DeleteApp removes an app.
func (c *Controller) DeleteApp(guid app.GUID) error {
	c.mu.Lock()
	row, err := c.apps.remove(guid)
	var out []wire.Message
	if err == nil {
		out = append(c.stopBefore(row, row), c.updated(guid))
		c.fleet.AppChanged(guid)
	}
	c.mu.Unlock()
	c.publish(out...)
	return err
}

// change alters a row and, unless passive, sends the messages that act returns; droplet.updated follows (N46).
func (c *Controller) change(guid app.GUID, alter func(*Row), act func(before, after Row) []wire.Message) (Row, error) {
	c.mu.Lock()
	before, after, err := c.apps.update(guid, func(r *Row) {
		alter(r)
		r.UpdatedAt = time.Now()
	})
	var out []wire.Message
	if err == nil {
		if !c.opts.Passive {
			out = act(before, after)
		}
		out = append(out, c.updated(guid))
		c.fleet.AppChanged(guid)
	}
	c.mu.Unlock()
	c.publish(out...)
	return after, err
}

// stopBefore stops every instance of an app, as the Cloud Controller does before it stops, restarts or deletes it.
func (c *Controller) stopBefore(before, _ Row) []wire.Message {
	if c.opts.Passive || before.Diego {
		return nil
	}
	return []wire.Message{stopMessage(wire.Stop{Droplet: before.GUID})}
}

func (c *Controller) startAll(row Row) []wire.Message { return c.startFrom(row, 0) }

// startFrom starts the indices from the given one up, if the app is startable.
func (c *Controller) startFrom(row Row, from int) []wire.Message {
	if c.opts.Passive || !row.Startable() {
		return nil
	}
	var out []wire.Message
	for i := from; i < row.Instances; i++ {
		if p, dea := c.startMessage(row, i); dea != "" {
			out = append(out, p)
		}
	}
	return out
}

func (c *Controller) updated(guid app.GUID) wire.Message {
	return wire.Message{Subject: subjectUpdated, Data: wire.MustJSON(struct {
		Droplet app.GUID `json:"droplet"`
	}{guid})}
}

func checkInstances(n int) error {
	if n < 0 || n > actual.MaxIndex+1 {
		return fmt.Errorf("%w: %d instances, it must be 0 to %d", wire.ErrInvalid, n, actual.MaxIndex+1)
	}
	return nil
}
