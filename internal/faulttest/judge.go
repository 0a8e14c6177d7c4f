package faulttest

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Violation is something that hm did, or did not do, against an invariant.
type Violation struct {
	Invariant string // I1 and so on; bench: the bench itself failed
	At        time.Duration
	Text      string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s at %.3f s: %s", v.Invariant, v.At.Seconds(), v.Text)
}

// Judge gives everything in a record that broke an invariant, in the order of time. What the record leaves open is no
// violation: the bench looks at the Cloud Foundry from outside, and everything takes a moment to be seen.
func Judge(r *Record) []Violation {
	j := newJudge(r)
	for i := range r.Commands {
		j.gate(&r.Commands[i])
		if r.Commands[i].Stop {
			j.stop(&r.Commands[i])
		} else {
			j.start(&r.Commands[i])
			j.loss(&r.Commands[i])
		}
	}
	j.once()
	j.end()
	slices.SortStableFunc(j.found, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	return j.found
}

// judge is one call of Judge.
type judge struct {
	*Record
	found []Violation
	lives map[place][]*Life // at each place, by birth
	blind []Span            // times in which fewer than a majority of the nodes heard DEAs and could record it, or so it may be
	deaf  []Span            // times in which surely no node heard a DEA
}

func newJudge(r *Record) *judge {
	j := &judge{Record: r, lives: map[place][]*Life{}}
	weak, deaf := map[string][]Span{}, map[string][]Span{}
	for id, n := range r.Nodes {
		weak[id], deaf[id] = n.Weak, n.Deaf
	}
	j.blind = atOnce(weak, len(r.Nodes)/2+1)
	j.deaf = merge(slices.Concat(atOnce(deaf, len(r.Nodes)), r.Outages, r.Deaf, silences(r)))
	for _, l := range r.Lives {
		j.lives[l.place()] = append(j.lives[l.place()], l)
	}
	for _, at := range j.lives {
		slices.SortFunc(at, func(a, b *Life) int { return cmp.Compare(a.Born, b.Born) })
	}
	return j
}

// late gives by how much the times that the bench noted are off at most, if it noted them at these times.
func (j *judge) late(at ...time.Duration) time.Duration {
	const near = 250 * time.Millisecond
	late := time.Duration(0)
	for _, t := range at {
		for _, s := range j.Stalls {
			if t >= s.From-near && t <= s.Until+near {
				late = max(late, s.Until-s.From)
			}
		}
	}
	return late + j.Policy.Period/4
}

func (j *judge) add(invariant string, at time.Duration, format string, args ...any) {
	j.found = append(j.found, Violation{invariant, at, fmt.Sprintf(format, args...)})
}

// atOnce gives the times in which the spans of at least n nodes overlap.
func atOnce(spans map[string][]Span, n int) []Span {
	type change struct {
		at time.Duration
		by int
	}
	var changes []change
	for _, of := range spans {
		for _, s := range merge(of) {
			changes = append(changes, change{s.From, 1})
			if s.Until != 0 {
				changes = append(changes, change{s.Until, -1})
			}
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.by, a.by)) })
	var found []Span
	now := 0
	for _, c := range changes {
		was := now >= n
		now += c.by
		switch is := now >= n; {
		case is && !was:
			found = append(found, Span{From: c.at})
		case was && !is:
			found[len(found)-1].Until = c.at
		}
	}
	return found
}

// silences gives the times in which no DEA had been heard for more than a time to live: then hm knows nothing of what it
// heard before, and begins all times to live anew.
func silences(r *Record) []Span {
	var silent []Span
	for i, at := range r.Beats {
		if i > 0 && at-r.Beats[i-1] > r.Policy.TTL+r.Policy.Period {
			silent = append(silent, Span{r.Beats[i-1] + r.Policy.TTL, at})
		}
	}
	return silent
}

// merge gives the spans in the order of time, and those that overlap as one.
func merge(spans []Span) []Span {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	var merged []Span
	for _, s := range spans {
		last := len(merged) - 1
		switch {
		case last < 0 || merged[last].Until != 0 && merged[last].Until < s.From:
			merged = append(merged, s)
		case merged[last].Until != 0 && (s.Until == 0 || s.Until > merged[last].Until):
			merged[last].Until = s.Until
		}
	}
	return merged
}

// sighted reports whether a majority of the nodes surely heard the DEAs at a time, and could record it.
func (j *judge) sighted(at time.Duration) bool {
	return !slices.ContainsFunc(j.blind, func(s Span) bool { return s.holds(at) })
}

// deafUntil gives the end of the newest time, before at, in which surely no node heard a DEA: since then, times to live
// run anew.
func (j *judge) deafUntil(at time.Duration) (until time.Duration) {
	for _, s := range j.deaf {
		switch {
		case s.holds(at):
			return at
		case s.Until != 0 && s.Until <= at:
			until = max(until, s.Until)
		}
	}
	return until
}

// wantedSometime reports whether a place may have been wanted at some time between from and until.
func (j *judge) wantedSometime(p place, from, until time.Duration) bool {
	return slices.ContainsFunc(j.rowsBetween(p, from, until), func(r RowChange) bool { return r.wants(p) })
}

// wantedAlways reports whether a place was wanted all the time between from and until.
func (j *judge) wantedAlways(p place, from, until time.Duration) bool {
	rows := j.rowsBetween(p, from, until)
	return len(rows) > 0 && !slices.ContainsFunc(rows, func(r RowChange) bool { return !r.wants(p) })
}

// rowsBetween gives what the row of a place's droplet was between from and until: nothing counts as a row, too.
func (j *judge) rowsBetween(p place, from, until time.Duration) []RowChange {
	at := RowChange{}
	var rows []RowChange
	for _, r := range j.Rows[p.app.Droplet] {
		switch {
		case r.At <= from:
			at = r
		case r.At <= until:
			rows = append(rows, r)
		}
	}
	return append([]RowChange{at}, rows...)
}

func (j *judge) name(c *Command) string {
	what := "start"
	if c.Stop {
		what = "stop of " + c.Instance.String() + " at"
	}
	from := ""
	if c.Node != "" {
		from = " from " + c.Node
	}
	return fmt.Sprintf("%s %.8s/%d (version %.8s)%s", what, c.App.Droplet.String(), c.Index, c.App.Version.String(), from)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
