package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hm/internal/api"
)

// describeQueue returns what waits, for what, and for how long the first of it has been late.
func (c *cli) describeQueue(b api.Basis, q api.Queue) string {
	if q.Waiting == 0 {
		return count(q.Apps, "app")
	}
	names := slices.SortedFunc(maps.Keys(q.ByCause), func(x, y string) int {
		return cmp.Or(cmp.Compare(q.ByCause[y], q.ByCause[x]), strings.Compare(x, y))
	})
	causes := make([]string, len(names))
	for i, name := range names {
		causes[i] = fmt.Sprintf("%d %s", q.ByCause[name], name)
	}
	waiting := fmt.Sprintf("%d waiting", q.Waiting)
	if !q.Since.IsZero() && b.At.Sub(q.Since.Time) >= time.Second {
		waiting += " for " + span(b, q.Since)
	}
	return count(q.Apps, "app") + " to evaluate, " + c.paint(yellow, waiting) + ": " + strings.Join(causes, ", ")
}

// describeDraining returns what became of what waited when the gate opened.
func describeDraining(b api.Basis, d api.Draining) string {
	return fmt.Sprintf("%s left of those when the gate opened %s; %d healed by themselves, %s and %s sent, %d dropped, %d wait for longer",
		count(d.Waiting, "command"), ago(b, d.Since), d.HealedByItself, count(d.StartsSent, "start"), count(d.StopsSent, "stop"),
		d.Dropped, d.StillWaiting)
}
