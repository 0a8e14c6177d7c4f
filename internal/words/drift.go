package words

import (
	"fmt"
	"strings"

	"hm/internal/api"
)

// DriftKinds are the kinds of drift, in the order in which they are shown.
var DriftKinds = []string{"missing", "crashed", "evacuating", "extra", "duplicate", "undesired"}

// DriftOf returns the number of findings of a kind; 0 for an unknown kind.
func DriftOf(d api.DriftCounts, kind string) int {
	return map[string]int{
		"missing": d.Missing, "crashed": d.Crashed, "evacuating": d.Evacuating, "extra": d.Extra, "duplicate": d.Duplicate,
		"undesired": d.Undesired,
	}[kind]
}

// Drift says how much drift there is of each kind, and how much hm acts on now.
func Drift(d api.DriftCounts) Text {
	if d.Total() == 0 {
		return Say(good("none"), alone(d), earlier(d))
	}
	var parts []string
	for _, kind := range DriftKinds {
		if n := DriftOf(d, kind); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return Say(warn(fmt.Sprint(d.Total())), fmt.Sprintf(": %s; %d acted on now", strings.Join(parts, ", "), d.Due), alone(d), earlier(d))
}

// alone says how many instances may be another cell's; nothing if none may.
func alone(d api.DriftCounts) string {
	if d.Foreign == 0 {
		return ""
	}
	return fmt.Sprintf("; %s left alone, of apps without a row here", Count(d.Foreign, "instance"))
}

// earlier is Counted as the end of a line.
func earlier(d api.DriftCounts) string {
	if counted := Counted(d); counted != "" {
		return "; " + counted
	}
	return ""
}

// Counted says how much older than the answer the numbers are; nothing if that is less than two seconds.
func Counted(d api.DriftCounts) string {
	if d.AgeMS < 2_000 {
		return ""
	}
	return "counted " + milliseconds(d.AgeMS) + " earlier"
}

// DriftDue says when hm acts on a finding: now, held, a time, or an empty text if it does not act. tone is the tone of
// the finding's kind.
func DriftDue(b api.Basis, d api.DriftItem) (due string, tone Tone) {
	switch {
	case d.ActedOnNow():
		return "now", Bad
	case d.Bucket == "hold":
		return "held", Warn
	case d.Action == "none":
		return "", Plain
	}
	return When(b, d.Due), Plain
}
