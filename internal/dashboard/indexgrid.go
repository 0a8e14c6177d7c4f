package dashboard

import (
	"fmt"
	"slices"
	"strings"

	"hm/internal/api"
)

// gridWindow is how many indices a grid shows at a time.
const gridWindow = 400

// Grid shows the indices of one version of an app, a cell each. Of an app with many indices it shows a window; bands
// sum up all windows.
type Grid struct {
	Cells   []Cell
	Sending int    // indices with an outstanding command, in the whole app
	First   uint32 // index of the first cell
	Last    uint32
	Total   int // indices that are desired or have an instance
	Bands   []Band
	Legend  []LegendItem // what the letters mean, with the number of cells in the whole app
	Partial bool         // the answer did not have all instances
}

// Cell is one index.
type Cell struct {
	Index  uint32
	State  string // the class of its colour: as Part.State, or extra, duplicate, undesired
	Letter string // says the same without colour
	Label  string // says it in words
	Sends  bool   // a command is outstanding for it
	Off    bool   // it is not as desired
}

// Ten are the cells of up to ten indices that begin with the same digits.
type Ten struct {
	First uint32
	Cells []Cell
}

// Tens gives the cells by tens.
func (g Grid) Tens() []Ten {
	var tens []Ten
	for _, c := range g.Cells {
		if first := c.Index - c.Index%10; len(tens) == 0 || tens[len(tens)-1].First != first {
			tens = append(tens, Ten{First: first})
		}
		last := &tens[len(tens)-1]
		last.Cells = append(last.Cells, c)
	}
	return tens
}

// Band sums up a window of indices: its worst state, and how many are not as desired.
type Band struct {
	First, Last uint32
	State       string
	Letter      string
	Off         int
	Here        bool // it is the window that is shown
	Label       string
}

// LegendItem explains a letter.
type LegendItem struct {
	State, Letter, Word string
	Count               int
}

// cellKinds are the states of a cell, the worst first.
var cellKinds = []struct{ state, letter, word string }{
	{"missing", "M", "missing"},
	{"crashed", "C", "crashed"},
	{"duplicate", "D", "more than one"},
	{"undesired", "U", "not desired"},
	{"extra", "X", "out of range"},
	{"unknown", "?", "in a state that hm does not know"},
	{"evacuating", "E", "evacuating"},
	{"stopping", "P", "stopping"},
	{"starting", "S", "starting"},
	{"live", "R", "running"},
	{"gone", "·", "nothing"},
}

// cellRank is a state's place in cellKinds.
func cellRank(state string) int {
	for i, k := range cellKinds {
		if k.state == state {
			return i
		}
	}
	return len(cellKinds)
}

// indexFacts gathers what an answer says about one index.
type indexFacts struct {
	state  string
	since  api.Timestamp
	off    bool
	deas   []string
	sends  string // what a command for it does
	detail string // of its drift
}

// factsOf gathers what is recorded of each index of a version that has something recorded, or is desired.
func factsOf(v api.AppVersion) map[uint32]*indexFacts {
	all := map[uint32]*indexFacts{}
	at := func(i uint32) *indexFacts {
		f := all[i]
		if f == nil {
			f = &indexFacts{state: "gone"}
			all[i] = f
		}
		return f
	}
	if d := v.Desired; d != nil && d.State == "STARTED" {
		for i := range min(d.Instances, maxDesiredCells) {
			at(i)
		}
	}
	for _, inst := range v.Instances {
		f, s := at(inst.Index), instanceState(inst.State)
		f.deas = append(f.deas, inst.DEA)
		// Of several instances the one that serves counts: what is wrong with the others is drift.
		if f.state == "gone" || servesMore(s, f.state) {
			f.state, f.since = s, inst.RecordedAt
		}
	}
	for _, d := range v.Drift {
		f := at(d.Index)
		if d.Kind == "foreign" { // it runs, and is left alone
			if !f.off {
				f.detail = d.Detail
			}
			continue
		}
		if !f.off || cellRank(d.Kind) < cellRank(f.state) {
			f.state, f.detail = d.Kind, d.Detail
		}
		f.off = true
	}
	for _, c := range v.Commands {
		f := at(c.Index)
		f.sends = strings.TrimPrefix(f.sends+", "+c.Action+" "+c.State, ", ")
	}
	return all
}

