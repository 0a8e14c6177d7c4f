package api

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/commands/compare"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/journal"
	"hm/internal/reconcile"
	"hm/internal/shadow"
)

// CompareOptions are what a comparison with another health manager needs of the node.
type CompareOptions struct {
	Journal shadow.Journal
	Kept    int // commands that the journal keeps at least (commands.journal_entries)
	// Hearing says whether the node hears the other; nil: commands.mode is not shadow, and it does not listen.
	Hearing func() shadow.Hearing
	// Messages counts the messages of the other since the node started, and those that could not be read. nil: none.
	Messages func() (heard, rejected uint64)
}

const (
	defaultCompared = 24 * time.Hour
	longestCompared = 366 * 24 * time.Hour
	maxGaps         = 100
	maxWhyNow       = 1000 // commands that hm did not issue and whose apps are evaluated for the answer
)

// compare answers GET /v1/commands/compare?since=&class=&limit=: what hm decided beside what another health manager
// published, since a time or in the newest part of a duration. class selects items of one class; the summary is of all.
// limit keeps the newest items.
func (s *Server) compare(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit := maxPage
	if text := q.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage {
			return badRequest("limit %.20q must be a number from 1 to %d", text, maxPage)
		}
	}
	class := compare.Class(q.Get("class"))
	switch class {
	case "", compare.Both, compare.OnlyHM, compare.OnlyOther, compare.Hindsight, compare.Open, compare.Unknown:
	default:
		return badRequest("class %.20q must be both, only-hm, only-other, hindsight, open or unknown", class)
	}
	n := s.snapshot()
	since, err := comparedSince(q.Get("since"), n)
	if err != nil {
		return err
	}
	if s.opts.Compare.Journal == nil {
		return problem(http.StatusServiceUnavailable, "no-journal", "this node keeps no journal", "")
	}
	window := s.opts.Policy.OtherWindow()
	in, err := shadow.Read(r.Context(), s.opts.Compare.Journal, since, n.hm, window, s.opts.Compare.Kept)
	switch {
	case errors.Is(err, shadow.ErrTooMany):
		return badRequest("%v", err)
	case errors.Is(err, journal.ErrUnavailable):
		return problem(http.StatusServiceUnavailable, "no-journal", err.Error(), "ask another node")
	case err != nil:
		return err
	}
	apps := s.appsNow(n)
	in.Right = apps.wasRight
	rows := compare.Compare(in)
	c := Comparison{
		Since: n.wall.Time(since), Until: n.wall.Time(n.hm), WindowMS: window.Milliseconds(), Listening: s.listening(n, in),
		Summary: summaryOf(rows), Items: []ComparedCommand{}, Basis: n.basis(n.view),
	}
	c.Verdict = c.Summary.verdict(n.hm.Sub(since), c.Listening)
	for i := range rows {
		if class == "" || rows[i].Class == class {
			c.Items = append(c.Items, comparedCommand(n, &rows[i], apps))
		}
	}
	if over := len(c.Items) - limit; over > 0 {
		c.Items, c.LeftOut = c.Items[over:], over
	}
	return writeJSON(w, http.StatusOK, c.Basis, c)
}

