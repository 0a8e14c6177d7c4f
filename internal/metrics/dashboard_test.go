package metrics_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hm/internal/metrics"
	"hm/internal/metrics/metricstest"
)

// panel is one picture of the dashboard.
type panel struct {
	title   string
	unit    string // in Grafana's words
	stat    bool   // one number; else a line over time
	signed  bool   // it may be below 0
	queries []query
	about   []*metrics.Metric // their meaning and advice are the panel's description
}

type query struct{ expr, legend string }

const selected = `job=~"$job",instance=~"$instance"`

func series(m *metrics.Metric, labels ...string) string {
	return m.Name + "{" + strings.Join(append([]string{selected}, labels...), ",") + "}"
}

// newest is the largest value over the nodes, as figures of the recorded state want it.
func newest(m *metrics.Metric, by ...string) query {
	return query{fmt.Sprintf("max by (%s) (%s)", strings.Join(by, ", "), series(m)), legendOf(by)}
}

// each has a line for each node.
func each(m *metrics.Metric, by ...string) query {
	by = append([]string{"instance"}, by...)
	return query{fmt.Sprintf("max by (%s) (%s)", strings.Join(by, ", "), series(m)), legendOf(by)}
}

// perSecond is the rate of a counter, on the node where it is largest.
func perSecond(m *metrics.Metric, by ...string) query {
	return query{fmt.Sprintf("max by (%s) (sum by (%s) (rate(%s[$__rate_interval])))", strings.Join(by, ", "),
		strings.Join(append([]string{"instance"}, by...), ", "), series(m)), legendOf(by)}
}

// eachPerSecond has the rate of a counter on each node.
func eachPerSecond(m *metrics.Metric, by ...string) query {
	by = append([]string{"instance"}, by...)
	return query{fmt.Sprintf("sum by (%s) (rate(%s[$__rate_interval]))", strings.Join(by, ", "), series(m)), legendOf(by)}
}

// quantile is a quantile of a histogram over all nodes.
func quantile(q float64, m *metrics.Metric, by ...string) query {
	bucket := strings.Replace(series(m), "{", "_bucket{", 1)
	legend := fmt.Sprintf("p%v", q*100)
	if len(by) > 0 {
		legend = legendOf(by) + " " + legend
	}
	return query{fmt.Sprintf("histogram_quantile(%v, sum by (%s) (rate(%s[$__rate_interval])))", q,
		strings.Join(append([]string{"le"}, by...), ", "), bucket), legend}
}

func legendOf(by []string) string {
	var parts []string
	for _, l := range by {
		parts = append(parts, "{{"+l+"}}")
	}
	return strings.Join(parts, " ")
}

// lines and number make panels of one metric.
func lines(title, unit string, m *metrics.Metric, queries ...query) panel {
	return panel{title: title, unit: unit, queries: queries, about: []*metrics.Metric{m}}
}

func number(title, unit string, m *metrics.Metric, q query) panel {
	return panel{title: title, unit: unit, stat: true, queries: []query{q}, about: []*metrics.Metric{m}}
}

// latency shows the median and the 99th percentile of a histogram.
func latency(title string, m *metrics.Metric, by ...string) panel {
	return lines(title, "s", m, quantile(0.5, m, by...), quantile(0.99, m, by...))
}

