package conformance

import (
	"encoding/json"
	"slices"

	"github.com/nats-io/nats.go"
)

// RespondHealth subscribes to the commands of HealthManager 2.0 in the queue group cc (N17, N19).
func (c *Controller) RespondHealth(nc *nats.Conn) error {
	for _, subject := range []string{"health.start", "health.stop"} {
		if _, err := nc.QueueSubscribe(subject, "cc", func(m *nats.Msg) { c.respondHealth(m.Subject, m.Data) }); err != nil {
			return err
		}
	}
	return nc.Flush()
}

// healthMessage has the members that the Cloud Controller looks at.
type healthMessage struct {
	Droplet   string            `json:"droplet"`
	Version   string            `json:"version"`
	Indices   []int             `json:"indices"`
	Instances map[string]string `json:"instances"` // instance guid to version
	Running   map[string]int    `json:"running"`   // version to number of instances
}

func (c *Controller) respondHealth(subject string, data []byte) {
	m := healthMessage{}
	err := json.Unmarshal(data, &m)
	cmd := Command{Subject: subject, Data: slices.Clone(data), Droplet: m.Droplet, Version: m.Version, Index: -1}
	for guid, version := range m.Instances {
		cmd.Instance, cmd.Version = guid, version
	}
	if len(m.Indices) > 0 {
		cmd.Index = m.Indices[0]
	}
	c.mu.Lock()
	var row *Row
	if i := c.find(m.Droplet); i >= 0 {
		row = c.rows[i]
	}
	act := c.Stop
	switch {
	case err != nil || m.Droplet == "" || m.Running == nil:
		cmd.Check = "malformed"
	case subject == "health.start":
		act = c.Start
		cmd.Accepted, cmd.Check = allowsHealthStart(row, m)
	default:
		cmd.Accepted, cmd.Check = allowsHealthStop(row, m)
	}
	c.commands = append(c.commands, cmd)
	c.mu.Unlock()
	if cmd.Accepted {
		act(cmd)
	}
}

// allowsHealthStart is the decision of a Cloud Controller of 2013 on health.start (N18).
func allowsHealthStart(row *Row, m healthMessage) (bool, string) {
	switch {
	case row == nil:
		return false, "app unknown"
	case len(m.Indices) == 0 || m.Version == "":
		return false, "malformed"
	case row.State != "STARTED":
		return false, "not started"
	case m.Version != row.Version:
		return false, "version differs"
	case m.Running[m.Version] >= row.Instances:
		return false, "enough run"
	}
	return true, ""
}

// allowsHealthStop is the decision of a Cloud Controller of 2013 on health.stop (N20).
func allowsHealthStop(row *Row, m healthMessage) (bool, string) {
	if row == nil {
		return true, "app unknown"
	}
	if len(m.Instances) == 0 {
		return true, "stops every instance" // W35
	}
	asked := map[string]int{}
	for _, version := range m.Instances {
		asked[version]++
	}
	for version, n := range asked {
		switch remaining := m.Running[version] - n; {
		case version != row.Version && m.Running[row.Version] == 0:
			return false, "nothing of the app's version runs"
		case version == row.Version && row.State == "STARTED" && remaining < row.Instances:
			return false, "too few would be left"
		}
	}
	return true, "enough are left"
}
