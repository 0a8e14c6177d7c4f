package liveview

import "hm/internal/api"

// historyLength is how many samples a history keeps.
const historyLength = 60

// driftKind is one kind of drift: its name in the API, and its count.
type driftKind struct {
	name  string
	count func(api.DriftCounts) int
}

// driftKinds are in the order of the API.
var driftKinds = []driftKind{
	{"missing", func(d api.DriftCounts) int { return d.Missing }},
	{"crashed", func(d api.DriftCounts) int { return d.Crashed }},
	{"evacuating", func(d api.DriftCounts) int { return d.Evacuating }},
	{"extra", func(d api.DriftCounts) int { return d.Extra }},
	{"duplicate", func(d api.DriftCounts) int { return d.Duplicate }},
	{"undesired", func(d api.DriftCounts) int { return d.Undesired }},
}

// History is the newest samples of the drift, the oldest first. The zero History is empty. It is a value: Add returns
// a new one and does not change the old one.
type History struct{ samples []api.DriftCounts }

// Add returns the history with one more sample. It drops the oldest sample if there are too many.
func (h History) Add(d api.DriftCounts) History {
	from := max(0, len(h.samples)+1-historyLength)
	samples := make([]api.DriftCounts, 0, historyLength)
	samples = append(samples, h.samples[from:]...)
	return History{append(samples, d)}
}

var bars = []rune("▁▂▃▄▅▆▇█")

// sparkline draws the newest width samples as bars. The highest sample of the whole history gets the highest bar, zero
// the lowest. If all samples are zero, it returns an empty text.
func (h History) sparkline(count func(api.DriftCounts) int, width int) string {
	top := 0
	for _, s := range h.samples {
		top = max(top, count(s))
	}
	if top == 0 || width <= 0 {
		return ""
	}
	line := make([]rune, 0, width)
	for _, s := range h.samples[max(0, len(h.samples)-width):] {
		// Round up, so that a small count differs from zero.
		line = append(line, bars[(max(count(s), 0)*(len(bars)-1)+top-1)/top])
	}
	return string(line)
}
