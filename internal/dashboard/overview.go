package dashboard

import (
	"slices"

	"hm/internal/api"
	"hm/internal/journal"
	"hm/internal/words"
)

// overview is the first page: what is wrong, what hm does about it, why not, since when.
type overview struct {
	Notes   []note
	Waits   []wait
	Kinds   []kindCount
	Nodes   []memberRow
	Events  []api.Event // the newest first
	Chart   *chart      // nil: the node has no samples yet
	Ranges  []chartRange
	Words   []words.Line // what hm status prints
	Actions []SandboxAction
	State   *SandboxState
}

// note is something odd that is not drift.
type note struct {
	Tone       words.Tone
	Text       string
	Path, Link string // where to read more
}

// wait is what apps wait for.
type wait struct {
	Name, Meaning string
	Apps          int
	Percent       int // of the largest
}

// kindCount is the drift of one kind.
type kindCount struct {
	Kind  string
	Count int
}

const overviewEvents = 10

// overviewFollows are the kinds of event that change what the overview says at a glance. What happens to single apps
// and commands is left out: in a large fleet it happens all the time.
var overviewFollows = []journal.Kind{
	journal.LeaderChanged, journal.HoldSet, journal.HoldReleased, journal.PictureFresh, journal.QueueDrained, journal.LinkLost,
	journal.LinkBack, journal.GateClosed, journal.GateOpen, journal.DesiredRead, journal.DEALost, journal.DEABack, journal.DEANew,
}

func (d *Dashboard) overview(a *asked) (content, error) {
	s := a.status
	v := overview{Notes: notesOf(s), Waits: waitsOf(s.Queue), Nodes: memberRows(s), Words: words.Status(s)}
	for _, kind := range words.DriftKinds {
		v.Kinds = append(v.Kinds, kindCount{kind, words.DriftOf(s.Drift, kind)})
	}
	v.Ranges = chartRanges(a.URL.Query().Get("range"))
	series, _, err := a.api.Series(a.Context(), rangeOf(v.Ranges), chartPoints)
	if err != nil {
		return content{}, err
	}
	v.Chart = chartOf(series)
	c := content{Title: "Overview", Follow: kindNames(overviewFollows)}
	events, err := a.api.Events(a.Context(), api.EventQuery{}, overviewEvents)
	if err == nil { // a node without a history has an overview
		v.Events, c.After = events.Items, events.LastID
		slices.Reverse(v.Events)
	}
	if d.opts.Sandbox != nil {
		state := d.opts.Sandbox.State()
		v.Actions, v.State = d.opts.Sandbox.Actions(), &state
	}
	c.Data = v
	return c, nil
}

// notesOf gives what an operator should know beside the gate and the drift.
func notesOf(s api.Status) (notes []note) {
	add := func(tone words.Tone, text, path, link string) { notes = append(notes, note{tone, text, path, link}) }
	if s.Desired.Error != "" {
		add(words.Warn, "the newest read of the desired state failed: "+s.Desired.Error, "/events?kind=desired", "reads")
	}
	if s.NATS.Error != "" {
		add(words.Bad, "the newest attempt to reach NATS failed: "+s.NATS.Error, "/cluster", "cluster")
	}
	for _, r := range s.NATS.Refused {
		add(words.Bad, "NATS refuses to "+r.Action+" "+r.Subject+": "+r.Error, "/cluster", "cluster")
	}
	if n := s.Actual.MissedDEAs; n > 0 {
		add(words.Warn, words.Count(n, "DEA")+" that this node does not hear and another does: kept on record", "/cluster", "cluster")
	}
	if s.Actual.Unreadable.DEAs > 0 {
		add(words.Warn, "cannot be read: "+words.Unreadable(s.Actual.Unreadable), "/deas", "DEAs")
	}
	if n := s.Actual.DoubledIDs; n > 0 {
		add(words.Bad, "two DEAs use one id: "+words.AndMore(s.Actual.Doubled, n), "/events?kind=dea.doubled", "since when")
	}
	for _, n := range s.Cluster.Nodes {
		switch {
		case n.Fault != nil:
			add(words.Bad, n.ID+" has a fault: "+n.Fault.Kind, "/cluster", "cluster")
		case n.Problem != "":
			add(words.Bad, n.ID+": "+n.Problem, "/cluster", "cluster")
		case !n.Healthy:
			add(words.Bad, n.ID+" is "+n.State, "/cluster", "cluster")
		}
	}
	return notes
}

func waitsOf(q api.Queue) (waits []wait) {
	most := 0
	for _, n := range q.ByCause {
		most = max(most, n)
	}
	for _, name := range words.Causes(q.ByCause) {
		waits = append(waits, wait{name, words.Cause(name), q.ByCause[name], percent(q.ByCause[name], most)})
	}
	return waits
}

func kindNames(kinds []journal.Kind) []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return names
}
