package dashboard

import (
	"slices"

	"hm/internal/api"
	"hm/internal/journal"
)

// clusterPage shows the nodes, who led when, and the holds.
type clusterPage struct {
	Leaders []api.Event // the newest first
}

const shownLeaders = 20

func (d *Dashboard) cluster(a *asked) (content, error) {
	c := content{Title: "Cluster", Follow: kindNames(overviewFollows)}
	v := clusterPage{}
	leaders, err := a.api.Events(a.Context(), api.EventQuery{Kinds: []string{string(journal.LeaderChanged)}}, shownLeaders)
	if err == nil {
		v.Leaders, c.After = leaders.Items, leaders.LastID
		slices.Reverse(v.Leaders)
	}
	c.Data = v
	return c, nil
}
