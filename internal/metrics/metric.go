// Package metrics has the table of all metrics of hm: what each is called, means and is good for. The API sends what
// the table has, and docs/metrics.md and the Grafana dashboard are generated from it. The package also has the
// histograms that the parts of a node fill.
//
//go:generate go test -run "TestMetricsDocument|TestDashboard" . -update
package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Type is a type of metric, as /metrics calls it.
type Type string

// The types.
const (
	Gauge     Type = "gauge"     // a value that goes up and down
	Counter   Type = "counter"   // a total that only grows while the process lives
	Histogram Type = "histogram" // how many of the measured times were at most so long
)

// Metric is one metric. Its name, type and labels never change once they are released.
type Metric struct {
	Name   string // with its prefix hm_
	Type   Type
	Unit   string   // of the value: seconds, bytes, or what is counted; "1 or 0" for a fact
	Labels []Label  // none: there is one series
	Help   string   // what it means, in plain words; /metrics says the same
	Before string   // the name of the same figure in HM9000 or the Ruby Health Manager; empty: neither had it
	Do     string   // what an operator does about it
	When   string   // on which condition it is there; empty: always
	Bounds Duration // of a histogram: the upper bounds of its buckets

	desc *prometheus.Desc
}

// Duration are upper bounds of buckets, in seconds, ascending.
type Duration []float64

// Label is one label of a metric and what its values are.
type Label struct{ Name, Values string }

// Desc is what a collector sends with each value.
func (m *Metric) Desc() *prometheus.Desc { return m.desc }

// Value gives the metric with a value, for a collector. There must be a value for each label.
func (m *Metric) Value(v float64, labels ...string) prometheus.Metric {
	kind := prometheus.GaugeValue
	if m.Type == Counter {
		kind = prometheus.CounterValue
	}
	return prometheus.MustNewConstMetric(m.desc, kind, v, labels...)
}

// LabelNames gives the names of the labels, in order.
func (m *Metric) LabelNames() []string {
	var names []string
	for _, l := range m.Labels {
		names = append(names, l.Name)
	}
	return names
}

// Section is metrics of one subject.
type Section struct {
	Title   string
	Text    string // what is worth knowing about all of them
	Metrics []*Metric
}

// Sections gives the whole table. The caller must not change it.
func Sections() []Section { return sections }

// All gives every metric, in the order of the sections.
func All() []*Metric {
	var all []*Metric
	for _, s := range sections {
		all = append(all, s.Metrics...)
	}
	return all
}

// Find gives the metric with a name; nil if there is none.
func Find(name string) *Metric {
	all := All()
	if i := slices.IndexFunc(all, func(m *Metric) bool { return m.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}

var sections = []Section{fleetSection, gateSection, queueSection, commandsSection, timesSection, feedSection, natsSection,
	clusterSection, journalSection, filesSection, apiSection}

func init() {
	for _, m := range All() {
		m.desc = prometheus.NewDesc(m.Name, m.Help, m.LabelNames(), nil)
	}
}
