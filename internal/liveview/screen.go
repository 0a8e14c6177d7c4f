package liveview

import "slices"

// Page is what a screen shows.
type Page uint8

// The pages. Those before PageApp have a key each.
const (
	Overview Page = iota
	PageApps
	PageDEAs
	PageCommands
	PageEvents
	PageCluster
	PageApp    // what hm does about one app
	PageDEA    // one DEA and its instances
	PageDetail // the events of one app or one DEA
	pageCount
)

// pageNames are the names of the pages, as the bottom line has them.
var pageNames = [pageCount]string{"overview", "apps", "DEAs", "commands", "events", "cluster", "app", "DEA", "events"}

// Screen is what the user looks at: a page, the place on it, and what he is typing. The zero Screen is the overview. It
// is a value: Press returns a new one. It knows no numbers; Render draws the screen of a frame.
type Screen struct {
	spot
	back    []spot // where Back leads, the newest last
	filters [pageCount]string
	orders  [pageCount]int
	help    bool
	helpTop int    // the first line of the help that is shown
	editing bool   // the filter is being typed
	typed   string // so far
	dialog  *dialog
	seen    int // number of the newest notice that a key has put away

	Still bool // draw no keys: for a frame that is printed
}

// spot is a page and the place on it.
type spot struct {
	page   Page
	id     string // of the app or the DEA; of PageDetail with the kind of the id before it, see detailOf
	cursor string // the key of the chosen row; empty: none
	top    int    // the first line that is shown of a page without rows
	all    bool   // of PageApp: also the indices that are as desired
}

// maxBack is how many pages Back can lead through.
const maxBack = 16

// maxTyped is how many bytes a user may type into a filter or a reason.
const maxTyped = 200

// Query returns what the screen needs beside the status.
func (s Screen) Query() Query {
	q := Query{Page: s.page, ID: s.id, Filter: s.filters[s.page]}
	switch s.page {
	case Overview:
		q.Filter = ""
	case PageApps:
		q.Order = appOrders[s.orders[s.page]%len(appOrders)].param
	case PageDEAs:
		q.Order = deaOrders[s.orders[s.page]%len(deaOrders)].param
	}
	return q
}

// Typing reports whether keys are text at present.
func (s Screen) Typing() bool { return s.editing || s.dialog != nil }

// detailOf returns the id of PageDetail for an app or a DEA.
func detailOf(page Page, id string) string {
	if page == PageDEA {
		return "dea " + id
	}
	return "app " + id
}

// open goes to a page, and remembers the present one.
func (s Screen) open(to spot) Screen {
	if s.page == to.page && s.id == to.id {
		return s
	}
	s.back = append(slices.Clone(s.back[max(0, len(s.back)+1-maxBack):]), s.spot)
	s.spot = to
	return s
}

// goBack goes to the page before.
func (s Screen) goBack() Screen {
	n := len(s.back)
	if n == 0 {
		s.spot = spot{page: Overview}
		return s
	}
	s.spot, s.back = s.back[n-1], s.back[:n-1:n-1]
	return s
}

// row is a line that can be chosen.
type row struct {
	key  string // the same for the same thing at another time
	line int    // of the drawing
	open *spot  // what Enter opens; nil: nothing
	hold string // the name, if it is a hold
}

// move returns the screen with the cursor some rows further. Without a cursor it goes to the first or the last row.
func (s Screen) move(rows []row, by int) Screen {
	if len(rows) == 0 {
		s.cursor = ""
		return s
	}
	at := slices.IndexFunc(rows, func(r row) bool { return r.key == s.cursor })
	switch {
	case at >= 0:
		at += by
	case by < 0:
		at = len(rows) - 1
	default:
		at = 0
	}
	s.cursor = rows[min(max(at, 0), len(rows)-1)].key
	return s
}

// chosen returns the row under the cursor.
func (s Screen) chosen(rows []row) (row, bool) {
	if at := slices.IndexFunc(rows, func(r row) bool { return r.key == s.cursor }); at >= 0 && s.cursor != "" {
		return rows[at], true
	}
	return row{}, false
}
