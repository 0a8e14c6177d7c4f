package dashboard

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"hm/internal/api"
	"hm/internal/journal"
	"hm/internal/words"
)

// How much of an app's history its page shows.
const (
	appStripEvents = 2000 // events that the strips are made of
	appEvents      = 30   // events that are listed
	appHistory     = 20   // ended commands that are listed
	maxExplained   = 600  // lines of the explanation
	maxCrashRows   = 100
	maxCommandRows = 100
)

// appPage is everything about one app.
type appPage struct {
	GUID     string
	Index    string // the one index that is explained; empty: all
	Command  string // the command of the CLI that prints the same explanation
	Versions []appVersionView
	Explain  []words.Line
	Left     int // lines of the explanation that are left out
	Spans    []choice
	Ended    []api.Command
	Events   []api.Event // the newest first
	More     bool        // the history has further events
	Gone     bool        // nothing of the app is recorded any more
	NoEvents string      // why there is no history
	Basis    api.Basis

	AllPath   string // address of the page that explains all indices
	WholePath string // address of the page that also explains the indices that are as desired; empty on it
}

// Path is the address of the page.
func (p appPage) Path() string { return appPath(p.GUID) }

// Long reports whether the explanation has more lines than fit on a screen.
func (p appPage) Long() bool { return len(p.Explain) > 60 }

// IndexPath is the address of the page that explains one index.
func (p appPage) IndexPath(index uint32) string { return indexPath(p.GUID, index) }

// FromPath is the address of the page that shows the indices around one.
func (p appPage) FromPath(index uint32) string {
	return appPath(p.GUID) + "?from=" + strconv.FormatUint(uint64(index), 10)
}

// appVersionView is one version of an app.
type appVersionView struct {
	Version  string
	Desired  string
	Verdict  words.Text
	BandSize int // indices that a band stands for
	Grid     Grid
	History  IndexHistory
	Crashes  []api.CrashRecord
	Commands []api.Command
	// LeftOut says that there are more crashes or commands than are listed.
	LeftOut bool
}

// appSpans are the times that the strips may show.
var appSpans = []struct {
	name string
	span time.Duration
}{{"1h", time.Hour}, {"15m", 15 * time.Minute}, {"6h", 6 * time.Hour}, {"24h", 24 * time.Hour}}

// appFollow are the events of an app after which its page is out of date.
var appFollow = []journal.Kind{
	journal.InstanceCrashed, journal.CommandScheduled, journal.CommandSent, journal.CommandDecided, journal.CommandConfirmed,
	journal.CommandExpired, journal.CommandDropped, journal.CommandAbandoned, journal.OtherStart, journal.OtherStop,
}

func (d *Dashboard) app(a *asked) (content, error) {
	guid, index := a.PathValue("guid"), a.URL.Query().Get("index")
	explained, _, err := a.api.Explain(a.Context(), guid, index)
	if err != nil {
		return d.formerApp(a, guid, err)
	}
	guid = explained.App
	record, _, err := a.api.App(a.Context(), guid, "")
	if err != nil {
		return content{}, err
	}
	p := appPage{GUID: guid, Index: index, Basis: explained.Basis, Command: "hm explain " + words.Short(guid)}
	if index != "" {
		p.Command += "/" + index
	}
	whole := a.URL.Query().Has("all")
	p.AllPath = appPath(guid)
	if whole {
		p.Command += " --all"
	} else {
		p.WholePath = p.AllPath + "?all"
	}
	p.Explain = words.Explanation(explained, words.ExplainOptions{Index: index, All: whole})
	if p.Left = max(0, len(p.Explain)-maxExplained); p.Left > 0 {
		p.Explain = p.Explain[:maxExplained]
	}
	span, name := appSpan(a)
	for _, s := range appSpans {
		p.Spans = append(p.Spans, choice{Name: s.name, Text: s.name, Here: s.name == name, Count: -1, Path: appAddress(a, guid, "span", s.name)})
	}
	list := p.history(a, guid, span)
	verdicts := map[string]api.ExplainedVersion{}
	for _, v := range explained.Versions {
		verdicts[v.Version] = v
	}
	from, _ := strconv.ParseUint(cmp.Or(a.URL.Query().Get("from"), index), 10, 32)
	for _, v := range record.Versions {
		p.Versions = append(p.Versions, versionView(p.Basis, v, verdicts[v.Version], list, span, uint32(from)))
	}
	return content{Title: "App " + words.Short(guid), Data: p, Follow: kindNames(appFollow), App: guid, After: list.LastID, Every: 2 * defaultEvery}, nil
}

