package liveview

import "hm/internal/api"

// trailLength is how many samples a trail keeps.
const trailLength = 60

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

// Trail is the drift of the last samples, the oldest first. The zero Trail is empty. It is a value: Add gives a
// longer one and leaves the old one as it is.
type Trail struct{ samples []api.DriftCounts }

// Add gives the trail with one sample more; the oldest one is dropped if there are too many.
func (t Trail) Add(d api.DriftCounts) Trail {
	from := max(0, len(t.samples)+1-trailLength)
	samples := make([]api.DriftCounts, 0, trailLength)
	samples = append(samples, t.samples[from:]...)
	return Trail{append(samples, d)}
}

var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws the newest width samples as bars. The highest sample of the whole trail has the highest bar, zero has
// the lowest. Nothing at all gives an empty text.
func (t Trail) spark(count func(api.DriftCounts) int, width int) string {
	top := 0
	for _, s := range t.samples {
		top = max(top, count(s))
	}
	if top == 0 || width <= 0 {
		return ""
	}
	line := make([]rune, 0, width)
	for _, s := range t.samples[max(0, len(t.samples)-width):] {
		// Whatever is not zero is seen.
		line = append(line, bars[(max(count(s), 0)*(len(bars)-1)+top-1)/top])
	}
	return string(line)
}
