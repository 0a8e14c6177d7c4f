package words

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hm/internal/api"
)

// Queue says what waits, for what, and for how long the first of it has been late.
func Queue(b api.Basis, q api.Queue) Text {
	if q.Waiting == 0 {
		return Say(Count(q.Apps, "app"))
	}
	causes := Causes(q.ByCause)
	parts := make([]string, len(causes))
	for i, name := range causes {
		parts[i] = fmt.Sprintf("%d %s", q.ByCause[name], name)
	}
	waiting := fmt.Sprintf("%d waiting", q.Waiting)
	if !q.Since.IsZero() && b.At.Sub(q.Since.Time) >= time.Second {
		waiting += " for " + Span(b, q.Since)
	}
	return Say(Count(q.Apps, "app")+" to evaluate, ", warn(waiting), ": "+strings.Join(parts, ", "))
}

// Causes returns the names of what apps wait for (api.Queue.ByCause), the most frequent first.
func Causes(byCause map[string]int) []string {
	return slices.SortedFunc(maps.Keys(byCause), func(x, y string) int {
		return cmp.Or(cmp.Compare(byCause[y], byCause[x]), strings.Compare(x, y))
	})
}

// Cause explains what an app waits for: a name of api.Queue.ByCause. A reason of a closed gate is explained, too. It is
// empty for a name that this version does not know.
func Cause(name string) string {
	if text, ok := causes[name]; ok {
		return text
	}
	if _, ok := reasons[name]; ok || strings.HasPrefix(name, "hold:") {
		return Reason(name).Means
	}
	return ""
}

// causes explains each cause that is no reason of the gate.
var causes = map[string]string{
	"due":             "its command is about to be sent",
	"start-limit":     "the limit of starts in a heartbeat is reached",
	"stop-limit":      "the limit of stops in a heartbeat is reached",
	"grace":           "it has drifted for less than the grace period",
	"back-off":        "it crashed, and its restart waits for the back-off",
	"staging":         "it is not staged, so nothing can be started",
	"canary":          "no instance of it is live, so only index 0 is started at first",
	"starts-first":    "its stops wait until every wanted index runs",
	"other-stop":      "another copy at the index is being stopped first",
	"quiet-dea":       "the DEA of an instance that would stay has missed a heartbeat",
	"newer-read":      "a stop waits for a newer read of the desired state",
	"replacement":     "the replacement is starting",
	"duplicate-grace": "several copies are left alone until the duplicate grace has passed",
	"no-effect":       "earlier starts had no effect, so the next one waits longer",
	"unknown-state":   "a DEA lists an instance at the index in a state that hm does not know",
	"unplaced":        "a DEA lists an instance of it at an index that hm cannot read",
}

// Draining says what became of what waited when the gate opened.
func Draining(b api.Basis, d api.Draining) string {
	return fmt.Sprintf("%s left of those when the gate opened %s; %d healed by themselves, %s and %s sent, %d dropped, %d wait for longer",
		Count(d.Waiting, "command"), Ago(b, d.Since), d.HealedByItself, Count(d.StartsSent, "start"), Count(d.StopsSent, "stop"),
		d.Dropped, d.StillWaiting)
}
