package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"hm/internal/api"
	"hm/internal/journal"
)

// deasPage shows all DEAs on a map and lists them.
type deasPage struct {
	ListView
	Map   DEAMap
	DEAs  []api.DEA
	Basis api.Basis
	// Missed is how many DEAs a peer hears and this node, leading, does not.
	Missed int
}

// deasFollow are the events after which the map is out of date.
var deasFollow = []journal.Kind{
	journal.DEANew, journal.DEALost, journal.DEABack, journal.DEAForgotten, journal.DEADoubled, journal.DEASingle,
	journal.DEAUnreadable, journal.DEAReadable, journal.DEAEvacuating,
}

// deaShows are what the list of DEAs can be narrowed to. The counts come from the map.
func deaShows(m DEAMap) []choice {
	shows := []choice{
		{Name: "all", Text: "all", Count: m.Total},
		{Name: "trouble", Text: "with trouble", Value: "state!=heard", Count: -1},
	}
	for s := range deaStates {
		if s == deaMissed {
			continue // the API counts them as silent
		}
		c := choice{Name: s.String(), Text: s.String(), Value: "state=" + s.String()}
		if s == deaEvacuating {
			c.Value = "evacuating>0"
		}
		for _, l := range m.Legend {
			if l.State == c.Name {
				c.Count = l.Count
			}
		}
		shows = append(shows, c)
	}
	return shows
}

var deaSorts = []choice{
	{Name: "dea", Text: "id"},
	{Name: "silence", Text: "longest silence", Value: "-silence"},
	{Name: "instances", Text: "most instances", Value: "-instances"},
	{Name: "few", Text: "fewest instances", Value: "instances"},
	{Name: "new", Text: "newest", Value: "age"},
}

func (d *Dashboard) deas(a *asked) (content, error) {
	cells, total, err := d.cells.get(a.Context(), a.api)
	if err != nil {
		return content{}, err
	}
	p := deasPage{Map: mapOf(cells, total), Missed: a.status.Actual.MissedDEAs}
	p.ListView = viewOf(a.URL, deaShows(p.Map), deaSorts)
	pages := a.api.DEAPages(p.options())
	list, err := pages.Next(a.Context())
	if err := p.took(pages.Total, pages.Cursor(), err); err != nil {
		return content{}, err
	}
	p.DEAs, p.Basis = list, pages.Basis
	return content{Title: "DEAs", Data: p, Follow: kindNames(deasFollow), Every: 2 * defaultEvery}, nil
}

// deaCells keeps what the map shows, for all browsers together: the list of all DEAs is the largest that any page needs.
// It keeps about 100 bytes a DEA.
type deaCells struct {
	reading chan struct{} // has an element while the list is read or looked at. It guards the following

	cells []mapCell
	total int
	at    time.Time
	took  time.Duration
}

func newDEACells() *deaCells { return &deaCells{reading: make(chan struct{}, 1)} }

// cellsCost bounds what the map costs: a list is used for at least this many times as long as reading it took.
const cellsCost = 20

func (c *deaCells) get(ctx context.Context, client *api.Client) (cells []mapCell, total int, err error) {
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	if !c.at.IsZero() && time.Since(c.at) < max(cacheFor, cellsCost*c.took) {
		return c.cells, c.total, nil
	}
	began := time.Now()
	pages := client.DEAPages(api.ListOptions{Limit: maxMapped})
	for pages.More() {
		list, err := pages.Next(ctx)
		if err != nil {
			return nil, 0, err
		}
		for _, d := range list {
			cells = append(cells, mapCell{id: d.DEA, state: deaStateOf(d), instances: d.Count})
		}
	}
	c.cells, c.total, c.at, c.took = cells, max(pages.Total, len(cells)), time.Now(), time.Since(began)
	return c.cells, c.total, nil
}

// mapCell answers GET /map/dea/{n}: it leads to the page of the DEA that is cell n of the map, or, with ?about, says
// which it is. The script asks for it, so that the map needs no id for each cell.
func (d *Dashboard) mapCell(w http.ResponseWriter, r *http.Request) {
	cells, _, err := d.cells.get(r.Context(), d.client.For(r))
	n, bad := strconv.Atoi(r.PathValue("n"))
	switch {
	case err != nil:
		http.Error(w, "the list of DEAs cannot be read: "+err.Error(), http.StatusServiceUnavailable)
	case bad != nil || n < 0 || n >= len(cells):
		http.Error(w, "the map has no such cell: load the page again", http.StatusNotFound)
	case r.URL.Query().Has("about"):
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprint(w, cellTitle(cells[n]))
	default:
		http.Redirect(w, r, deaPath(cells[n].id), http.StatusSeeOther)
	}
}
