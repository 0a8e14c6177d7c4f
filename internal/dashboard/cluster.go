package dashboard

import (
	"slices"
	"strings"

	"hm/internal/api"
	"hm/internal/journal"
	"hm/internal/reconcile"
	"hm/internal/words"
)

// clusterPage shows the nodes, who led when, and the holds.
type clusterPage struct {
	Nodes    []memberRow
	Troubles []words.Line
	Link     []words.Line
	Holds    []holdRow
	Paused   *holdRow
	Due      int         // findings that hm acts on as soon as nothing holds it
	Leaders  []api.Event // the newest first
	Holding  []api.Event // who set and released holds, the newest first
}

// memberRow is a node of the cluster.
type memberRow struct {
	api.ClusterNode
	Asked  bool // it answers
	Leads  bool
	Behind int64  // entries behind the newest that a node has applied; -1: not known
	Gate   string // as it reports it
}

// holdRow is a hold that is set.
type holdRow struct {
	api.Hold
	Words   words.ReasonWords
	Shuts   bool // it closes the gate
	Removes bool // its release may let hm send commands
}

const shownLeaders, shownHolding = 20, 20

// clusterFollows are the kinds of event that change the cluster's page.
var clusterFollows = []journal.Kind{
	journal.LeaderChanged, journal.HoldSet, journal.HoldReleased, journal.LinkLost, journal.LinkBack, journal.GateClosed, journal.GateOpen,
	journal.PictureFresh,
}

func (d *Dashboard) cluster(a *asked) (content, error) {
	c := content{Title: "Cluster", Follow: kindNames(clusterFollows)}
	v := clusterPage{
		Nodes: memberRows(a.status), Troubles: words.MemberTroubles(a.status.Cluster.Nodes, a.status.Node), Due: a.status.Drift.Due,
	}
	for _, h := range a.status.Holds {
		row := holdRow{Hold: h, Words: words.Reason("hold:" + h.Name), Shuts: h.StopLimit == 0}
		if h.Name == reconcile.HoldPaused {
			row.Words = words.Reason(reconcile.ReasonPaused)
			v.Paused = &row
		}
		v.Holds = append(v.Holds, row)
	}
	v.Leaders, c.After = d.newest(a, shownLeaders, string(journal.LeaderChanged))
	v.Holding, _ = d.newest(a, shownHolding, "hold")
	c.Data = v
	return c, nil
}

// newest gives the newest events of some kinds, the newest first, and the id up to which the history is known. A node
// without a history has none.
func (d *Dashboard) newest(a *asked, limit int, kinds ...string) (events []api.Event, last string) {
	list, err := a.api.Events(a.Context(), api.EventQuery{Kinds: kinds}, limit)
	if err != nil {
		return nil, ""
	}
	slices.Reverse(list.Items)
	return list.Items, list.LastID
}

func memberRows(s api.Status) []memberRow {
	var newest uint64
	for _, n := range s.Cluster.Nodes {
		if n.AppliedIndex != nil {
			newest = max(newest, *n.AppliedIndex)
		}
	}
	var rows []memberRow
	for _, n := range s.Cluster.Nodes {
		row := memberRow{ClusterNode: n, Asked: n.ID == s.Node, Leads: n.ID == s.Cluster.Leader, Behind: -1, Gate: n.Gate}
		if n.AppliedIndex != nil {
			row.Behind = int64(newest - *n.AppliedIndex)
		}
		if row.Asked {
			row.Gate = "open"
			if !s.Gate.Open {
				row.Gate = strings.Join(s.Gate.Reasons, ", ")
			}
		}
		rows = append(rows, row)
	}
	return rows
}
