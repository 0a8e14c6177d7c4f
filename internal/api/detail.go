package api

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hm/commands"
	"hm/diff"
	"hm/internal/app"
	"hm/internal/reconcile"
)

// detail says in a line, for people, what a finding rests on, what it waits for, and when hm acts on it. It decides
// nothing. refused, if it is not empty, says why the finding's command was not published.
func detail(f *diff.Finding, in *diff.Input, at app.Time, refused string) string {
	parts := []string{evidence(f, in)}
	if t := tried(f); t != "" && refused == "" { // a command that NATS refused was never sent
		parts = append(parts, t)
	}
	switch f.Why {
	case diff.WhyNothing, diff.WhyGate, diff.WhySent, diff.WhyBackoff, diff.WhyNoEffect: // timing says it
	default:
		parts = append(parts, f.Why.String())
	}
	if t := timing(f, in, at, refused); f.Why == diff.WhyNoEffect && len(in.Held) == 0 {
		parts[len(parts)-1] += ": " + t // the next start waits because of those without effect
	} else if t != "" {
		parts = append(parts, t)
	}
	out := parts[:0]
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ", ")
}

// withTold adds what is known of the command that was sent.
func withTold(detail, told string) string {
	if told == "" {
		return detail
	}
	return detail + "; " + told
}

// tried says how many starts before this one had no effect.
func tried(f *diff.Finding) string {
	switch f.Tries {
	case 0:
		return ""
	case 1:
		return "started once, never seen"
	}
	return fmt.Sprintf("started %d times, never seen", f.Tries)
}

func evidence(f *diff.Finding, in *diff.Input) string {
	switch f.Kind {
	case diff.KindMissing:
		if in.GrewAt == 0 {
			return "no instance of the app was ever heard"
		}
		if f.Rule == "R63" {
			return "the instance at the index has been STARTING for too long"
		}
		return "no instance is live at the index"
	case diff.KindCrashed:
		switch f.CrashCount {
		case 0:
			return "crashed"
		case 1:
			return "crashed once"
		}
		return fmt.Sprintf("crashed %d times", f.CrashCount)
	case diff.KindEvacuating:
		if f.Rule == "R33" {
			return "the DEA of an instance that no heartbeat has shown shuts down"
		}
		if f.Instance.IsZero() {
			return "the instance at the index is evacuating"
		}
		return "evacuating"
	case diff.KindExtra:
		if in.Desired != nil {
			return fmt.Sprintf("index %d is out of range (%d desired)", f.Index, in.Desired.Instances)
		}
	case diff.KindDuplicate:
		if f.Rule == "R63" {
			return "STARTING for too long, beside another instance"
		}
		n := 0
		for i := range in.Instances {
			if in.Instances[i].Index == f.Index && in.Instances[i].State.Live() {
				n++
			}
		}
		return fmt.Sprintf("%d instances are live at the index", n)
	case diff.KindUndesired:
		switch {
		case in.Desired == nil && !in.DesiredVersion.IsZero():
			return "version " + in.DesiredVersion.String() + " is desired"
		case in.Desired == nil:
			return "the app is not in the desired state"
		}
		return fmt.Sprintf("the app is %s, its package %s", in.Desired.State, in.Desired.Package)
	case diff.KindForeign:
		if !in.DesiredVersion.IsZero() {
			return "the app has left this cell in another version"
		}
	}
	return ""
}

func inShadow(in *diff.Input) bool { return slices.Contains(in.Held, reconcile.ReasonShadow) }

// waitsFor says what a finding waits for.
func waitsFor(f *diff.Finding, in *diff.Input) string {
	if f.Why == diff.WhySent && inShadow(in) {
		return "the command was decided, and is not sent in shadow mode: waiting for its effect"
	}
	return f.Why.String()
}

// timing says when the action is sent.
func timing(f *diff.Finding, in *diff.Input, at app.Time, refused string) string {
	left := f.Due.Sub(at)
	again := ""
	if f.Kind == diff.KindCrashed && f.CrashCount > 1 {
		again = "next "
	}
	switch {
	case f.Why == diff.WhyNoEffect && left > 0:
		return "next try in " + Span(left)
	case f.Action == commands.None:
		return ""
	case f.Why == diff.WhySent && refused != "":
		return fmt.Sprintf("%s was not sent: %s; it is decided anew in %s", f.Action, refused, Span(left))
	case f.Why == diff.WhySent && inShadow(in):
		return fmt.Sprintf("%s was decided, and is not sent in shadow mode", f.Action)
	case f.Why == diff.WhySent:
		return fmt.Sprintf("%s was sent and has %s to take effect", f.Action, Span(left))
	case f.Bucket == diff.Hold:
		return fmt.Sprintf("%s is due, held by %s", f.Action, strings.Join(in.Held, ", "))
	case f.Bucket != diff.Wait:
		return fmt.Sprintf("%s is due now", f.Action)
	case left > 0:
		return fmt.Sprintf("%s%s in %s", again, f.Action, Span(left))
	}
	return fmt.Sprintf("%s as soon as that is over", f.Action)
}

// Span gives a duration for people: tenths of a second below ten seconds, then whole seconds, minutes, hours or days.
func Span(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%s%.1fs", sign, d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%s%ds", sign, int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%s%dm%02ds", sign, int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%s%dh%02dm", sign, int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%s%dd%02dh", sign, int(d.Hours())/24, int(d.Hours())%24)
}
