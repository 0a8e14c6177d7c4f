package dashboard

import (
	"slices"
	"strings"

	"hm/internal/api"
	"hm/internal/journal"
)

// eventsPage lists what happened, the newest first.
type eventsPage struct {
	Days     []eventDay
	Shown    int
	More     bool // there are more that the filters select
	Filter   eventFilter
	Filtered bool
}

// eventDay has the events of one day, in UTC.
type eventDay struct {
	Day    string
	Events []api.Event
}

// eventFilter is what the form above the list shows.
type eventFilter struct {
	Kind, App, DEA, Since string
	Kinds                 []kindGroup
}

// kindGroup has the kinds of one subject.
type kindGroup struct {
	Subject string
	Kinds   []string
}

const shownEvents = 200

func (d *Dashboard) events(a *asked) (content, error) {
	q := a.URL.Query()
	f := eventFilter{
		Kind: q.Get("kind"), App: strings.TrimSpace(q.Get("app")), DEA: strings.TrimSpace(q.Get("dea")), Since: strings.TrimSpace(q.Get("since")),
		Kinds: kindGroups(),
	}
	query := api.EventQuery{Since: f.Since, App: f.App, DEA: f.DEA}
	for _, k := range q["kind"] {
		if k != "" {
			query.Kinds = append(query.Kinds, k)
		}
	}
	list, err := a.api.Events(a.Context(), query, shownEvents)
	if err != nil {
		return content{}, err
	}
	slices.Reverse(list.Items)
	return content{
		Title: "Events", Follow: followOf(query.Kinds), App: query.App, DEA: query.DEA, After: list.LastID,
		Data: eventsPage{
			Days: byDay(list.Items), Shown: len(list.Items), More: list.More, Filter: f,
			Filtered: query.Since != "" || query.App != "" || query.DEA != "" || len(query.Kinds) > 0,
		},
	}, nil
}

// followOf gives the kinds that filters select. Each is a kind or the subject of kinds; none selects all.
func followOf(filters []string) []string {
	return slices.DeleteFunc(kindNames(journal.Kinds()), func(k string) bool {
		subject, _, _ := strings.Cut(k, ".")
		return len(filters) > 0 && !slices.Contains(filters, k) && !slices.Contains(filters, subject)
	})
}

func kindGroups() (groups []kindGroup) {
	for _, subject := range journal.Subjects() {
		groups = append(groups, kindGroup{subject, followOf([]string{subject})})
	}
	return groups
}

// byDay splits events at the beginning of each day.
func byDay(events []api.Event) (days []eventDay) {
	for _, e := range events {
		day := e.At.UTC().Format("Monday, 2 January 2006")
		if len(days) == 0 || days[len(days)-1].Day != day {
			days = append(days, eventDay{Day: day})
		}
		last := &days[len(days)-1]
		last.Events = append(last.Events, e)
	}
	return days
}
