package words

import (
	"strings"

	"hm/internal/api"
)

// Gate says in a line whether commands are sent, and if not, why. On a node that does not lead, the gate of the leader
// is what counts, unless this node knows a reason of its own.
func Gate(b api.Basis, g api.Gate) Text {
	open, closed := good("open"), warn("closed")
	switch {
	case g.Open:
		return Say(open, " for "+Span(b, g.Since))
	case g.OnLeader == "open" && !g.Closed():
		return Say(open, " on the leader; this node does not lead")
	case g.OnLeader != "" && !g.Closed():
		return Say(closed, " on the leader: "+g.OnLeader)
	}
	return Say(closed, " for "+Span(b, g.Since)+": "+strings.Join(g.Reasons, ", "))
}

// GateReasons returns the reasons for which the cluster sends no commands: those of the answering node, or those of the
// leader if it alone has some. It is empty if the gate that counts is open.
func GateReasons(g api.Gate) []string {
	switch {
	case g.Open, g.OnLeader == "open" && !g.Closed():
		return nil
	case g.OnLeader != "" && !g.Closed():
		return strings.Split(g.OnLeader, ", ")
	}
	return g.Reasons
}
