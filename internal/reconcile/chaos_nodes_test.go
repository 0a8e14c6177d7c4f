package reconcile

import (
	"math/rand/v2"
	"slices"
	"time"
)

// nodeFault is a fault of the nodes of hm, of the connections between them, or of a node's own link
// to NATS.
func nodeFault(cf *simCF, rnd *rand.Rand) {
	n := cf.nodes[rnd.IntN(len(cf.nodes))]
	other := cf.nodes[(n.id+1+rnd.IntN(len(cf.nodes)-1))%len(cf.nodes)]
	if rnd.IntN(3) == 0 {
		n = cf.simNode
	}
	count := func(what string) { cf.faults.count(what) }
	switch rnd.IntN(16) {
	case 0, 1:
		cf.say("node %d is cut off from the others", n.id)
		count("nodes cut off")
		cf.isolate(n)
	case 2:
		if n != other {
			cf.say("the connection between nodes %d and %d is cut", n.id, other.id)
			count("connections cut")
			cf.setCut(n, other, true)
		}
	case 3, 4:
		cf.say("all connections between nodes are mended")
		cf.mendCuts()
	case 5:
		d := cf.faults.upTo(8 * time.Second)
		cf.say("node %d is paused for %v", n.id, d)
		count("short pauses")
		n.pause(d, false)
	case 6:
		d, suspended := cf.faults.upTo(12*hb), rnd.IntN(2) == 0
		cf.say("node %d is paused for %v, with its machine: %v", n.id, d, suspended)
		count("long pauses")
		n.pause(d, suspended)
	case 7:
		cf.say("node %d is killed", n.id)
		count("nodes killed")
		n.kill()
	case 8, 9:
		cf.say("the nodes that are down are started")
		for _, m := range cf.nodes {
			if m.down {
				m.restartNode()
			}
		}
	case 10:
		cf.say("node %d is killed and started again", n.id)
		count("nodes restarted")
		n.restartNode()
	case 11:
		if !slices.ContainsFunc(cf.nodes, func(m *simNode) bool { return m.raft.joining }) {
			cf.say("node %d loses its disk", n.id)
			count("disks lost")
			n.wipe()
		}
	case 12:
		cf.say("node %d replaces its log by a snapshot", n.id)
		if !n.down {
			n.compact()
		}
	case 13:
		cf.say("the link of node %d to NATS goes down, or comes back", n.id)
		count("links of one node")
		n.setNATS(n.linkDown)
	case 14:
		cf.say("the link of node %d to NATS has a gap", n.id)
		n.linkChanged()
	case 15:
		cf.say("all nodes are killed and started again")
		count("all nodes restarted")
		for _, m := range cf.nodes {
			m.kill()
		}
		for _, m := range cf.nodes {
			m.restartNode()
		}
	}
}
