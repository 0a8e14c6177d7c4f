package dashboard

import (
	"slices"
	"strings"

	"hm/internal/api"
	"hm/internal/journal"
)

// eventsPage lists what happened, the newest first.
type eventsPage struct {
	Events   []api.Event
	More     bool // there are more that the filters select
	Kinds    []string
	Filtered bool
}

const shownEvents = 200

func (d *Dashboard) events(a *asked) (content, error) {
	q := a.URL.Query()
	query := api.EventQuery{Since: strings.TrimSpace(q.Get("since")), App: strings.TrimSpace(q.Get("app")), DEA: strings.TrimSpace(q.Get("dea"))}
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
	follow := kindNames(journal.Kinds())
	if len(query.Kinds) > 0 {
		follow = slices.DeleteFunc(follow, func(k string) bool {
			subject, _, _ := strings.Cut(k, ".")
			return !slices.Contains(query.Kinds, k) && !slices.Contains(query.Kinds, subject)
		})
	}
	return content{
		Title: "Events", Follow: follow, After: list.LastID,
		Data: eventsPage{
			Events: list.Items, More: list.More, Kinds: journal.Subjects(),
			Filtered: query.Since != "" || query.App != "" || query.DEA != "" || len(query.Kinds) > 0,
		},
	}, nil
}
