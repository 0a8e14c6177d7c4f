package words

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hm/internal/api"
	"hm/internal/journal"
)

// Event says in plain words what happened. id shows ids: Short, for instance. What others wrote is in the text as it is:
// see OneLine.
func Event(e api.Event, id func(string) string) string {
	text := eventWords(e, id)
	if e.Node != "" {
		text = e.Node + ": " + text
	}
	return text
}

// EventTone returns the tone of a kind of event.
func EventTone(kind string) Tone {
	switch journal.Kind(kind) {
	case journal.CommandConfirmed, journal.DEABack, journal.LinkBack, journal.GateOpen, journal.PictureFresh,
		journal.QueueDrained, journal.HoldReleased:
		return Good
	case journal.DEALost, journal.DEADoubled, journal.LinkLost, journal.GateClosed, journal.HoldSet,
		journal.InstanceCrashed, journal.AdminRefused:
		return Bad
	case journal.CommandExpired, journal.CommandAbandoned, journal.DEAUnreadable, journal.HistoryGap:
		return Warn
	}
	return Faint
}

func eventWords(e api.Event, id func(string) string) string {
	delay := milliseconds(e.DelayMS)
	switch journal.Kind(e.Kind) {
	case journal.LeaderChanged:
		return because(e.Name+" leads", e.Detail)
	case journal.CommandScheduled:
		return eventTarget(e, id) + ", due " + dueIn(e)
	case journal.CommandSent:
		return eventTarget(e, id) + afterDue(e, delay)
	case journal.CommandDecided:
		return eventTarget(e, id) + afterDue(e, delay) + "; shadow mode sends nothing"
	case journal.CommandConfirmed, journal.CommandExpired, journal.CommandAbandoned, journal.CommandDropped:
		text := eventTarget(e, id)
		if e.DelayMS > 0 {
			text += ", " + delay + " after it was sent"
		}
		return because(text, e.Detail)
	case journal.DEANew:
		return fmt.Sprintf("DEA %s is heard for the first time, with %s", e.DEA, counted(e, "instances", "instance"))
	case journal.DEALost:
		return fmt.Sprintf("DEA %s has been silent for its time to live; it had %s", e.DEA, counted(e, "instances", "instance"))
	case journal.DEABack:
		text := fmt.Sprintf("DEA %s is heard again", e.DEA)
		if e.DelayMS > 0 {
			text += " after " + delay
		}
		return text + ", with " + counted(e, "instances", "instance")
	case journal.DEAForgotten:
		return fmt.Sprintf("the record of DEA %s is removed", e.DEA)
	case journal.DEADoubled:
		return because(fmt.Sprintf("two DEAs use the id %s", e.DEA), e.Detail)
	case journal.DEASingle:
		return fmt.Sprintf("only one DEA uses the id %s again", e.DEA)
	case journal.DEAUnreadable:
		return because(fmt.Sprintf("not all that DEA %s sends can be read", e.DEA), e.Detail)
	case journal.DEAReadable:
		return fmt.Sprintf("all that DEA %s sends can be read again", e.DEA)
	case journal.DEAEvacuating:
		return fmt.Sprintf("DEA %s is evacuating %d of %s", e.DEA, e.Counts["evacuating"], counted(e, "instances", "instance"))
	case journal.InstanceCrashed:
		text := eventPlace(e, id)
		if e.Instance != "" {
			text += ", instance " + id(e.Instance)
		}
		if e.DEA != "" {
			text += " on DEA " + e.DEA
		}
		return because(text, e.Detail)
	case journal.DesiredRead:
		text := fmt.Sprintf("%s with %s are desired: %d added, %d changed, %d removed", counted(e, "apps", "app"),
			counted(e, "instances", "instance"), e.Counts["added"], e.Counts["changed"], e.Counts["removed"])
		return text + From(e.Detail)
	case journal.HoldSet:
		text := e.Name + by(e)
		if !e.Due.IsZero() {
			text += " for " + api.Span(e.Due.Sub(e.At.Time))
		}
		return because(text, e.Detail)
	case journal.HoldReleased:
		return because(e.Name+by(e), e.Detail)
	case journal.AdminDone:
		return because(fmt.Sprintf("%s asked for %s (%s; status %d)", e.By, e.Name, e.Reason, e.Counts["status"]), e.Detail)
	case journal.AdminRefused:
		return because(fmt.Sprintf("%s may not %s (%s)", e.By, e.Name, e.Reason), e.Detail)
	case journal.PictureFresh:
		return freshWords(e)
	case journal.QueueDrained:
		return drainedWords(e)
	case journal.LinkLost:
		return because("the link to NATS is down", e.Detail)
	case journal.LinkBack:
		return because("the link to NATS is up again"+after(e, delay), e.Detail)
	case journal.GateClosed:
		return because("the gate is closed", e.Reason)
	case journal.GateOpen:
		return because("the gate is open"+after(e, delay), e.Detail)
	case journal.OtherStart:
		return "another health manager asked for the start of " + eventPlace(e, id)
	case journal.OtherStop:
		return because("another health manager asked for the stop of "+eventPlace(e, id), instanceWords(e, id))
	case journal.OtherListening:
		return because("the commands of another health manager are heard from now on", e.Detail)
	case journal.OtherUnheard:
		return because("the commands of another health manager are not heard any more", e.Reason)
	case journal.OtherMissed:
		return because("commands of another health manager were heard and not kept", countWords(e.Counts))
	case journal.HistoryGap:
		return because("a part of the history is not known here", e.Detail)
	}
	return otherWords(e, id) // of a newer version
}

