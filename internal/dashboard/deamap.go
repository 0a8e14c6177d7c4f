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

// maxMapLinks is how many DEAs of the map with something to look at are links of their own.
const maxMapLinks = 300

// deaState is what the map shows of a DEA: the gravest of its states.
type deaState uint8

// The states of a DEA on the map.
const (
	deaHeard deaState = iota
	deaEvacuating
	deaUnreadable
	deaMissed
	deaSilent
	deaDoubled
	deaGone
	deaStates
)

// deaStateNames has each state's name, which is its class and the API's name of it, and what it means. Every state has a
// shape of its own too: see the patterns of the template.
var deaStateNames = [deaStates]struct{ name, about string }{
	deaHeard:      {"heard", "heard within its time to live, and nothing is wrong with it"},
	deaEvacuating: {"evacuating", "its instances are leaving"},
	deaUnreadable: {"unreadable", "this node cannot read all that it sends"},
	deaMissed:     {"missed", "this node does not hear it and a peer does, so it stays recorded"},
	deaSilent:     {"silent", "this node has not heard it for its time to live"},
	deaDoubled:    {"doubled", "two DEAs use its id"},
	deaGone:       {"gone", "silent for its whole time to live: its instances count as lost"},
}

// String is the state's name.
func (s deaState) String() string { return deaStateNames[s].name }

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

// Size says how large the cells may become: large, or small in a large fleet.
func (m DEAMap) Size() string {
	if m.Columns > 40 {
		return "small"
	}
	return "large"
}

// MapRun is a rectangle of cells in one state, one cell high.
type MapRun struct {
	X, Y, W int // in the map's own units
	State   string
}

// MapLink is the cell of one DEA with something to look at.
type MapLink struct {
	X, Y  int
	Path  string // of the DEA's page
	Title string
}

// MapCount is how many DEAs are in a state.
type MapCount struct {
	State string
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
			X: i % m.Columns * mapUnit, Y: i / m.Columns * mapUnit, W: (n - i) * mapUnit, State: cells[i].state.String(),
		})
		i = n
	}
	if len(cells)-counts[deaHeard] <= maxMapLinks {
		for i, c := range cells {
			if c.state != deaHeard {
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
			m.Legend = append(m.Legend, MapCount{state.String(), state.About(), counts[state]})
			parts = append(parts, strconv.Itoa(counts[state])+" "+state.String())
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
	return fmt.Sprintf("%s: %s, %d instances", c.id, c.state.String(), c.instances)
}

// deaStateOf gives the state of a DEA. What a later version of the API may say counts as heard.
func deaStateOf(d api.DEA) deaState {
	for s := range deaStates {
		if s.String() != d.State {
			continue
		}
		switch {
		case s == deaHeard && d.States.Evacuating > 0:
			return deaEvacuating
		case s == deaSilent && d.HeardByPeer:
			return deaMissed
		}
		return s
	}
	return deaHeard
}
