package metrics_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hm/internal/metrics"
)

var update = flag.Bool("update", false, "write docs/metrics.md and contrib/grafana/hm.json")

// current holds that a file has what the table gives. With -update it writes the file.
func current(t *testing.T, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the table of metrics gives (%v): run go generate ./internal/metrics", file, err)
	}
}

// TestMetricsDocument holds that docs/metrics.md is what the table of metrics gives.
func TestMetricsDocument(t *testing.T) {
	head, err := os.ReadFile("testdata/metrics-head.md")
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.NewBuffer(head)
	b.WriteString("Contents: ")
	for i, s := range metrics.Sections() {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(b, "[%s](#%s)", strings.ToLower(s.Title[:1])+s.Title[1:], anchor(s.Title))
	}
	b.WriteString(",\n[names of HM9000 and the Ruby Health Manager](#names-of-hm9000-and-the-ruby-health-manager).\n")
	for _, s := range metrics.Sections() {
		fmt.Fprintf(b, "\n## %s\n\n", s.Title)
		if s.Text != "" {
			b.WriteString(wrapped(s.Text) + "\n")
		}
		b.WriteString("| metric | meaning | what to do |\n|---|---|---|\n")
		for _, m := range s.Metrics {
			fmt.Fprintf(b, "| `%s`<br>%s | %s | %s |\n", m.Name, shape(m), meaning(m), m.Do)
		}
	}
	b.WriteString("\n## Names of HM9000 and the Ruby Health Manager\n\n")
	b.WriteString(wrapped("HM9000 sent its figures over UDP to metron, the Ruby Health Manager served its own at `/varz`, as HM9000 did until January 2016. hm can serve them under the old names: see [collectors.md](collectors.md).") + "\n")
	b.WriteString("| theirs | hm's |\n|---|---|\n")
	for _, m := range metrics.All() {
		if m.Before != "" {
			fmt.Fprintf(b, "| %s | `%s` |\n", m.Before, m.Name)
		}
	}
	current(t, "../../docs/metrics.md", b.Bytes())
}

// shape gives the type, unit and labels of a metric.
func shape(m *metrics.Metric) string {
	s := fmt.Sprintf("%s, %s", m.Type, m.Unit)
	for _, l := range m.Labels {
		s += fmt.Sprintf("<br>`%s`: %s", l.Name, l.Values)
	}
	return s
}

func meaning(m *metrics.Metric) string {
	s := m.Help
	if m.When != "" && !strings.Contains(s, "missing if") {
		s += " It is there when " + m.When + "."
	}
	if m.Type == metrics.Histogram {
		var bounds []string
		for _, b := range m.Bounds {
			bounds = append(bounds, fmt.Sprint(b))
		}
		s += " Buckets up to " + strings.Join(bounds, ", ") + "."
	}
	return s
}

// anchor gives the anchor of a heading.
func anchor(title string) string {
	return strings.ReplaceAll(strings.ToLower(title), " ", "-")
}

// wrapped breaks a paragraph into lines of at most 100 columns.
func wrapped(text string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > 100:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String() + "\n"
}

// TestTable holds that the table is complete, and that its names and units follow the conventions of Prometheus.
func TestTable(t *testing.T) {
	name, label := regexp.MustCompile(`^hm_[a-z0-9_]+$`), regexp.MustCompile(`^[a-z]+$`)
	seen := map[string]bool{}
	for _, m := range metrics.All() {
		if !name.MatchString(m.Name) || seen[m.Name] {
			t.Errorf("the name %q is badly formed, or there twice", m.Name)
		}
		seen[m.Name] = true
		for what, text := range map[string]string{"meaning": m.Help, "advice": m.Do} {
			if text == "" || !strings.ContainsAny(text[len(text)-1:], ".)") {
				t.Errorf("%s: its %s is %q, want sentences", m.Name, what, text)
			}
		}
		if strings.ContainsAny(m.Help+m.Do+m.Before, "|\n") {
			t.Errorf("%s: its text would break the table", m.Name)
		}
		if total := strings.HasSuffix(m.Name, "_total"); total != (m.Type == metrics.Counter) {
			t.Errorf("%s is a %s: the names of counters, and only those, end with _total", m.Name, m.Type)
		}
		if seconds := strings.HasSuffix(strings.TrimSuffix(m.Name, "_total"), "_seconds"); seconds != (m.Unit == "seconds") {
			t.Errorf("%s has the unit %q", m.Name, m.Unit)
		}
		if (m.Type == metrics.Histogram) != (len(m.Bounds) > 0) || !slices.IsSorted(m.Bounds) {
			t.Errorf("%s is a %s with the bounds %v", m.Name, m.Type, m.Bounds)
		}
		for _, l := range m.Labels {
			if !label.MatchString(l.Name) || l.Name == "instance" || l.Name == "job" || l.Name == "le" || l.Values == "" {
				t.Errorf("%s: the label %q is badly named or not explained", m.Name, l.Name)
			}
		}
	}
	if metrics.Find("hm_gate_open") != metrics.GateOpen || metrics.Find("hm_nothing") != nil {
		t.Error("Find does not find a metric, or finds one that is not there")
	}
}

// TestObservingAllocatesNothing holds that measuring costs no memory.
func TestObservingAllocatesNothing(t *testing.T) {
	times := metrics.NewTimes()
	times.Request("GET /v1/status").Observe(1)
	if n := testing.AllocsPerRun(1000, func() { times.Step.Observe(0.01); times.HeartbeatRecorded.Observe(3) }); n != 0 {
		t.Errorf("observing a time allocates %v times", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	times := metrics.NewTimes()
	b.ReportAllocs()
	for b.Loop() {
		times.Step.Observe(0.01)
	}
}
