package cc

import (
	"encoding/json"
	"math"
	"time"

	"hm/internal/app"
	"hm/internal/sim/wire"
)

// order is the body of hm9000.start and hm9000.stop (N21, N22).
type order struct {
	MessageID string    `json:"message_id"`
	Droplet   *app.GUID `json:"droplet"`
	Version   *app.GUID `json:"version"`
	Index     *int      `json:"instance_index"`
	Instance  *app.GUID `json:"instance_guid"`
	Duplicate *bool     `json:"is_duplicate"`
}

// read turns the body into a Command; ok is false if a key is missing (N25).
func (o order) read(action, via string) (cmd Command, ok bool) {
	if o.Droplet == nil || o.Version == nil || o.Index == nil || *o.Index < 0 {
		return Command{}, false
	}
	cmd = Command{At: time.Now(), Via: via, MessageID: o.MessageID, Action: action, App: *o.Droplet,
		Version: *o.Version, Index: *o.Index}
	if action == ActionStop {
		if o.Instance == nil || o.Instance.IsZero() || o.Duplicate == nil {
			return Command{}, false
		}
		cmd.Instance, cmd.Duplicate = *o.Instance, *o.Duplicate
	}
	return cmd, true
}

// take decides on one command, records it and carries the decision out. ok is false if it cannot be read.
func (c *Controller) take(action, via string, body []byte) (cmd Command, ok bool) {
	var o order
	err := json.Unmarshal(body, &o)
	cmd, ok = o.read(action, via)
	if err != nil || !ok {
		c.malformed(via, err)
		return cmd, false
	}
	cmd, out := c.decide(cmd)
	c.publish(out...)
	return cmd, true
}

// malformed counts a message on which there is no decision.
func (c *Controller) malformed(via string, err error) {
	c.mu.Lock()
	c.history.counts.Malformed++
	c.mu.Unlock()
	c.log.Warn("unreadable command", "subject", via, "error", err)
}

// decide records a command with the Cloud Controller's decision and gives it, and the messages that carry it out.
func (c *Controller) decide(cmd Command) (Command, []wire.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	row, known := c.apps.get(cmd.App)
	var itself bool
	cmd.Live, itself = c.liveAt(cmd)
	var out []wire.Message
	if cmd.Action == ActionStart {
		if cmd.Accepted, cmd.Check = decideStart(row, known, cmd.Version, cmd.Index); cmd.Accepted {
			out = c.start(&cmd, row)
		}
	} else if cmd.Accepted, cmd.Check = decideStop(row, known, cmd.Version, cmd.Index, cmd.Duplicate); cmd.Accepted {
		cmd.Harmful = itself && c.harmful(cmd, row, known)
		out = append(out, stopMessage(wire.Stop{Droplet: cmd.App, Instances: []app.GUID{cmd.Instance}}))
	}
	return c.history.record(cmd), out
}

// liveAt counts the live instances at a command's index, besides the one that it stops.
func (c *Controller) liveAt(cmd Command) (others int, itself bool) {
	if cmd.Index < 0 || cmd.Index > math.MaxInt32 {
		return 0, false
	}
	return c.fleet.LiveAt(app.Key{Droplet: cmd.App, Version: cmd.Version}, uint32(cmd.Index), cmd.Instance)
}

// start places the instance of an accepted start, notes in the command what became of it, and gives the message.
func (c *Controller) start(cmd *Command, row Row) []wire.Message {
	cmd.Needless = cmd.Live > 0
	if c.faults.NoPackage {
		cmd.Failed = FailedNoPackage
		return nil
	}
	var start wire.Message
	if start, cmd.DEA = c.startMessage(row, cmd.Index); cmd.DEA == "" {
		cmd.Failed = FailedNoRoom
		return nil
	}
	if cmd.Lost = c.ids.Chance(c.faults.LoseStarts); cmd.Lost {
		return nil
	}
	return []wire.Message{start}
}

// harmful reports whether a stop of a live instance takes the last one at a wanted, staged index (I3).
func (c *Controller) harmful(cmd Command, row Row, known bool) bool {
	return cmd.Live == 0 && known && row.Startable() && cmd.Version == row.Version && cmd.Index < row.Instances
}

// startMessage places one instance and gives the message for the chosen DEA; dea is empty if none takes it.
func (c *Controller) startMessage(row Row, index int) (m wire.Message, dea string) {
	if !c.faults.NoRoom {
		dea = c.fleet.Place()
	}
	if dea == "" {
		return wire.Message{}, ""
	}
	return wire.Message{Subject: wire.SubjectDEAStart(dea), Data: wire.MustJSON(wire.Start{
		Partition: c.opts.Partition, Droplet: row.GUID, Name: appName(row), Version: row.Version, Index: uint32(index),
		URIs: []string{wire.AppURI(row.GUID)}, Limits: wire.Limits{Memory: row.Memory, Disk: 1024, Files: 16384}, Env: []string{},
	})}, dea
}

func stopMessage(s wire.Stop) wire.Message {
	return wire.Message{Subject: wire.SubjectDEAStop, Data: wire.MustJSON(s)}
}
