package liveview

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hm/internal/api"
	"hm/internal/words"
)

// appPage shows what hm does about an app and why, in the words of hm explain.
func (p painter) appPage(height int) drawing {
	head := p.pageHead(p.label("app"), p.id)
	e, d, pending := answerOf(p, p.App, head, height)
	if pending {
		return d
	}
	var lines []line
	for _, l := range words.Explanation(*e, words.ExplainOptions{All: p.all, ID: words.Short}) {
		lines = append(lines, p.wordsLine(l)...)
	}
	head = p.gateShortest()
	if p.App.Error != "" {
		head = append(head, wrap(words.Say(bad(p.App.Error)), p.width, "")...)
	}
	return p.scroll(head, lines, height)
}

// wordsLine draws a line of package words.
func (p painter) wordsLine(l words.Line) []line {
	if l.Whole {
		return wrap(l.Text, p.width, "  ")
	}
	lead := strings.Repeat("  ", l.Indent)
	label := words.Piece{Tone: l.LabelTone, Text: fit(l.Label, labelWidth)}
	if l.LabelTone == words.Plain {
		label.Tone = toneLabel
	}
	return wrap(words.Say(lead, label, l.Text), p.width, lead+indent)
}

// answerOf returns the answer to the query of the page; or, while there is none, pending is true and d says so.
func answerOf[T any](p painter, a Answer[T], head []line, height int) (v *T, d drawing, pending bool) {
	switch {
	case a.Query == p.Query() && a.Value != nil:
		return a.Value, d, false
	case a.Query == p.Query() && a.Error != "":
		return nil, cutTo(append(head, wrap(words.Say(bad(a.Error)), p.width, "")...), height), true
	}
	return nil, cutTo(append(head, text(faint("asking ..."))), height), true
}

// deaPage shows a DEA and its instances.
func (p painter) deaPage(height int) drawing {
	head := p.pageHead(p.label("DEA"), p.id)
	v, d, pending := answerOf(p, p.DEA, head, height)
	if pending {
		return d
	}
	b := p.basis()
	head = append(head, p.labelled("instances", strconv.Itoa(v.Count)),
		p.labelled("heard", words.Ago(b, v.LastHeard)+", known for "+words.Span(b, v.FirstSeen)+", changed "+words.Ago(b, v.ChangedAt)))
	if trouble, tone := p.deaTrouble(*v); trouble != "" {
		head = append(head, wrap(words.Say(p.label("trouble"), words.Piece{Tone: tone, Text: trouble}), p.width, indent)...)
	}
	if v.Unreadable != nil && v.Unreadable.Why != "" {
		head = append(head, wrap(words.Say(p.label("why"), warn(v.Unreadable.Why)), p.width, indent)...)
	}
	if p.DEA.Error != "" {
		head = append(head, wrap(words.Say(bad(p.DEA.Error)), p.width, "")...)
	}
	columns := []column{{"app", 8, false}, {"version", 8, false}, {"index", 5, true}, {"instance", 8, false}, {"state", 10, false}, {"since", 0, false}}
	if p.width >= 120 {
		columns[0].width, columns[3].width = 36, 36
	}
	items := make([]item, 0, len(v.Instances))
	for _, i := range v.Instances {
		id := words.IDs(p.width >= 120)
		items = append(items, item{row: row{key: "instance " + i.Instance + " " + i.App, open: &spot{page: PageApp, id: i.App}}, cells: []cell{
			value(id(i.App)), value(words.Short(i.Version)), value(strconv.FormatUint(uint64(i.Index), 10)), value(id(i.Instance)),
			{Tone: words.StateTone(i.State), Text: i.State}, value(words.Ago(b, i.Since)),
		}})
	}
	return p.table(head, columns, items, "it lists no instance", height)
}

// detailPage shows the events of one app or one DEA.
func (p painter) detailPage(height int) drawing {
	if !p.Detail.of(p.Query()) && p.Detail.Query.ID != p.id {
		return cutTo(p.pageHead(p.label("events"), "of "+p.id+"  ", faint("asking ...")), height)
	}
	return p.eventsPage("events of "+p.id, p.Detail.Items, height)
}

// eventColumns are those of a list of events.
var eventColumns = []column{{"at", 8, false}, {"what", 18, false}, {"", 0, false}}

func (p painter) eventsPage(name string, events []Event, height int) drawing {
	items := filtered(p.eventItems(events), p.filters[p.page])
	head := []any{p.label("events")}
	if name != "events" {
		head = append(head, strings.TrimPrefix(name, "events ")+", ")
	}
	head = append(head, words.Count(len(items), "event")+", the newest first")
	if f := p.filters[p.page]; f != "" {
		head = append(head, warn(fmt.Sprintf(", of %d, that have: %s", len(events), f)))
	}
	if p.page == PageDetail && p.Detail.Error != "" {
		head = append(head, bad("  "+p.Detail.Error))
	}
	return p.table(p.pageHead(head...), eventColumns, items, "nothing of this has happened", height)
}

func (p painter) eventItems(events []Event) []item {
	items := make([]item, 0, len(events))
	for _, e := range events {
		i := item{row: row{key: e.ID}, cells: []cell{p.clock(e.At), {Tone: e.tone(), Text: strings.ReplaceAll(e.Kind, ".", " ")}, value(e.Text)}}
		switch {
		case e.App != "":
			i.open = &spot{page: PageApp, id: e.App}
		case e.DEA != "":
			i.open = &spot{page: PageDEA, id: e.DEA}
		}
		items = append(items, i)
	}
	return items
}

func (e Event) tone() words.Tone {
	if e.Failed {
		return words.Bad
	}
	return e.Tone
}

