package dashboard

import (
	"strings"

	"hm/internal/api"
	"hm/internal/journal"
)

// commandsPage shows what hm is about to do, and what became of what it did.
type commandsPage struct {
	ListView
	Commands []api.Command // outstanding
	Ended    []api.Command // the newest first
	Endings  []choice      // what the ended ones can be narrowed to
	App      string        // only of this app
	NoEnded  string        // why there are no ended ones
	// MoreEnded says that there are further ended ones.
	MoreEnded bool
	Shadow    *api.Comparison
	Basis     api.Basis
	Here      string // address of the page, to which the forms return
}

const (
	endedRead   = 2000 // ended commands that are looked at
	endedShown  = 50
	comparedFor = "1h"
	comparedMax = 50
)

var commandsFollow = []journal.Kind{
	journal.CommandScheduled, journal.CommandSent, journal.CommandDecided, journal.CommandConfirmed, journal.CommandExpired,
	journal.CommandDropped, journal.CommandAbandoned, journal.HoldSet, journal.HoldReleased, journal.GateClosed, journal.GateOpen,
}

var commandShows = []choice{
	{Name: "all", Text: "all", Count: -1},
	{Name: "start", Text: "starts", Value: "action=start", Count: -1},
	{Name: "stop", Text: "stops", Value: "action=stop", Count: -1},
	{Name: "pending", Text: "not sent yet", Value: "state=pending|claimed", Count: -1},
	{Name: "sent", Text: "sent, waiting for effect", Value: "state=sent", Count: -1},
	{Name: "late", Text: "late", Value: "due<0s,state=pending|claimed", Count: -1},
}

var commandSorts = []choice{
	{Name: "due", Text: "soonest due", Value: "due"},
	{Name: "app", Text: "app"},
	{Name: "priority", Text: "highest priority", Value: "-priority"},
	{Name: "created", Text: "oldest", Value: "created"},
}

// commandEndings are the ways in which a command ends.
var commandEndings = []choice{
	{Name: "", Text: "all", Count: -1},
	{Name: "confirmed", Text: "confirmed", Value: "state=confirmed", Count: -1},
	{Name: "expired", Text: "expired", Value: "state=expired", Count: -1},
	{Name: "dropped", Text: "dropped", Value: "state=dropped", Count: -1},
	{Name: "abandoned", Text: "abandoned", Value: "state=abandoned", Count: -1},
}

func (d *Dashboard) commands(a *asked) (content, error) {
	q := a.URL.Query()
	p := commandsPage{ListView: viewOf(a.URL, commandShows, commandSorts), App: strings.TrimSpace(q.Get("q")), Here: a.URL.RequestURI()}
	p.Search = ""
	o := p.options()
	o.Prefix = ""
	pages := a.api.CommandPages(p.App, o)
	list, err := pages.Next(a.Context())
	if err := p.took(pages.Total, pages.Cursor(), err); err != nil {
		return content{}, err
	}
	p.Commands, p.Basis, p.Search = list, pages.Basis, p.App
	var ending string
	p.Endings, ending = p.choose(commandEndings, "ended")
	for _, c := range p.Endings {
		if c.Name == ending {
			ended := a.api.EndedPages(p.App, endedRead, api.ListOptions{Filter: c.Value, Limit: endedShown})
			if p.Ended, err = ended.Next(a.Context()); err != nil {
				p.NoEnded = err.Error()
			}
			p.MoreEnded = len(p.Ended) == endedShown
		}
	}
	c := content{Title: "Commands", Follow: kindNames(commandsFollow), Every: 2 * defaultEvery}
	compared, _, err := a.api.Compare(a.Context(), comparedFor, "", comparedMax)
	if err == nil && compared.Listening.Shadow {
		p.Shadow = &compared
	}
	c.Data = p
	return c, nil
}
