package dashboard

import (
	"hm/internal/api"
	"hm/internal/journal"
	"hm/internal/words"
)

// appsPage lists the apps.
type appsPage struct {
	ListView
	Apps  []api.AppItem
	Basis api.Basis
}

// appsFollow are the events after which the list of apps is out of date.
var appsFollow = []journal.Kind{
	journal.InstanceCrashed, journal.CommandConfirmed, journal.DesiredRead, journal.DEALost, journal.DEABack,
	journal.PictureFresh, journal.QueueDrained, journal.HoldSet, journal.HoldReleased,
}

// appShows are what the list of apps can be narrowed to.
func appShows(d api.DriftCounts) []choice {
	shows := []choice{
		{Name: "all", Text: "all", Count: -1},
		{Name: "drift", Text: "not as desired", Value: "drift=any", Count: -1},
		{Name: "now", Text: "acted on now", Value: "bucket=start|stop", Count: -1},
		{Name: "held", Text: "held by the gate", Value: "bucket=hold", Count: -1},
		{Name: "wait", Text: "waiting", Value: "bucket=wait", Count: -1},
	}
	for _, kind := range words.DriftKinds {
		shows = append(shows, choice{Name: kind, Text: kind, Value: "drift=" + kind, Count: words.DriftOf(d, kind)})
	}
	return append(shows, choice{Name: "crashing", Text: "with crashes", Value: "crashes>0", Count: -1})
}

var appSorts = []choice{
	{Name: "app", Text: "guid"},
	{Name: "drift", Text: "most drift", Value: "-drift"},
	{Name: "crashes", Text: "most crashes", Value: "-crashes"},
	{Name: "instances", Text: "most instances", Value: "-instances"},
	{Name: "wanted", Text: "most desired", Value: "-wanted"},
}

func (d *Dashboard) apps(a *asked) (content, error) {
	v := appsPage{ListView: viewOf(a.URL, appShows(a.status.Drift), appSorts)}
	pages := a.api.AppPages(v.options())
	apps, err := pages.Next(a.Context())
	if err := v.took(pages.Total, pages.Cursor(), err); err != nil {
		return content{}, err
	}
	v.Apps, v.Basis = apps, pages.Basis
	return content{Title: "Apps", Data: v, Follow: kindNames(appsFollow), Every: 5 * defaultEvery}, nil
}