// commandsPage lists the newest commands and what became of them.
func (p painter) commandsPage(height int) drawing {
	app := 8
	if p.width >= 120 {
		app = 36
	}
	columns := []column{{"at", 8, false}, {"", 5, false}, {"app", app, false}, {"index", 5, true}, {"why", 19, false}, {"state", 0, false}}
	items := make([]item, 0, len(p.Commands))
	for _, c := range p.Commands {
		id := words.IDs(app > 8)
		state := p.commandState(c)
		items = append(items, item{row: row{key: c.ID, open: &spot{page: PageApp, id: c.App}}, cells: []cell{
			p.clock(lastChange(c)), value(c.Action), value(id(c.App)), value(strconv.FormatUint(uint64(c.Index), 10)), value(c.Reason),
			{Tone: words.OutcomeTone(c.State), Text: state.String()},
		}})
	}
	kept := filtered(items, p.filters[p.page])
	head := []any{p.label("commands"), fmt.Sprintf("the newest %d", len(kept))}
	if f := p.filters[p.page]; f != "" {
		head = append(head, warn(fmt.Sprintf(", of %d, that have: %s", len(items), f)))
	}
	if p.Status != nil {
		head = append(head, "; "+words.Commands(p.Status.Commands))
	}
	return p.table(p.pageHead(head...), columns, kept, "no command was scheduled", height)
}

// commandState shows the state of a command, what it waits for, and why it ended.
func (p painter) commandState(c api.Command) words.Text {
	text := words.Say(words.Piece{Tone: words.OutcomeTone(c.State), Text: c.State})
	if wait := c.DueAt.Sub(p.Now); c.State == "pending" && wait > 0 {
		text = words.Say(text, faint(", due in "+age(wait)))
	} else if c.State == "pending" && p.Status != nil && len(words.GateReasons(p.Status.Gate)) > 0 {
		text = words.Say(text, faint(", due, held by the gate"))
	}
	if c.Detail != "" {
		text = words.Say(text, faint(": "+c.Detail))
	}
	return text
}

// commandsPart lists the newest commands on the overview, at most n.
func (p painter) commandsPart(n int) part {
	if p.Status == nil {
		return part{}
	}
	head := p.labelled("commands")
	if p.Play != nil {
		c := p.Status.Commands
		head = p.labelled("commands", words.Commands(c))
		if n := p.Status.Queue.Apps; n > 0 {
			head = text(head.text, ", "+words.Count(n, "app")+" in the queue")
		}
	} else if len(p.Commands) == 0 {
		head = p.labelled("commands", faint("none was scheduled"))
	}
	part := part{lines: []line{head}, rank: 7, list: true}
	for _, c := range p.Commands[:min(len(p.Commands), n)] {
		index := fit(words.Short(c.App), 8) + fmt.Sprintf("/%-3d", c.Index)
		part.lines = append(part.lines, text("  ", p.clock(lastChange(c)),
			fmt.Sprintf("  %-5s %s  %-19s ", c.Action, index, c.Reason), p.commandState(c)))
	}
	return part
}

// eventsPart lists the newest events on the overview, at most n: those of the cluster together with what the user did.
func (p painter) eventsPart(n int) part {
	part := part{rank: 2, list: true, lines: []line{p.labelled("events")}}
	if p.Play != nil {
		for _, e := range p.Events[:min(len(p.Events), n)] {
			part.lines = append(part.lines, text("  ", p.clock(e.At), "  ", words.Piece{Tone: e.tone(), Text: e.Text}))
		}
	} else {
		for _, g := range grouped(merged(p.Events, p.Happened, maxMerged), n) {
			part.lines = append(part.lines, text("  ", p.clock(g.At), "  ", words.Piece{Tone: g.tone(), Text: g.sentence()}))
		}
	}
	if len(part.lines) == 1 {
		part.lines = []line{p.labelled("events", faint("nothing yet"))}
	}
	return part
}

// maxMerged is how many of the newest events the overview looks at.
const maxMerged = 500

// eventGroup is an event, and how many of its kind happened shortly before it, itself included.
type eventGroup struct {
	Event
	n int
}

// groupWithin is how long before the newest of a group an event of the same kind belongs to it.
const groupWithin = 10 * time.Second

// grouped joins events of one kind that happened in one go: a lost zone is a line, not a screen. It returns at most n
// groups.
func grouped(newestFirst []Event, n int) []eventGroup {
	var out []eventGroup
	newest := map[string]int{} // the newest group of each kind
	for _, e := range newestFirst {
		if at, ok := newest[e.Kind]; ok && e.Kind != "" && out[at].At.Sub(e.At) <= groupWithin {
			out[at].n++
			continue
		}
		if len(out) < n {
			newest[e.Kind] = len(out)
			out = append(out, eventGroup{Event: e, n: 1})
		} else {
			delete(newest, e.Kind)
		}
	}
	return out
}

// sentence tells the events in one sentence, for lists without a column for the kind.
func (e eventGroup) sentence() string {
	if e.n > 1 {
		return fmt.Sprintf("%d × %s: %s", e.n, strings.ReplaceAll(e.Kind, ".", " "), e.Text)
	}
	switch subject, what, _ := strings.Cut(e.Kind, "."); subject {
	case "": // the user did it
		return "you: " + e.Text
	case "command":
		return what + ": " + e.Text
	case "instance", "hold":
		return subject + " " + what + ": " + e.Text
	}
	return e.Text
}

// merged joins two lists of events that have the newest first, up to n.
func merged(a, b []Event, n int) []Event {
	out := make([]Event, 0, min(n, len(a)+len(b)))
	for len(out) < n && (len(a) > 0 || len(b) > 0) {
		if len(b) == 0 || len(a) > 0 && a[0].At.After(b[0].At) {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return out
}
