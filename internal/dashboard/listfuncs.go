package dashboard

import (
	"fmt"
	"html/template"
	"strings"

	"hm/internal/api"
	"hm/internal/words"
)

// listFuncs are what the templates of lists, apps, DEAs and commands may call.
var listFuncs = template.FuncMap{
	"appPath": appPath, "indexPath": indexPath, "deaPath": deaPath,
	"desiredShort": desiredShort, "instancesShort": instancesShort, "driftKinds": driftKinds,
	"stateClass": instanceState, "stateLetter": stateLetter, "deaState": func(d api.DEA) string { return deaStateOf(d).String() },
	"troubles": words.Troubles, "crash": words.Crash, "permille": permille,
	"outcomeTone": words.OutcomeTone, "outcomeIcon": outcomeIcon,
	"issuedBy": issuedBy, "issuedAt": issuedAt, "issuedDelay": issuedDelay, "comparisonIcon": comparisonIcon,
}

// desiredShort says what is desired of an app in a few words.
func desiredShort(d *api.Desired) string {
	switch {
	case d == nil:
		return "not desired"
	case d.State != "STARTED":
		return strings.ToLower(d.State)
	case d.PackageState != "STAGED":
		return count(d.Instances, "instance") + ", package " + d.PackageState
	}
	return count(d.Instances, "instance")
}

// instancesShort says what is recorded of an app in a few words.
func instancesShort(c api.InstanceCounts) string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{
		{c.Running, "running"}, {c.Starting, "starting"}, {c.Crashed, "crashed"}, {c.Evacuating, "evacuating"},
		{c.Stopping, "stopping"}, {c.Unknown, "unknown"},
	} {
		if p.n > 0 {
			parts = append(parts, num(p.n)+" "+p.word)
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// driftKinds gives an app's drift by kind, in the order in which kinds are shown.
func driftKinds(kinds map[string]int) []kindCount {
	var out []kindCount
	for _, kind := range words.DriftKinds {
		if n := kinds[kind]; n > 0 {
			out = append(out, kindCount{kind, n})
		}
	}
	return out
}

// stateLetter is the letter of an instance's state.
func stateLetter(state string) string {
	return cellKinds[cellRank(instanceState(state))].letter
}

// permille writes thousandths of a strip's width as an SVG length.
func permille(n int) string { return fmt.Sprintf("%d.%d%%", n/10, n%10) }

// outcomeIcon is the shape beside a command's outcome.
func outcomeIcon(state string) string {
	switch tone := words.OutcomeTone(state); tone {
	case words.Plain:
		return "idle"
	default:
		return string(tone)
	}
}

// issuedBy says which side issued a command.
func issuedBy(c api.ComparedCommand) string {
	switch c.Class {
	case "both":
		return "both"
	case "only-hm":
		return "only hm"
	case "only-other":
		return "only the other"
	case "hindsight":
		return "the other first"
	}
	if c.HM == nil {
		return "the other (" + c.Class + ")"
	}
	return "hm (" + c.Class + ")"
}

// issuedAt is when a command was issued; by hm, if it was.
func issuedAt(c api.ComparedCommand) api.Timestamp {
	switch {
	case c.HM == nil && c.Other == nil:
		return api.Timestamp{}
	case c.HM == nil:
		return c.Other.At
	case c.HM.At.IsZero():
		return c.HM.DueAt
	}
	return c.HM.At
}

// issuedDelay is the time from hm's command to the other's; negative if the other was first.
func issuedDelay(c api.ComparedCommand) string {
	if c.Class != "both" || c.Other == nil {
		return ""
	}
	return api.Span(c.Other.At.Sub(issuedAt(c).Time))
}

func comparisonIcon(c *api.Comparison) string {
	switch {
	case !c.Summary.Agree:
		return "bad"
	case !c.Told():
		return "warn"
	}
	return "good"
}
