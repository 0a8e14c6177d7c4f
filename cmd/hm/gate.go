package main

import (
	"strings"

	"hm/internal/api"
)

// describeGate says in a line whether commands are sent, and if not, why. On a node that does not lead, the gate of the
// leader is what counts, unless this node knows a reason of its own.
func (c *cli) describeGate(b api.Basis, g api.Gate) string {
	open, closed := c.paint(green, "open"), c.paint(yellow, "closed")
	switch {
	case g.Open:
		return open + " for " + span(b, g.Since)
	case g.OnLeader == "open" && !g.Closed():
		return open + " on the leader; this node does not lead"
	case g.OnLeader != "" && !g.Closed():
		return closed + " on the leader: " + g.OnLeader
	}
	return closed + " for " + span(b, g.Since) + ": " + strings.Join(g.Reasons, ", ")
}
