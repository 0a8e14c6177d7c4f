package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"hm/internal/api"
)

// maxMapped is how many DEAs the map shows: the first ones by id.
const maxMapped = 20_000

// maxMapLinks is how many DEAs of the map that are not simply up are links of their own.
const maxMapLinks = 300

// deaState is what the map shows of a DEA.
type deaState uint8

// The states of a DEA on the map. One that has several shows the gravest.
const (
	deaUp deaState = iota
	deaEvacuating
	deaUnreadable
	deaSilent
	deaMissed
	deaDoubled
	deaLost
	deaStates
)

// deaStateNames has each state's class and its words. Every state has a shape of its own too: see the patterns of the
// template.
var deaStateNames = [deaStates]struct{ name, word, about string }{
	deaUp:         {"up", "up", "heard within its time to live"},
	deaEvacuating: {"evacuating", "evacuating", "its instances are leaving"},
	deaUnreadable: {"unreadable", "unreadable", "this node cannot read all that it sends"},
	deaSilent:     {"silent", "silent", "this node has not heard it for its time to live"},
	deaMissed:     {"missed", "missed here", "this node does not hear it and a peer does"},
	deaDoubled:    {"doubled", "doubled", "two DEAs use its id"},
	deaLost:       {"lost", "lost", "recorded as gone: silent for its whole time to live"},
}

// Name is the state's class, and its name in addresses.
func (s deaState) Name() string { return deaStateNames[s].name }

// Word is the state's name for people.
func (s deaState) Word() string { return deaStateNames[s].word }

// About says what the state means.
func (s deaState) About() string { return deaStateNames[s].about }

// mapCell is one DEA on the map.
type mapCell struct {
	id        string
	state     deaState
	instances int
}

// DEAMap is the map: a cell each DEA, in the order of their ids, row by row.
type DEAMap struct {
	Columns, Rows int
	Width, Height int // in the map's own units
	Shown, Total  int
	Runs          []MapRun
	Links         []MapLink
	Legend        []MapCount
	Summary       string // for those who do not see it
}

// MapRun is a rectangle of cells in one state, one cell high.
type MapRun struct {
	X, Y, W int // in the map's own units
	State   string
}

// MapLink is the cell of one DEA that is not simply up.
type MapLink struct {
	X, Y  int
	Path  string // of the DEA's page
	Title string
}

// MapCount is how many DEAs are in a state.
type MapCount struct {
	State string
	Word  string
	About string
	Count int
}

// mapUnit is the width and height of a cell, with the gap to the next, in the map's own units.
const mapUnit = 10

// mapOf draws the map.
func mapOf(cells []mapCell, total int) DEAMap {
	m := DEAMap{Shown: len(cells), Total: total}
	m.Columns = mapColumns(len(cells))
	m.Rows = (len(cells) + m.Columns - 1) / m.Columns
	m.Width, m.Height = m.Columns*mapUnit, m.Rows*mapUnit
	var counts [deaStates]int
	for i := 0; i < len(cells); {
		end := min(len(cells), i-i%m.Columns+m.Columns) // of the row
		n := i + 1
		for n < end && cells[n].state == cells[i].state {
			n++
		}
		counts[cells[i].state] += n - i
		m.Runs = append(m.Runs, MapRun{
			X: i % m.Columns * mapUnit, Y: i / m.Columns * mapUnit, W: (n - i) * mapUnit, State: cells[i].state.Name(),
		})
		i = n
	}
	if len(cells)-counts[deaUp] <= maxMapLinks {
		for i, c := range cells {
			if c.state != deaUp {
				m.Links = append(m.Links, MapLink{
					X: i % m.Columns * mapUnit, Y: i / m.Columns * mapUnit, Path: deaPath(c.id), Title: cellTitle(c),
				})
			}
		}
	}
	var parts []string
	for s := range deaStates {
		state := deaStates - 1 - s // the gravest first
		if counts[state] > 0 {
			m.Legend = append(m.Legend, MapCount{state.Name(), state.Word(), state.About(), counts[state]})
			parts = append(parts, strconv.Itoa(counts[state])+" "+state.Word())
		}
	}
	m.Summary = fmt.Sprintf("a map of %d DEAs: %s", len(cells), strings.Join(parts, ", "))
	return m
}

// mapColumns gives the number of columns that makes the map about twice as wide as high.
func mapColumns(n int) int {
	return max(20, int(math.Ceil(math.Sqrt(2*float64(n)))))
}

func cellTitle(c mapCell) string {
	return fmt.Sprintf("%s: %s, %d instances", c.id, c.state.Word(), c.instances)
}

// deaStateOf gives the gravest state of a DEA.
func deaStateOf(d api.DEA) deaState {
	switch {
	case !d.GoneAt.IsZero():
		return deaLost
	case !d.DoubledSince.IsZero():
		return deaDoubled
	case d.Unreadable != nil:
		return deaUnreadable
	}
	return deaUp
}
