package replay

import (
	"time"

	"hm/internal/app"
)

// Comparison has the commands of two runs, and how they differ.
type Comparison struct {
	Here, There Result
	Recorded    bool         // Here has the commands that the recorded hm sent, and no MissingSeconds
	Differences []Difference // never null
}

// CompareResults compares two replays from a time on.
func CompareResults(here, there Result, from app.Time) Comparison {
	c := Comparison{Here: here.Since(from), There: there.Since(from)}
	c.Differences = append([]Difference{}, Compare(c.Here.Commands, c.There.Commands)...)
	return c
}

// CompareWithRecorded compares the commands that the recorded hm sent with those of a replay, from a time on. It ignores
// differences up to a fifth of the heartbeat period, since the recorded node and the replay look at the clock at
// different times.
func CompareWithRecorded(replayed Result, period time.Duration, from app.Time) Comparison {
	recorded := Result{Commands: replayed.Recorded, Totals: TotalsOf(replayed.Recorded, period)}
	c := CompareResults(recorded, replayed, from)
	c.Recorded = true
	c.Differences = IgnoreShifts(c.Differences, (period / 5).Milliseconds())
	return c
}
