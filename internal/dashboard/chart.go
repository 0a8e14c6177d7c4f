package dashboard

import (
	"time"

	"hm/internal/api"
	"hm/internal/words"
)

// chartPoints is how many samples a chart has at most.
const chartPoints = 240

// tableRows is how many rows the table beside the charts has at most.
const tableRows = 24

// chart is what the charts of the overview show. The script draws it; the table says the same without a script.
type chart struct {
	Data ChartData
	Rows []chartRow // the newest first
	Long string     // of the time that it covers
}

// ChartData is what the script gets. All slices are equally long, the oldest first.
type ChartData struct {
	At     []int64 `json:"at"` // Unix seconds
	Kinds  [][]int `json:"kinds"`
	Open   []int   `json:"open"` // 1: the gate was open
	Starts []int64 `json:"starts"`
	Stops  []int64 `json:"stops"`
}

// chartRow is a row of the table.
type chartRow struct {
	At            api.Timestamp
	Gate          string
	Drift         []int // by kind
	Starts, Stops int64 // sent since the row below
}

// chartOf gives the chart of a series; nil if there are not two samples.
func chartOf(s api.Series) *chart {
	n := len(s.Samples)
	if n < 2 {
		return nil
	}
	c := &chart{Data: ChartData{Kinds: make([][]int, len(words.DriftKinds))}, Long: api.Span(s.Samples[n-1].At.Sub(s.Samples[0].At.Time))}
	for i, x := range s.Samples {
		c.Data.At = append(c.Data.At, x.At.Unix())
		for k, kind := range words.DriftKinds {
			c.Data.Kinds[k] = append(c.Data.Kinds[k], words.DriftOf(x.Drift, kind))
		}
		open := 0
		if x.GateOpen {
			open = 1
		}
		c.Data.Open = append(c.Data.Open, open)
		var starts, stops int64
		if i > 0 {
			starts, stops = sentBetween(s.Samples[i-1], x)
		}
		c.Data.Starts, c.Data.Stops = append(c.Data.Starts, starts), append(c.Data.Stops, stops)
	}
	c.Rows = chartRows(s.Samples)
	return c
}

// sentBetween gives the starts and stops that were sent between two samples.
func sentBetween(a, b api.Sample) (starts, stops int64) {
	return max(0, int64(b.SentStarts-a.SentStarts)), max(0, int64(b.SentStops-a.SentStops))
}

func chartRows(samples []api.Sample) (rows []chartRow) {
	step := max(1, (len(samples)+tableRows-1)/tableRows)
	for i := len(samples) - 1; i >= 0 && len(rows) < tableRows; i -= step {
		x, before := samples[i], samples[max(0, i-step)]
		row := chartRow{At: x.At, Gate: "open"}
		if !x.GateOpen {
			row.Gate = "closed"
			if len(x.HeldBy) > 0 {
				row.Gate += ": " + words.AndMore(x.HeldBy[:min(2, len(x.HeldBy))], len(x.HeldBy))
			}
		}
		for _, kind := range words.DriftKinds {
			row.Drift = append(row.Drift, words.DriftOf(x.Drift, kind))
		}
		row.Starts, row.Stops = sentBetween(before, x)
		rows = append(rows, row)
	}
	return rows
}

// chartRange is a choice of how far back the charts go.
type chartRange struct {
	Name   string // of the parameter range
	Length time.Duration
	Text   string
	Chosen bool
}

// chartRanges gives the choices. The first is chosen unless another is asked for.
func chartRanges(asked string) []chartRange {
	ranges := []chartRange{
		{"1h", time.Hour, "1 hour", false}, {"15m", 15 * time.Minute, "15 minutes", false}, {"6h", 6 * time.Hour, "6 hours", false},
	}
	chosen := 0
	for i, r := range ranges {
		if r.Name == asked {
			chosen = i
		}
	}
	ranges[chosen].Chosen = true
	return []chartRange{ranges[1], ranges[0], ranges[2]}
}

// rangeOf gives the chosen one as the API takes it.
func rangeOf(ranges []chartRange) string {
	for _, r := range ranges {
		if r.Chosen {
			return r.Length.String()
		}
	}
	return ""
}
