package dashboard

import (
	"slices"

	"hm/internal/api"
	"hm/internal/journal"
	"hm/internal/words"
)

// overview is the first page: what is wrong, what hm does about it, why not, since when.
type overview struct {
	Waits  []wait
	Events []api.Event // the newest first
	Kinds  []kindCount
}

// wait is what apps wait for.
type wait struct {
	Name, Meaning string
	Apps          int
}

// kindCount is the drift of one kind.
type kindCount struct {
	Kind  string
	Count int
}

const overviewEvents = 12

// overviewFollows are the kinds of event that change what the overview says at a glance. What happens to single apps
// and commands is left out: in a large fleet it happens all the time.
var overviewFollows = []journal.Kind{
	journal.LeaderChanged, journal.HoldSet, journal.HoldReleased, journal.PictureFresh, journal.QueueDrained, journal.LinkLost,
	journal.LinkBack, journal.GateClosed, journal.GateOpen, journal.DesiredRead, journal.DEALost, journal.DEABack, journal.DEANew,
}

func (d *Dashboard) overview(a *asked) (content, error) {
	v := overview{}
	for _, name := range words.Causes(a.status.Queue.ByCause) {
		v.Waits = append(v.Waits, wait{name, words.Cause(name), a.status.Queue.ByCause[name]})
	}
	for _, kind := range words.DriftKinds {
		v.Kinds = append(v.Kinds, kindCount{kind, words.DriftOf(a.status.Drift, kind)})
	}
	c := content{Title: "Overview", Follow: kindNames(overviewFollows)}
	events, err := a.api.Events(a.Context(), api.EventQuery{}, overviewEvents)
	if err == nil { // a node without a history has an overview
		v.Events, c.After = events.Items, events.LastID
		slices.Reverse(v.Events)
	}
	c.Data = v
	return c, nil
}

func kindNames(kinds []journal.Kind) []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return names
}
