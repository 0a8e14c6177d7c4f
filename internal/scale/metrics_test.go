package main

import (
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func read(t *testing.T, text string) figures {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	f, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const before = `# TYPE hm_x_seconds histogram
hm_x_seconds_bucket{action="start",le="0.01"} 5
hm_x_seconds_bucket{action="start",le="0.1"} 6
hm_x_seconds_bucket{action="start",le="+Inf"} 6
hm_x_seconds_sum{action="start"} 1
hm_x_seconds_count{action="start"} 6
# TYPE hm_n_total counter
hm_n_total{action="start"} 2
hm_n_total{action="stop"} 3
`

const after = `# TYPE hm_x_seconds histogram
hm_x_seconds_bucket{action="start",le="0.01"} 65
hm_x_seconds_bucket{action="start",le="0.1"} 104
hm_x_seconds_bucket{action="start",le="+Inf"} 106
hm_x_seconds_sum{action="start"} 9
hm_x_seconds_count{action="start"} 106
# TYPE hm_n_total counter
hm_n_total{action="start"} 12
hm_n_total{action="stop"} 3
`

// TestSince: what a histogram counted meanwhile, over all labels, without what it had counted before.
func TestSince(t *testing.T) {
	s := read(t, after).since(read(t, before), "hm_x_seconds")
	if s.total != 100 || s.within(0.5) != "10ms" || s.within(0.98) != "100ms" || s.within(1) != "over 100ms" {
		t.Errorf("%v: %s, %s, %s", s, s.within(0.5), s.within(0.98), s.within(1))
	}
	if none := read(t, after).since(read(t, after), "hm_x_seconds"); none.within(0.5) != "-" {
		t.Errorf("nothing was counted, and half of it is %s", none.within(0.5))
	}
	if n := read(t, after).value("hm_n_total") - read(t, before).value("hm_n_total"); n != 10 {
		t.Errorf("the counter grew by %v", n)
	}
}