// comparedSince reads a duration before now, or a time in RFC 3339.
func comparedSince(text string, n snapshot) (app.Time, error) {
	if text == "" {
		return n.hm.Add(-defaultCompared), nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		if d <= 0 || d > longestCompared {
			return 0, badRequest("since %.40q must be a duration above 0 and of at most %v", text, longestCompared)
		}
		return n.hm.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Year() < 1971 {
		return 0, badRequest("since %.40q must be a duration like 24h, or a time like 2026-01-31T12:00:00Z", text)
	}
	return min(n.wall.HM(at), n.hm), nil
}

func (s *Server) listening(n snapshot, in compare.Input) Listening {
	l := Listening{Since: n.wall.Time(shadow.Heard(in.Unheard)), Gaps: []ListeningGap{}, Reason: "enforce"}
	if s.opts.Compare.Hearing != nil {
		h := s.opts.Compare.Hearing()
		l.Shadow, l.Now, l.Reason = true, h.Now, h.Why
	}
	if s.opts.Compare.Messages != nil {
		_, l.Unreadable = s.opts.Compare.Messages()
	}
	for _, g := range shadow.Gaps(in) {
		l.Gaps = append(l.Gaps, ListeningGap{From: n.wall.Time(g.From), Until: n.wall.Time(g.Until), Why: g.Why})
	}
	if over := len(l.Gaps) - maxGaps; over > 0 {
		l.Gaps = l.Gaps[over:]
	}
	return l
}

func summaryOf(rows []compare.Row) ComparisonSummary {
	s := compare.Summarize(rows)
	out := ComparisonSummary{
		Agree: s.Agree(), Both: s.Both, OtherFirst: s.OtherFirst, OnlyHM: s.OnlyHM, OnlyOther: s.OnlyOther, Held: s.Held, Later: s.Later,
		Hindsight: s.Hindsight, Open: s.Open, Unknown: s.Unknown, HMRepeats: s.OwnRepeats, OtherRepeats: s.OtherRepeats, Delay: delaySummary(s),
		ByAction: []ActionCount{{Action: commands.Start.String()}, {Action: commands.Stop.String()}},
	}
	for i := range rows {
		n := &out.ByAction[0]
		if actionOf(&rows[i]) == commands.Stop {
			n = &out.ByAction[1]
		}
		switch rows[i].Class {
		case compare.Both:
			n.Both++
		case compare.OnlyHM:
			n.OnlyHM++
		case compare.OnlyOther:
			n.OnlyOther++
		}
	}
	return out
}

func actionOf(r *compare.Row) commands.Action {
	if r.Own != nil {
		return r.Own.Action
	}
	return r.Other.Action
}

// comparedCommand gives an item.
func comparedCommand(n snapshot, r *compare.Row, apps *appsNow) ComparedCommand {
	c := ComparedCommand{Class: string(r.Class), Action: actionOf(r).String(), HeldBy: []string{}, DelayMS: r.Delay.Milliseconds()}
	if o := r.Other; o != nil {
		c.App, c.Version, c.Index, c.Instance = o.App.Droplet.String(), o.App.Version.String(), o.Index, o.Instance.String()
		c.Other = &ComparedSide{At: n.wall.Time(o.At), ID: o.MessageID, Repeats: r.OtherRepeats}
	}
	if o := r.Own; o != nil {
		c.App, c.Version, c.Index, c.Instance = o.App.Droplet.String(), o.App.Version.String(), int(o.Index), o.Instance.String()
		c.Reason, c.Rule = o.Reason, o.Rule
		c.HM = &ComparedSide{
			At: n.wall.Time(o.Decided), ID: commandID(o.ID), DueAt: n.wall.Time(o.Due), State: o.State.String(),
			EndedAt: n.wall.Time(o.Ended), Repeats: r.OwnRepeats,
		}
		switch {
		case r.Why != "":
			c.Why = r.Why
		case o.Ended == 0:
			c.Why = "its effect has not been heard yet"
		default:
			c.Why = o.Detail
		}
		return c
	}
	c.HeldBy = append(c.HeldBy, r.HeldBy...)
	if r.Later != nil {
		c.Reason, c.Rule = r.Later.Reason, r.Later.Rule
	}
	switch {
	case r.Why != "":
		c.Why = r.Why
	case len(r.HeldBy) > 0:
		c.Why = "hm held all commands at that time: " + strings.Join(r.HeldBy, ", ")
	case r.Later != nil:
		c.Why = "hm had scheduled it for " + Span(r.Later.Due.Sub(r.Other.At)) + " later"
	case r.Class == compare.Hindsight:
		c.Why = "the other knew it first; hm has read since that it is not desired"
	default:
		c.Rule, c.Why = apps.why(r.Other)
	}
	return c
}

// appsNow evaluates the apps of commands that hm did not issue, each once, and only so many.
type appsNow struct {
	n     snapshot
	know  reconcile.Knowledge
	eval  func() *reconcile.Evaluator
	known map[app.Key]*reconcile.Evaluation
}

func (s *Server) appsNow(n snapshot) *appsNow {
	return &appsNow{
		n: n, know: n.knowledge(), eval: func() *reconcile.Evaluator { return reconcile.NewEvaluator(s.opts.Policy) },
		known: map[app.Key]*reconcile.Evaluation{},
	}
}

// of evaluates an app; nil if too many were evaluated before.
func (a *appsNow) of(k app.Key) *reconcile.Evaluation {
	e := a.known[k]
	if e == nil && len(a.known) < maxWhyNow {
		e = a.eval().App(a.n.view, k, a.know, a.n.hm)
		a.known[k] = e
	}
	return e
}

// wasRight reports whether a read of the desired state since says that a stop was right.
func (a *appsNow) wasRight(o *compare.Other) bool {
	if o.Action != commands.Stop || o.Duplicate || a.n.over.Reads.Began < o.At {
		return false
	}
	e := a.of(o.App)
	if e == nil || slices.ContainsFunc(e.Input.Instances, func(l actual.Located) bool { return l.GUID == o.Instance }) {
		return false
	}
	d := e.Input.Desired
	return d == nil || !d.Wanted() || o.Index >= 0 && uint32(o.Index) >= d.Instances
}

// why says what hm finds now at the target of a command, and by which rule.
func (a *appsNow) why(o *compare.Other) (rule, text string) {
	e := a.of(o.App)
	if e == nil {
		return "", "hm saw no drift there at that time"
	}
	for i := range e.Findings {
		f := &e.Findings[i]
		here := o.Action == commands.Start && int(f.Index) == o.Index || o.Action == commands.Stop && f.Instance == o.Instance
		switch {
		case !here:
		case f.Kind == diff.KindNone || f.Action != o.Action:
			rule = f.Rule
		default:
			return f.Rule, "hm did not ask for it at that time; now: " + detail(f, &e.Input, a.n.hm, "")
		}
	}
	switch d := e.Input.Desired; {
	case d == nil && len(e.Input.Instances) == 0:
		return "", "hm knows no such app: it is neither desired nor heard"
	case o.Action == commands.Start && d == nil:
		return rule, "hm saw no drift there: this version of the app is not desired"
	case o.Action == commands.Start && !d.Startable():
		return rule, "hm saw no drift there: the app is " + d.State.String() + ", its package " + d.Package.String()
	}
	return rule, "hm saw no drift there"
}