// eventPlace names the index of an app.
func eventPlace(e api.Event, id func(string) string) string {
	if e.Index == nil {
		return id(e.App)
	}
	return fmt.Sprintf("%s/%d", id(e.App), *e.Index)
}

func instanceWords(e api.Event, id func(string) string) string {
	if e.Instance == "" {
		return ""
	}
	return "instance " + id(e.Instance)
}

// eventTarget names what a command is to do, and why.
func eventTarget(e api.Event, id func(string) string) string {
	text := e.Action + " " + eventPlace(e, id)
	if e.Instance != "" {
		text += ", instance " + id(e.Instance)
	}
	why := slices.DeleteFunc([]string{e.Reason, e.Rule}, func(s string) bool { return s == "" })
	if len(why) > 0 {
		text += " (" + strings.Join(why, ", ") + ")"
	}
	return text + by(e)
}

func dueIn(e api.Event) string {
	if wait := e.Due.Sub(e.At.Time); wait > 0 && !e.Due.IsZero() {
		return "in " + api.Span(wait)
	}
	return "at once"
}

func afterDue(e api.Event, delay string) string {
	if e.DelayMS <= 0 {
		return ", when it was due"
	}
	return ", " + delay + " after it was due"
}

func after(e api.Event, delay string) string {
	if e.DelayMS <= 0 {
		return ""
	}
	return " after " + delay
}

func because(text, detail string) string {
	if detail == "" {
		return text
	}
	return text + ": " + detail
}

func by(e api.Event) string {
	if e.By == "" {
		return ""
	}
	return " by " + e.By
}

func counted(e api.Event, name, singular string) string {
	return Count(uint64(max(e.Counts[name], 0)), singular)
}

// freshWords says what waits when the gate has opened.
func freshWords(e api.Event) string {
	text := "the gate of the leader is open"
	if ms := e.Counts["closed_ms"]; ms > 0 {
		text += " after " + api.Span(time.Duration(ms)*time.Millisecond)
	}
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	var kinds []string
	for _, kind := range []string{"missing", "crashed", "evacuating", "extra", "duplicate", "undesired"} {
		if n := e.Counts[kind]; n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return because(text+"; commands are to be sent for "+counted(e, "apps", "app"), strings.Join(kinds, ", "))
}

// drainedWords says what became of what waited when the gate opened.
func drainedWords(e api.Event) string {
	var parts []string
	add := func(name, format string) {
		if n := e.Counts[name]; n > 0 {
			parts = append(parts, fmt.Sprintf(format, n))
		}
	}
	add("healed_by_itself", "%d healed by itself")
	add("starts_sent", "starts sent: %d")
	add("stops_sent", "stops sent: %d")
	add("starts_decided", "starts decided: %d")
	add("stops_decided", "stops decided: %d")
	add("dropped", "%d not wanted any more")
	add("still_waiting", "%d wait for longer")
	text := fmt.Sprintf("all that waited when the gate opened is settled, %s after it", api.Span(time.Duration(e.Counts["took_ms"])*time.Millisecond))
	return because(text, strings.Join(parts, ", "))
}

func countWords(counts map[string]int64) string {
	var parts []string
	for name, n := range counts {
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// otherWords says what an event of an unknown kind has.
func otherWords(e api.Event, id func(string) string) string {
	var parts []string
	add := func(name, text string) {
		if text != "" {
			parts = append(parts, name+" "+text)
		}
	}
	if e.App != "" {
		add("app", eventPlace(e, id))
	}
	add("instance", id(e.Instance))
	add("DEA", e.DEA)
	add("command", e.Command)
	add("reason", e.Reason)
	add("rule", e.Rule)
	add("name", e.Name)
	add("by", e.By)
	if words := countWords(e.Counts); words != "" {
		parts = append(parts, words)
	}
	return because(strings.Join(parts, ", "), e.Detail)
}
