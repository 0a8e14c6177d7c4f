package cc

import (
	"encoding/json"
	"slices"
	"time"

	"hm/internal/app"
	"hm/internal/sim/wire"
)

// healthStart is the body of health.start (N17), with the keys that the Cloud Controller needs (N18).
type healthStart struct {
	Droplet *app.GUID      `json:"droplet"`
	Version *app.GUID      `json:"version"`
	Indices []int          `json:"indices"`
	Running map[string]int `json:"running"`
}

// healthStop is the body of health.stop (N19), with the keys that the Cloud Controller needs (N20).
type healthStop struct {
	Droplet   *app.GUID             `json:"droplet"`
	Instances map[app.GUID]app.GUID `json:"instances"` // to their versions
	Running   map[string]int        `json:"running"`
}

// takeHealth decides on one message of HealthManager 2.0, records each command in it and carries the decision out.
func (c *Controller) takeHealth(subject string, body []byte) {
	var out []wire.Message
	var ok bool
	var err error
	if subject == subjectHealthStart {
		var m healthStart
		if err = json.Unmarshal(body, &m); err == nil {
			out, ok = c.decideStarts(m)
		}
	} else {
		var m healthStop
		if err = json.Unmarshal(body, &m); err == nil {
			out, ok = c.decideStops(m)
		}
	}
	if !ok {
		c.malformed(subject, err)
		return
	}
	c.publish(out...)
}

// decideStarts decides on a health.start; ok is false if a key is missing. One decision holds for all of its indices.
func (c *Controller) decideStarts(m healthStart) (out []wire.Message, ok bool) {
	if m.Droplet == nil || m.Version == nil || m.Indices == nil || m.Running == nil || slices.ContainsFunc(m.Indices, func(i int) bool { return i < 0 }) {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	row, known := c.apps.get(*m.Droplet)
	accepted, check := decideHealthStart(row, known, *m.Version, m.Running)
	for _, index := range m.Indices {
		cmd := Command{At: time.Now(), Via: subjectHealthStart, Action: ActionStart, App: *m.Droplet, Version: *m.Version,
			Index: index, Accepted: accepted, Check: check}
		cmd.Live, _ = c.liveAt(cmd)
		if accepted {
			out = append(out, c.start(&cmd, row)...)
		}
		c.history.record(cmd)
	}
	return out, true
}

// decideStops decides on a health.stop; ok is false if a key is missing. One decision holds for all of its instances.
func (c *Controller) decideStops(m healthStop) (out []wire.Message, ok bool) {
	if m.Droplet == nil || m.Instances == nil || m.Running == nil {
		return nil, false
	}
	asked := map[app.GUID]int{}
	list := make([]app.GUID, 0, len(m.Instances))
	for instance, version := range m.Instances {
		asked[version]++
		list = append(list, instance)
	}
	slices.SortFunc(list, app.GUID.Compare)
	c.mu.Lock()
	defer c.mu.Unlock()
	row, known := c.apps.get(*m.Droplet)
	accepted, check := decideHealthStop(row, known, asked, m.Running)
	for _, instance := range list {
		cmd := Command{At: time.Now(), Via: subjectHealthStop, Action: ActionStop, App: *m.Droplet,
			Version: m.Instances[instance], Index: c.fleet.IndexOf(*m.Droplet, instance), Instance: instance,
			Accepted: accepted, Check: check}
		var itself bool
		cmd.Live, itself = c.liveAt(cmd)
		cmd.Harmful = accepted && itself && c.harmful(cmd, row, known)
		c.history.record(cmd)
	}
	if len(list) == 0 { // a stop of all (W35)
		c.history.record(Command{At: time.Now(), Via: subjectHealthStop, Action: ActionStop, App: *m.Droplet, Index: -1,
			Accepted: accepted, Check: check, Harmful: known && row.Startable()})
	}
	switch {
	case !accepted:
		return nil, true
	case !known:
		list = nil
	}
	return []wire.Message{stopMessage(wire.Stop{Droplet: *m.Droplet, Instances: list})}, true
}