// dashboardRows are what the dashboard shows, from what is looked at first to what is looked at last.
var dashboardRows = []struct {
	title  string
	panels []panel
}{
	{"Now", []panel{
		number("gates open", "none", metrics.GateOpen, query{fmt.Sprintf("sum(%s)", series(metrics.GateOpen)), ""}),
		number("actual fresh", "none", metrics.ActualFresh, query{fmt.Sprintf("max(%s)", series(metrics.ActualFresh)), ""}),
		number("desired read age", "s", metrics.ReadAge, query{fmt.Sprintf("min(%s)", series(metrics.ReadAge)), ""}),
		number("healthy voters", "none", metrics.HealthyVoters, query{fmt.Sprintf("max(%s)", series(metrics.HealthyVoters)), ""}),
		number("DEAs", "none", metrics.DEAs, query{fmt.Sprintf("max(%s)", series(metrics.DEAs)), ""}),
		number("missing instances", "none", metrics.MissingIndices, query{fmt.Sprintf("max(%s)", series(metrics.MissingIndices)), ""}),
	}},
	{"Gate and drift", []panel{
		lines("why the gate of the leader is closed", "none", metrics.GateClosed, query{
			fmt.Sprintf("max by (reason) ((%s == 1) and on (job, instance) (%s == 1))", series(metrics.GateClosed), series(metrics.Leader)), "{{reason}}"}),
		lines("holds", "s", metrics.HoldSeconds, newest(metrics.HoldSeconds, "hold")),
		lines("drift", "none", metrics.Drift, newest(metrics.Drift, "kind")),
		lines("instances", "none", metrics.Instances, newest(metrics.Instances, "state")),
		lines("desired apps and instances", "none", metrics.DesiredInstances, query{newest(metrics.DesiredApps).expr, "apps"}, query{newest(metrics.DesiredInstances).expr, "instances"}),
		lines("DEAs", "none", metrics.DEAs, query{newest(metrics.DEAs).expr, "heard"}, query{newest(metrics.GoneDEAs).expr, "gone"}),
		lines("crashes a second", "none", metrics.Crashes, perSecond(metrics.Crashes)),
		lines("being staged", "none", metrics.PendingStaging, newest(metrics.PendingStaging)),
	}},
	{"Queue and commands", []panel{
		lines("apps that wait, by cause", "none", metrics.Waiting, query{newest(metrics.Waiting, "cause").expr + " > 0", "{{cause}}"}),
		lines("how late", "s", metrics.Late, each(metrics.Late)),
		lines("left of what waited when the gate opened", "none", metrics.Draining, newest(metrics.Draining)),
		lines("commands sent a second", "none", metrics.Sent, perSecond(metrics.Sent, "action", "reason")),
		lines("commands ended a second", "none", metrics.Ended, perSecond(metrics.Ended, "action", "outcome")),
		lines("heartbeats not recorded yet", "none", metrics.Backlog, each(metrics.Backlog)),
	}},
	{"How long things take", []panel{
		latency("heard to recorded", metrics.HeardRecorded, "message"),
		latency("due to published", metrics.DuePublished, "action"),
		latency("sent to confirmed", metrics.SentConfirmed, "action"),
		latency("a step", metrics.StepSeconds),
		latency("a proposal", metrics.ProposalSeconds),
		latency("applying an entry", metrics.ApplySeconds),
		latency("a read of the desired state", metrics.ReadSeconds, "outcome"),
		lines("API requests, 99 of 100 within", "s", metrics.RequestSeconds, quantile(0.99, metrics.RequestSeconds, "route")),
	}},
	{"What is heard", []panel{
		lines("heartbeats a second", "none", metrics.Heartbeats, eachPerSecond(metrics.Heartbeats)),
		lines("changed heartbeats a second", "none", metrics.HeartbeatsSame, query{
			fmt.Sprintf("sum by (instance) (rate(%s[$__rate_interval])) - sum by (instance) (rate(%s[$__rate_interval])) - sum by (instance) (rate(%s[$__rate_interval]))",
				series(metrics.Heartbeats), series(metrics.HeartbeatsSame), series(metrics.HeartbeatsSuperseded)), "{{instance}}"}),
		lines("superseded heartbeats a second", "none", metrics.HeartbeatsSuperseded, eachPerSecond(metrics.HeartbeatsSuperseded)),
		lines("DEAs heard", "none", metrics.HeardDEAs, each(metrics.HeardDEAs)),
		lines("what cannot be read", "none", metrics.Unreadable, newest(metrics.Unreadable, "kind")),
		lines("exits a second", "none", metrics.Exits, eachPerSecond(metrics.Exits)),
		lines("ids that two DEAs use", "none", metrics.Doubled, newest(metrics.Doubled)),
	}},
	{"NATS", []panel{
		lines("links", "none", metrics.NATSUp, each(metrics.NATSUp)),
		lines("lag", "s", metrics.NATSLag, each(metrics.NATSLag)),
		lines("since the link was certainly alive", "s", metrics.NATSProved, each(metrics.NATSProved)),
		lines("outages a second", "none", metrics.NATSOutages, eachPerSecond(metrics.NATSOutages)),
		lines("messages lost a second", "none", metrics.NATSDropped, eachPerSecond(metrics.NATSDropped)),
		lines("refusals a second", "none", metrics.NATSRefused, eachPerSecond(metrics.NATSRefused, "action", "subject")),
	}},
	{"Cluster and log", []panel{
		lines("leader", "none", metrics.Leader, each(metrics.Leader)),
		lines("term", "none", metrics.Term, each(metrics.Term)),
		lines("entries applied a second", "none", metrics.Index, query{fmt.Sprintf("max by (instance) (rate(%s[$__rate_interval]))", series(metrics.Index)), "{{instance}}"}),
		lines("bytes written to the log a second", "Bps", metrics.EntryBytes, eachPerSecond(metrics.EntryBytes)),
		lines("entries that peers lack", "none", metrics.PeerBehind, each(metrics.PeerBehind, "peer")),
		lines("silence of peers", "s", metrics.PeerSilent, each(metrics.PeerSilent, "peer")),
		lines("disk stalled", "s", metrics.Disk, each(metrics.Disk)),
		lines("handovers a second", "none", metrics.Transfers, eachPerSecond(metrics.Transfers, "reason", "outcome")),
		lines("refused on the cluster port a second", "none", metrics.Strangers, eachPerSecond(metrics.Strangers)),
		{title: "hm time ahead of the wall clock", unit: "s", signed: true, queries: []query{each(metrics.ClockAhead)}, about: []*metrics.Metric{metrics.ClockAhead}},
	}},
	{"Journal, API and process", []panel{
		lines("events in the journal", "none", metrics.JournalEvents, each(metrics.JournalEvents)),
		lines("events lost a second", "none", metrics.JournalLost, eachPerSecond(metrics.JournalLost)),
		lines("gaps", "none", metrics.JournalGaps, each(metrics.JournalGaps)),
		lines("API requests a second", "none", metrics.Requests, eachPerSecond(metrics.Requests, "code")),
		lines("answers {} to the Cloud Controller a second", "none", metrics.Unanswered, eachPerSecond(metrics.Unanswered, "reason")),
		{title: "processor time", unit: "percentunit", queries: []query{{"rate(process_cpu_seconds_total{" + selected + "}[$__rate_interval])", "{{instance}}"}}},
		{title: "memory", unit: "bytes", queries: []query{{"process_resident_memory_bytes{" + selected + "}", "{{instance}}"}}},
		{title: "goroutines", unit: "none", queries: []query{{"go_goroutines{" + selected + "}", "{{instance}}"}}},
	}},
}