// maxDesiredCells is how many desired indices of one version are looked at.
const maxDesiredCells = 100_000

func instanceState(s string) string {
	switch s {
	case "RUNNING":
		return "live"
	case "STARTING", "CRASHED", "EVACUATING", "STOPPING":
		return strings.ToLower(s)
	}
	return "unknown"
}

// servesMore reports whether an instance in state a serves more than one in state b.
func servesMore(a, b string) bool {
	order := []string{"live", "starting", "evacuating", "stopping", "unknown", "crashed"}
	return slices.Index(order, a) < slices.Index(order, b)
}

// gridOf makes the grid of a version with the window that has index from.
func gridOf(b api.Basis, v api.AppVersion, facts map[uint32]*indexFacts, from uint32) Grid {
	g := Grid{Partial: v.Truncated}
	indices := make([]uint32, 0, len(facts))
	counts := map[string]int{}
	for i, f := range facts {
		indices = append(indices, i)
		counts[f.state]++
		if f.sends != "" {
			g.Sending++
		}
	}
	slices.Sort(indices)
	g.Total = len(indices)
	for _, k := range cellKinds {
		if counts[k.state] > 0 {
			g.Legend = append(g.Legend, LegendItem{k.state, k.letter, k.word, counts[k.state]})
		}
	}
	windows := slices.Collect(slices.Chunk(indices, gridWindow))
	here := slices.IndexFunc(windows, func(w []uint32) bool { return from <= w[len(w)-1] })
	if here < 0 {
		here = len(windows) - 1
	}
	for n, window := range windows {
		if n == here {
			g.First, g.Last = window[0], window[len(window)-1]
			for _, i := range window {
				g.Cells = append(g.Cells, cellOf(b, i, facts[i]))
			}
		}
		if len(windows) > 1 {
			g.Bands = append(g.Bands, bandOf(window, facts, n == here))
		}
	}
	return g
}

func cellOf(b api.Basis, i uint32, f *indexFacts) Cell {
	k := cellKinds[min(cellRank(f.state), len(cellKinds)-1)]
	label := fmt.Sprintf("index %d: %s", i, k.word)
	if len(f.deas) > 0 {
		label += " on " + strings.Join(f.deas[:min(len(f.deas), 3)], ", ")
	}
	if !f.off && !f.since.IsZero() {
		label += fmt.Sprintf(", recorded %s ago", api.Span(max(0, b.At.Sub(f.since.Time))))
	}
	if f.detail != "" {
		label += ", " + f.detail
	}
	return Cell{Index: i, State: k.state, Letter: k.letter, Label: label, Sends: f.sends != "", Off: f.off}
}

func bandOf(window []uint32, facts map[uint32]*indexFacts, here bool) Band {
	worst, off := len(cellKinds)-1, 0
	for _, i := range window {
		worst = min(worst, cellRank(facts[i].state))
		if facts[i].off {
			off++
		}
	}
	k := cellKinds[worst]
	band := Band{First: window[0], Last: window[len(window)-1], State: k.state, Letter: k.letter, Off: off, Here: here}
	band.Label = fmt.Sprintf("indices %d to %d: all as desired", band.First, band.Last)
	if off > 0 {
		band.Label = fmt.Sprintf("indices %d to %d: %d not as desired, worst %s", band.First, band.Last, off, k.word)
	}
	return band
}

// nowOf gives what the strips of a timeline need of the facts.
func nowOf(facts map[uint32]*indexFacts) map[uint32]indexNow {
	now := make(map[uint32]indexNow, len(facts))
	for i, f := range facts {
		n := indexNow{State: f.state, Since: f.since.Time, Off: f.off}
		switch f.state {
		case "gone":
			n.State = ""
		case "duplicate", "undesired", "extra", "stopping":
			n.State = "live"
		}
		now[i] = n
	}
	return now
}
