package api_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"hm/commands"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/boltfile"
	"hm/internal/journal"
	"hm/raftfsm"
)

// TestMetrics compares the names, labels and values of hm's own series with a golden file. It checks only that the
// series of the Go runtime exist.
func TestMetrics(t *testing.T) {
	w := apitest.Fleet()
	w.CloseGate("not-leader", "hold:switches")
	o := w.Options()
	o.Compare = apitest.Shadow().Options().Compare
	o.JournalStats = func() journal.Stats {
		return journal.Stats{Entries: 11, Bytes: 1200, Lost: 3, Failures: 2, Replaced: 1, Fetched: 7, Gaps: 4, Unreadable: 5,
			File: boltfile.Use{Size: 8192, Free: 4096}, Compactions: 1}
	}
	o.Component = func() (api.ComponentStats, bool) {
		return api.ComponentStats{Announced: 1, Answered: 40, Ignored: 3, Failed: 2, Requests: map[int]uint64{200: 39, 401: 5, 404: 0, 405: 0}}, true
	}
	o.Ended = &api.CommandTotals{}
	o.Ended.Add([]raftfsm.EndedCommand{
		{Command: commands.Command{Action: commands.Start, Reason: commands.ReasonMissing, State: commands.Confirmed}},
		{Command: commands.Command{Action: commands.Start, Reason: commands.ReasonMissing, State: commands.Confirmed}},
		{Command: commands.Command{Action: commands.Stop, Reason: commands.ReasonExtra, State: commands.Expired}},
	})
	_, raw := ask(t, "GET", serve(t, o)+"/metrics", "")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for name, f := range families {
		if !strings.HasPrefix(name, "hm_") || name == "hm_fleet_pass_seconds" || name == "hm_peer_silent_seconds" || name == "hm_build_info" || strings.HasPrefix(name, "hm_api_request") {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			lines = append(lines, fmt.Sprintf("%s{%s} %v %s", name, strings.Join(labels, ","), value, strings.ToLower(f.GetType().String())))
		}
	}
	slices.Sort(lines)
	golden(t, "metrics.txt", []byte(strings.Join(lines, "\n")+"\n"))
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total", "hm_fleet_pass_seconds", "hm_build_info"} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestHM9000sNumbers checks M01 to M10 by hand.
func TestHM9000sNumbers(t *testing.T) {
	w := apitest.Fleet()
	base := serve(t, w.Options())
	read := func() map[string]string {
		_, raw := ask(t, "GET", base+"/metrics", "")
		got := map[string]string{}
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, "hm_number_of_") {
				got[name] = value
			}
		}
		return got
	}
	want := map[string]string{ // Steady 2/2, Gappy 2/3, Crashy 2/2, Extra 1/1, Double 1/1, Leaving 1/1, Moved's version 2 0/1
		"hm_number_of_apps_with_all_instances_reporting": "5",
		"hm_number_of_apps_with_missing_instances":       "2",
		"hm_number_of_undesired_running_apps":            "2", // Gone, Moved's version 1
		"hm_number_of_running_instances":                 "11",
		"hm_number_of_missing_indices":                   "2",
		"hm_number_of_crashed_instances":                 "1",
		"hm_number_of_crashed_indices":                   "1",
		"hm_number_of_desired_apps":                      "7",
		"hm_number_of_desired_instances":                 "11",
		"hm_number_of_desired_apps_pending_staging":      "1", // Staging
	}
	for name, value := range want {
		if got := read()[name]; got != value {
			t.Errorf("%s is %s, want %s", name, got, value)
		}
	}
	if got := read(); len(got) != len(want) {
		t.Errorf("%d metrics begin with hm_number_of_, want %d", len(got), len(want))
	}
}