// TestDashboard holds that contrib/grafana/hm.json is what the table of metrics and the rows above give, and that
// Prometheus understands every query of it.
func TestDashboard(t *testing.T) {
	text, err := json.MarshalIndent(dashboard(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	current(t, "../../contrib/grafana/hm.json", append(text, '\n'))

	var rules bytes.Buffer
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	n := 0
	for _, row := range dashboardRows {
		for _, p := range row.panels {
			for _, q := range p.queries {
				expr := strings.NewReplacer("$__rate_interval", "5m", "$job", "hm", "$instance", "hm-0").Replace(q.expr)
				fmt.Fprintf(&rules, "  - record: panel:%d\n    expr: %q\n", n, expr)
				n++
			}
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, rules.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	metricstest.Promtool(t, nil, "check", "rules", file)
}

// dashboard gives the dashboard in Grafana's JSON, for version 9 and later.
func dashboard() map[string]any {
	source := map[string]any{"type": "prometheus", "uid": "${datasource}"}
	var panels []any
	id, y := 0, 0
	add := func(x, w, h int, p map[string]any) {
		id++
		p["id"], p["gridPos"] = id, map[string]int{"x": x, "y": y, "w": w, "h": h}
		panels = append(panels, p)
	}
	for _, row := range dashboardRows {
		add(0, 24, 1, map[string]any{"type": "row", "title": row.title, "collapsed": false, "panels": []any{}})
		y++
		width, height := 8, 7
		if row.panels[0].stat {
			width, height = 4, 4
		}
		x := 0
		for _, p := range row.panels {
			if x+width > 24 {
				x, y = 0, y+height
			}
			add(x, width, height, grafanaPanel(p, source))
			x += width
		}
		y += height
	}
	variable := func(name, label, query string) map[string]any {
		return map[string]any{"name": name, "type": "query", "label": label, "datasource": source, "query": query, "refresh": 2, "includeAll": true, "multi": true,
			"current": map[string]any{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}}
	}
	return map[string]any{
		"title": "hm", "uid": "hm", "schemaVersion": 38, "version": 1, "editable": true, "tags": []string{"hm", "cloud-foundry"},
		"time": map[string]string{"from": "now-3h", "to": "now"}, "refresh": "30s", "timezone": "browser", "panels": panels,
		"description": "Generated from hm's table of metrics: go generate ./internal/metrics.",
		"templating": map[string]any{"list": []any{
			map[string]any{"name": "datasource", "type": "datasource", "label": "data source", "query": "prometheus"},
			variable("job", "cluster (job)", fmt.Sprintf("label_values(%s, job)", metrics.GateOpen.Name)),
			variable("instance", "node", fmt.Sprintf(`label_values(%s{job=~"$job"}, instance)`, metrics.GateOpen.Name)),
		}},
	}
}

func grafanaPanel(p panel, source map[string]any) map[string]any {
	var targets []any
	for i, q := range p.queries {
		targets = append(targets, map[string]any{"refId": string(rune('A' + i)), "datasource": source, "expr": q.expr, "legendFormat": q.legend})
	}
	var about []string
	for _, m := range p.about {
		about = append(about, m.Name+": "+m.Help+"\n\n"+m.Do)
	}
	defaults := map[string]any{"unit": p.unit}
	if !p.signed {
		defaults["min"] = 0
	}
	out := map[string]any{
		"type": "timeseries", "title": p.title, "datasource": source, "targets": targets, "description": strings.Join(about, "\n\n"),
		"fieldConfig": map[string]any{"defaults": defaults, "overrides": []any{}},
		"options":     map[string]any{"legend": map[string]any{"displayMode": "list", "placement": "bottom"}, "tooltip": map[string]any{"mode": "multi"}},
	}
	if p.stat {
		out["type"] = "stat"
		out["options"] = map[string]any{"colorMode": "none", "graphMode": "area", "reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}}}
	}
	return out
}
