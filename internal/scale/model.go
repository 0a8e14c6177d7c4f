package main

import (
	"fmt"
	"io"
	"math"
	"sort"
)

// costs is what the parts cost: seconds of one processor. They are fitted to the runs of 300,000 to 6,000,000 instances in
// docs/scale.md, with 100 instances on a DEA. The seconds are those of one kind of machine. What the model says in bare
// subscribers holds for others.
type costs struct {
	receive transfer // a bare subscriber, for each heartbeat
	hear    transfer // hm, for each heartbeat
	relay   transfer // the NATS server, for each heartbeat: it comes in, and goes to the bare subscriber and to one node

	always  float64 // hm, in each second, whatever it hears, while it is asked for its status ten times
	changed float64 // hm, more for each heartbeat that does not repeat what is recorded: decode, compare and record
	crash   float64 // hm, more for each crash until the new instance runs; its DEA sends a heartbeat more
	start   float64 // hm, for each start of a storm, with the heartbeat that shows it
	first   float64 // hm, for each instance that is heard for the first time
	compare float64 // hm, for each instance in a comparison of everything with what is desired
	sql     float64 // hm, for each app in a complete read of v3 over SQL

	bytes    float64 // of an instance in a heartbeat
	record   float64 // bytes of memory for each instance, in steady state
	memory   float64 // bytes of memory that do not depend on the size
	snapshot float64 // bytes of a snapshot for each instance
}

// transfer is what one message costs. A message that comes alone wakes threads; the more come in a second, the fewer come
// alone.
type transfer struct{ each, alone float64 }

// busy is how many messages a second leave none that comes alone.
const busy = 3_500

func (t transfer) at(messages float64) float64 {
	return messages * (t.each + t.alone*max(0, 1-messages/busy))
}

var measured = costs{
	receive: transfer{38e-6, 70e-6}, hear: transfer{59e-6, 105e-6}, relay: transfer{45e-6, 110e-6},
	always: 0.01, changed: 225e-6, crash: 215e-6, start: 150e-6, first: 9e-6, compare: 29e-9, sql: 8e-6,
	bytes: 240, record: 235, memory: 68e6, snapshot: 52,
}

// load is what a fleet does.
type load struct {
	instances, deas float64
	period          float64 // of the heartbeats, in seconds
	changed         float64 // share of the heartbeats that do not repeat what is recorded
	crashes         float64 // a second
}

func (s size) load() load {
	return load{instances: float64(s.instances), deas: float64(s.deas()), period: s.period.Seconds()}
}

// changing is the load of the scenario change.
func (s size) changing() load {
	l := s.load()
	l.changed = s.shows(s.change)
	return l
}

// crashing is the load of the scenario crash.
func (s size) crashing() load {
	l := s.load()
	l.changed, l.crashes = s.shows(s.crash), s.crash*l.instances/l.period
	return l
}

// shows is the share of the heartbeats that show one of the instances of which a share changes.
func (s size) shows(share float64) float64 { return 1 - math.Pow(1-share, float64(s.perDEA)) }

// messages is how many heartbeats come each second: one of each DEA in a period, and one for each start.
func (l load) messages() float64 { return l.deas/l.period + l.crashes }

// bytes is how many bytes a second the heartbeats of a quiet fleet have.
func (l load) bytes(c costs) float64 { return l.instances * c.bytes / l.period }

// bare is the processors that a bare subscriber needs.
func (c costs) bare(l load) float64 { return c.receive.at(l.messages()) }

// server is the processors that the NATS server needs with a bare subscriber and one node.
func (c costs) server(l load) float64 { return c.relay.at(l.messages()) }

// hm is the processors that a leader needs.
func (c costs) hm(l load) float64 {
	return c.always + c.hear.at(l.messages()) + l.deas/l.period*l.changed*c.changed + l.crashes*c.crash + c.comparing(l)
}

// comparing is the part of them that looks at everything every 60 heartbeats.
func (c costs) comparing(l load) float64 { return l.instances * c.compare / (60 * l.period) }

// part is a part of the whole, and the processors that it needs.
type part struct {
	name string
	need func(size) float64
}

func (c costs) parts(s size) []part {
	return []part{
		{"receive every heartbeat (a bare subscriber)", func(s size) float64 { return c.bare(s.load()) }},
		{"relay them to a bare subscriber and a node (the NATS server)", func(s size) float64 { return c.server(s.load()) }},
		{"hm, nothing changes", func(s size) float64 { return c.hm(s.load()) }},
		{fmt.Sprintf("hm, %g %% of the instances change each heartbeat", 100*s.change), func(s size) float64 { return c.hm(s.changing()) }},
		{fmt.Sprintf("hm, %g %% of the instances crash each heartbeat", 100*s.crash), func(s size) float64 { return c.hm(s.crashing()) }},
		{"in each of these: compare all with what is desired", func(s size) float64 { return c.comparing(s.load()) }},
		{"read the desired state over SQL (v3) each minute", func(s size) float64 { return float64(s.apps()) * c.sql / 60 }},
	}
}

// most gives the largest fleet of the same kind, in millions of instances, for which one processor does a part.
func (p part) most(s size) float64 {
	n := sort.Search(100_000, func(n int) bool {
		s.instances = (n + 1) * 10_000
		return p.need(s) > 1
	})
	return float64(n) / 100
}

// showModel prints what the model says of a size.
func showModel(w io.Writer, s size) error {
	c, l := measured, s.load()
	fmt.Fprintf(w, "%d instances of %d apps on %d DEAs, a heartbeat each %v, as the model says\n\n", s.instances, s.apps(), s.deas(), s.period)
	for _, p := range c.parts(s) {
		fmt.Fprintf(w, "%-62s  %.3f processors; one bears %g million instances\n", p.name, p.need(s), p.most(s))
	}
	starts := 1 / c.start
	fmt.Fprintf(w, "%-62s  %.0f MB a second; 1 Gbit/s bears %.1f million instances\n", "network to each node", l.bytes(c)/1e6, 125e6/l.bytes(c)*l.instances/1e6)
	fmt.Fprintf(w, "%-62s  %.0f s of a processor\n", "hear everything for the first time", l.instances*c.first)
	fmt.Fprintf(w, "%-62s  %.0f starts a second and processor; half of the fleet in %.0f s\n", "a storm of starts", starts, l.instances/2/starts)
	_, err := fmt.Fprintf(w, "%-62s  %.0f MiB; a snapshot has %.0f MiB\n", "memory", (c.memory+l.instances*c.record)/(1<<20), l.instances*c.snapshot/(1<<20))
	return err
}
