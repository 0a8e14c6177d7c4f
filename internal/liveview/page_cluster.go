package liveview

import (
	"strconv"

	"hm/internal/api"
	"hm/internal/words"
)

// clusterFrom is the height from which the overview has a line for each node.
const clusterFrom = 36

// clusterPart is the cluster on the overview: in a line, and on high screens with a line for each node.
func (p painter) clusterPart(height int) []line {
	lines := p.cluster()
	if p.Status == nil || p.Play != nil || height < clusterFrom {
		return lines
	}
	lines = append(lines, headLine(p.nodeColumns()))
	for _, n := range p.Status.Cluster.Nodes {
		lines = append(lines, rowLine(p.nodeColumns(), p.nodeCells(n), false))
	}
	return lines
}

func (p painter) nodeColumns() []column {
	ids := mapped(p.Status.Cluster.Nodes, func(n api.ClusterNode) string { return n.ID })
	return []column{{"node", max(4, widthOf(24, ids...)), false}, {"state", 16, false}, {"vote", 9, false}, {"NATS", 4, false},
		{"hears", 11, true}, {"applied", 10, true}, {"gate", 0, false}}
}

func (p painter) nodeCells(n api.ClusterNode) []cell {
	vote, nats, hears, applied := "voter", value(""), "", ""
	if !n.Voter {
		vote = "non-voter"
	}
	if n.NATS != nil {
		nats = value("up")
		if !*n.NATS {
			nats = bad("down")
		}
	}
	if n.Hears != nil {
		hears = words.Count(*n.Hears, "DEA")
	}
	if n.AppliedIndex != nil {
		applied = strconv.FormatUint(*n.AppliedIndex, 10)
	}
	member := words.Member(n)
	state := words.Piece{Tone: member.Worst(), Text: member.String()}
	if p.down(n.ID) != nil {
		state = bad("closed")
	}
	if n.State == "leader" && n.Healthy {
		state.Tone = words.Good
	}
	return []cell{value(n.ID), state, value(vote), nats, value(hears), value(applied), value(n.Gate)}
}

// clusterPage shows the nodes, the holds, and the answering node's link to NATS.
func (p painter) clusterPage(height int) drawing {
	if p.Status == nil {
		return cutTo(p.pageHead(p.label("cluster"), faint("not yet known")), height)
	}
	b, s := p.basis(), p.Status
	lines := append(p.gate(), p.cluster()...)
	var rows []row
	lines = append(lines, line{}, headLine(p.nodeColumns()))
	for _, n := range s.Cluster.Nodes {
		r := row{key: "node " + n.ID, line: len(lines)}
		rows = append(rows, r)
		lines = append(lines, rowLine(p.nodeColumns(), p.nodeCells(n), r.key == p.cursor))
	}
	lines = append(lines, line{}, p.labelled("holds", words.Count(len(s.Holds), "hold")+" set; x releases one, p pauses or resumes hm"))
	for _, h := range s.Holds {
		r := row{key: "hold " + h.Name, line: len(lines), hold: h.Name}
		rows = append(rows, r)
		lines = append(lines, rowLine([]column{{}}, []cell{warn(words.Hold(b, h))}, r.key == p.cursor))
	}
	lines = append(lines, line{})
	lines = append(lines, wrap(words.Say(p.label("NATS"), "of "+s.Node+": ", words.Link(b, s.NATS)), p.width, indent)...)
	if s.NATS.Error != "" {
		lines = append(lines, wrap(words.Say(indent, warn("newest attempt failed: "), s.NATS.Error), p.width, indent)...)
	}
	for _, r := range s.NATS.Refused {
		lines = append(lines, wrap(words.Say(indent, bad("refused: "), r.Action+" "+r.Subject+": "+r.Error), p.width, indent)...)
	}
	for _, n := range s.Cluster.Nodes {
		if n.API != "" || n.Version != "" {
			lines = append(lines, p.labelled(n.ID, "Raft "+n.Address+"  API "+n.API+"  "+n.Version))
		}
	}
	lines = append(lines, p.labelled("record", "index "+strconv.FormatUint(b.Index, 10)+", hash "+s.Hash))
	lines = append(lines, p.places()...)
	d := cutTo(lines, height)
	d.rows = rows
	return d
}
