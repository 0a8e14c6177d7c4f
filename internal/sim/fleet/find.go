package fleet

import (
	"encoding/json"

	"github.com/nats-io/nats.go"

	"hm/internal/sim/wire"
)

// find answers dea.find.droplet for the DEAs of the connection, with one reply for each instance.
func (c *connection) find(m *nats.Msg) {
	var filter wire.Stop
	if err := json.Unmarshal(m.Data, &filter); err != nil || filter.Droplet.IsZero() || m.Reply == "" {
		c.fleet.log.Warn("unreadable request for instances", "error", err)
		return
	}
	f := c.fleet
	f.mu.Lock()
	var found []wire.Found
	if p := f.apps[filter.Droplet]; p != nil {
		for _, in := range p.instances {
			if in.dea.conn == c && in.dea.connected() && matches(filter, in) {
				found = append(found, wire.Found{DEA: in.dea.id, Droplet: p.droplet, Version: in.version,
					Instance: in.guid, Index: in.index, State: in.state.String(), Since: float64(in.since) / 1e6})
			}
		}
	}
	f.mu.Unlock()
	for _, one := range found {
		if c.nc.Publish(m.Reply, wire.MustJSON(one)) != nil {
			c.lost.Add(1)
		}
	}
}
