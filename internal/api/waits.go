package api

import (
	"slices"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
)

// waits counts the apps that wait: hm is to send a command for them, and cannot do so yet. Drift whose command was sent
// does not count.
type waits struct {
	apps   int
	held   int // behind the closed gate
	due    [commands.Stop + 1]int
	later  [diff.WhyGate + 1]int // by what they wait for. An app counts once for each
	oldest app.Time              // when the first command that is not sent yet became due; 0: none is due
}

// add counts an app by its findings. held says that the gate is closed: then nothing else matters.
func (w *waits) add(findings []diff.Finding, held bool) {
	later, due := uint32(0), [commands.Stop + 1]bool{}
	for i := range findings {
		f := &findings[i]
		switch {
		case f.Kind == diff.KindNone || f.Bucket == diff.Keep || f.Why == diff.WhySent:
		case f.Bucket == diff.Wait && f.Why != diff.WhyNothing:
			later |= 1 << f.Why
		default:
			due[f.Action] = true
			if w.oldest == 0 || f.Due < w.oldest {
				w.oldest = f.Due
			}
		}
	}
	if later == 0 && due == [commands.Stop + 1]bool{} {
		return
	}
	w.apps++
	if held {
		w.held++
		return
	}
	for action, is := range due {
		if is {
			w.due[action]++
		}
	}
	for why := range w.later {
		if later&(1<<why) != 0 {
			w.later[why]++
		}
	}
}

// What a waiting app waits for, beside the reasons of a closed gate. The names are stable.
const (
	causeDue        = "due" // nothing: its command is about to be sent
	causeStartLimit = "start-limit"
	causeStopLimit  = "stop-limit"
)

// causes has the names of what a finding waits for. A finding with another Why does not wait.
var causes = [diff.WhyGate + 1]string{
	diff.WhyGrace: "grace", diff.WhyBackoff: "back-off", diff.WhyStaging: "staging", diff.WhyCanary: "canary",
	diff.WhyStartsFirst: "starts-first", diff.WhyOtherStop: "other-stop", diff.WhyQuiet: "quiet-dea",
	diff.WhyNewerRead: "newer-read", diff.WhyReplacement: "replacement", diff.WhyDuplicateGrace: "duplicate-grace",
	diff.WhyNoEffect: "no-effect", diff.WhyUnknownState: "unknown-state", diff.WhyUnplaced: "unplaced",
}

// each calls fn with each cause and the number of apps that wait for it. Causes for which no app waits are included,
// except the reasons of the gate, of which fn gets those of held.
func (w *waits) each(over reconcile.Overview, held []string, fn func(cause string, apps int)) {
	for _, reason := range held {
		fn(reason, w.held)
	}
	limits := map[string]int{causeDue: 0, causeStartLimit: 0, causeStopLimit: 0}
	cause := func(limited bool, limit string) string {
		if limited {
			return limit
		}
		return causeDue
	}
	limits[cause(over.StartsLimited, causeStartLimit)] += w.due[commands.Start]
	limits[cause(over.StopsLimited, causeStopLimit)] += w.due[commands.Stop]
	for name, apps := range limits {
		fn(name, apps)
	}
	for why, apps := range w.later {
		if causes[why] != "" {
			fn(causes[why], apps)
		}
	}
}

// shut gives the reasons for which nothing is decided. Shadow mode is none of them: hm decides as usual, and sends
// nothing.
func (p *pass) shut() []string {
	return slices.DeleteFunc(slices.Clone(p.know.Held), func(r string) bool { return r == reconcile.ReasonShadow })
}

// queue gives the queue of the status. p is a pass over the whole fleet.
func (n snapshot) queue(p *pass) Queue {
	q := queueOf(n.over, n.wall)
	q.Waiting, q.Since = p.waits.apps, n.wall.Time(p.waits.since(n.over))
	p.waits.each(n.over, p.shut(), func(cause string, apps int) {
		if apps > 0 {
			q.ByCause[cause] = apps
		}
	})
	return q
}

// since is when the first of the waiting apps began to be late: the gate closed, or its command became due.
func (w *waits) since(over reconcile.Overview) app.Time {
	switch {
	case w.held > 0 && over.Lead.Leader:
		return over.GateSince
	case w.held > 0:
		return 0 // this node knows since when it does not lead, and not since when its picture is not fresh
	}
	return w.oldest
}

// queueOf gives what the queue of a status has from one node's own knowledge.
func queueOf(over reconcile.Overview, wall Wall) Queue {
	q := Queue{Apps: over.Queue, ByCause: map[string]int{}}
	if d := over.Drain; d != nil {
		q.Draining = &Draining{
			Since: wall.Time(d.Opened), Waiting: d.Waiting, HealedByItself: d.Healed, StartsSent: d.Starts, StopsSent: d.Stops,
			Dropped: d.Dropped, StillWaiting: d.Later,
		}
	}
	return q
}
