package dashboard

import (
	"slices"
	"strconv"

	"hm/internal/api"
	"hm/internal/journal"
	"hm/internal/words"
)

// deaPage is everything about one DEA.
type deaPage struct {
	DEA      api.DEA // without its instances
	State    string
	About    string
	Troubles []string
	Why      string // an example of what cannot be read
	States   []choice
	Rows     []api.Instance
	Total    int // instances in the chosen state
	From, To int // of the rows, from 1
	Prev     string
	Next     string
	Apps     int         // apps with an instance on the DEA
	Events   []api.Event // the newest first
	More     bool
	NoEvents string
	Basis    api.Basis
}

const deaEvents = 50

var deaFollow = append([]journal.Kind{journal.InstanceCrashed}, deasFollow...)

func (d *Dashboard) dea(a *asked) (content, error) {
	dea, _, err := a.api.DEA(a.Context(), a.PathValue("id"))
	if err != nil {
		return content{}, err
	}
	list, err := a.api.Events(a.Context(), api.EventQuery{DEA: dea.DEA}, deaEvents)
	p := deaView(dea, a.URL.Query().Get("state"), a.URL.Query().Get("from"))
	p.Events, p.More = list.Items, list.More
	slices.Reverse(p.Events)
	if err != nil {
		p.NoEvents = err.Error()
	}
	return content{Title: "DEA " + dea.DEA, Data: p, Follow: kindNames(deaFollow), DEA: dea.DEA, After: list.LastID, Every: 2 * defaultEvery}, nil
}

// instanceStates are the states of an instance, in the order in which a page shows them.
var instanceStates = []string{"RUNNING", "STARTING", "CRASHED", "EVACUATING", "STOPPING", "UNKNOWN"}

// deaView makes the page of a DEA with the instances in one state, all if it is empty, from a position on.
func deaView(dea api.DEA, state, from string) deaPage {
	p := deaPage{Basis: *dea.Basis, Troubles: words.Troubles(*dea.Basis, dea), State: deaStateOf(dea).String(), About: deaStateOf(dea).About()}
	if dea.Unreadable != nil {
		p.Why = dea.Unreadable.Why
	}
	counts, apps := map[string]int{}, map[string]bool{}
	for _, i := range dea.Instances {
		counts[i.State]++
		apps[i.App] = true
	}
	path := deaPath(dea.DEA)
	p.Apps = len(apps)
	p.States = []choice{{Text: "all", Path: path, Here: state == "", Count: len(dea.Instances)}}
	for _, s := range instanceStates {
		if counts[s] > 0 || s == state {
			p.States = append(p.States, choice{Name: s, Text: s, Path: path + "?state=" + s, Here: s == state, Count: counts[s]})
		}
	}
	rows := dea.Instances
	query := ""
	if slices.Contains(instanceStates, state) {
		query = "state=" + state + "&"
		rows = slices.DeleteFunc(slices.Clone(rows), func(i api.Instance) bool { return i.State != state })
	}
	first, _ := strconv.Atoi(from)
	first = min(max(first, 0), max(0, len(rows)-1))
	first -= first % pageRows
	p.Rows, p.Total = rows[first:min(first+pageRows, len(rows))], len(rows)
	p.From, p.To = min(first+1, len(rows)), first+len(p.Rows)
	at := func(n int) string { return path + "?" + query + "from=" + strconv.Itoa(n) }
	if first > 0 {
		p.Prev = at(first - pageRows)
	}
	if p.To < len(rows) {
		p.Next = at(p.To)
	}
	p.DEA, p.DEA.Instances = dea, nil
	return p
}