// formerApp shows the history of an app of which nothing is recorded any more.
func (d *Dashboard) formerApp(a *asked, guid string, notFound error) (content, error) {
	var p *api.Problem
	if !errors.As(notFound, &p) || p.Status != http.StatusNotFound {
		return content{}, notFound
	}
	list, err := a.api.Events(a.Context(), api.EventQuery{App: guid}, appEvents)
	if err != nil || len(list.Items) == 0 {
		return content{}, notFound
	}
	v := appPage{GUID: guid, Gone: true, Basis: list.Basis, Events: list.Items, More: list.More}
	slices.Reverse(v.Events)
	return content{Title: "App " + words.Short(guid), Data: v}, nil
}

// history reads what the page needs of the history. A node without one shows the rest.
func (p *appPage) history(a *asked, guid string, span time.Duration) api.EventList {
	list, err := a.api.Events(a.Context(), api.EventQuery{App: guid, Since: span.String()}, appStripEvents)
	if err != nil {
		p.NoEvents = err.Error()
		return list
	}
	p.Events, p.More = list.Items, true
	if len(list.Items) < appEvents { // the newest ones, however old
		if older, err := a.api.Events(a.Context(), api.EventQuery{App: guid}, appEvents); err == nil {
			p.Events, p.More = older.Items, older.More
		}
	}
	p.Events = slices.Clone(p.Events[max(0, len(p.Events)-appEvents):])
	slices.Reverse(p.Events)
	ended, err := a.api.History(a.Context(), guid, appHistory)
	if err == nil {
		p.Ended = ended.Items
	}
	return list
}

// versionView makes the view of a version. It is pure.
func versionView(b api.Basis, v api.AppVersion, x api.ExplainedVersion, events api.EventList, span time.Duration, from uint32) appVersionView {
	facts := factsOf(v)
	out := appVersionView{Version: v.Version, Desired: words.Desired(v.Desired, x.DesiredVersion), Grid: gridOf(b, v, facts, from), BandSize: gridWindow}
	out.Verdict = words.Text{{Tone: words.Good, Text: x.Verdict}}
	if x.Verdict != "as desired" {
		out.Verdict[0].Tone = words.Warn
	}
	out.History = versionHistory(b, v, facts, events, span)
	out.Crashes = v.Crashes[:min(len(v.Crashes), maxCrashRows)]
	out.Commands = v.Commands[:min(len(v.Commands), maxCommandRows)]
	out.LeftOut = len(v.Crashes) > maxCrashRows || len(v.Commands) > maxCommandRows
	return out
}

func versionHistory(b api.Basis, v api.AppVersion, facts map[uint32]*indexFacts, events api.EventList, span time.Duration) IndexHistory {
	from, cut := b.At.Add(-span), false
	if events.More && len(events.Items) > 0 { // the oldest of this time are not there
		from, cut = events.Items[0].At.Time, true
	}
	own := make([]api.Event, 0, len(events.Items))
	for _, e := range events.Items {
		if e.Version == "" || e.Version == v.Version {
			own = append(own, e)
		}
	}
	t := indexHistoryOf(own, nowOf(facts), from, b.At.Time)
	t.Cut = cut
	return t
}

func appSpan(a *asked) (time.Duration, string) {
	for _, s := range appSpans {
		if s.name == a.URL.Query().Get("span") {
			return s.span, s.name
		}
	}
	return appSpans[0].span, appSpans[0].name
}

// appAddress gives the address of the page with another value of a parameter.
func appAddress(a *asked, guid, parameter, value string) string {
	q := a.URL.Query()
	q.Set(parameter, value)
	return appPath(guid) + "?" + q.Encode()
}
