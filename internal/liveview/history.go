package liveview

import (
	"hm/internal/api"
	"hm/internal/words"
)

// HistoryLength is how many samples a history keeps, and how many periods the rates.
const HistoryLength = 60

// History is the newest samples of the drift, the oldest first. The zero History is empty. It is a value: Add returns
// a new one and does not change the old one.
type History struct{ samples []api.DriftCounts }

// Add returns the history with one more sample. It drops the oldest sample if there are too many.
func (h History) Add(d api.DriftCounts) History {
	from := max(0, len(h.samples)+1-HistoryLength)
	samples := make([]api.DriftCounts, 0, HistoryLength)
	samples = append(samples, h.samples[from:]...)
	return History{append(samples, d)}
}

// counts returns the samples of one kind of drift.
func (h History) counts(kind string) []int {
	out := make([]int, len(h.samples))
	for i, s := range h.samples {
		out[i] = words.DriftOf(s, kind)
	}
	return out
}

var bars = []rune("▁▂▃▄▅▆▇█")

// sparkline draws the newest width counts as bars. The highest of all counts gets the highest bar, zero the lowest. If
// all are zero, it returns an empty text.
func sparkline(counts []int, width int) string {
	top := 0
	for _, n := range counts {
		top = max(top, n)
	}
	if top == 0 || width <= 0 {
		return ""
	}
	line := make([]rune, 0, width)
	for _, n := range counts[max(0, len(counts)-width):] {
		// Round up, so that a small count differs from zero.
		line = append(line, bars[(max(n, 0)*(len(bars)-1)+top-1)/top])
	}
	return string(line)
}
