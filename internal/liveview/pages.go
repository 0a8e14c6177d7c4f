package liveview

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"hm/internal/api"
	"hm/internal/words"
)

// pageBody draws the page in a height.
func (p painter) pageBody(height int) drawing {
	switch p.page {
	case PageApps:
		items := make([]item, len(p.Apps.Items))
		for i, a := range p.Apps.Items {
			items[i] = p.appItem(a)
		}
		return listPage(p, p.Apps, appOrders, items, p.appColumns(), "no app", height)
	case PageDEAs:
		items := make([]item, len(p.DEAs.Items))
		for i, d := range p.DEAs.Items {
			items[i] = p.deaItem(d)
		}
		return listPage(p, p.DEAs, deaOrders, items, p.deaColumns(), "no DEA", height)
	case PageCommands:
		return p.commandsPage(height)
	case PageEvents:
		return p.eventsPage("events", p.Happened, height)
	case PageDetail:
		return p.detailPage(height)
	case PageCluster:
		return p.clusterPage(height)
	case PageApp:
		return p.appPage(height)
	case PageDEA:
		return p.deaPage(height)
	}
	return p.overview(height)
}

// overview draws everything that matters on one page.
func (p painter) overview(height int) drawing {
	top := []part{
		{lines: p.play(), rank: 1},
		{lines: p.gate(), short: p.gateShort(), rank: 1},
		{lines: p.newestAction(), rank: 4},
		{lines: p.link(), rank: 4},
		{lines: p.clusterPart(height), short: p.cluster(), rank: 4},
		{lines: p.counts(), rank: 3},
		{lines: p.drift(), short: p.driftShort(), rank: 5},
		{lines: p.queue(), rank: 5},
		{lines: p.rates(), rank: 5},
	}
	apps, deas := p.appsPart(), p.deasPart()
	commands, events := p.commandsPart(height), p.eventsPart(height)
	places := part{lines: p.places(), rank: 8}
	var d drawing
	if p.width < columnsFrom || p.Play != nil || p.Status == nil {
		commands.rank = 9
		if p.Play != nil {
			commands.rank = 6
		}
		d.lines, d.rows = place(append(top, apps, deas, commands, events, places), height)
	} else {
		d.lines, d.rows = place(append(top, places), height)
		above := len(d.lines)
		half := p.width / 2
		p.width = half - 1
		apps, deas = p.appsPart(), p.deasPart()
		left, rows := place([]part{apps, deas}, height-above)
		right, _ := place([]part{p.commandsPart(height), p.eventsPart(height)}, height-above)
		for _, r := range rows {
			r.line += above
			d.rows = append(d.rows, r)
		}
		d.lines = append(d.lines, beside(left, right, half-1)...)
	}
	d.visible, d.length = height, len(d.lines)
	return d
}

func (p painter) appsPart() part {
	if p.Play != nil || p.Status == nil {
		return part{}
	}
	part := part{rank: 6, list: true}
	worst := p.Apps.Items
	switch {
	case p.Apps.Error != "":
		part.lines = append(part.lines, p.labelled("apps", bad(p.Apps.Error)))
	case !p.Apps.of(Query{Page: Overview}):
		part.lines = append(part.lines, p.labelled("apps", faint("not yet known")))
	case len(worst) == 0:
		part.lines = append(part.lines, p.labelled("apps", good("none drifts")))
	default:
		part.lines = append(part.lines, p.labelled("apps", plural(uint64(max(p.Apps.Total, len(worst))), "drifts", "drift, the worst first")))
	}
	for _, a := range worst {
		open := &spot{page: PageApp, id: a.App}
		i := item{row: row{key: "app " + a.App + " " + a.Version, line: len(part.lines), open: open},
			cells: []cell{value(words.Short(a.App)), {Tone: words.Bad, Text: p.appSentence(a)}}}
		part.lines = append(part.lines, rowLine([]column{{width: 8}, {}}, i.cells, i.key == p.cursor))
		part.rows = append(part.rows, i.row)
	}
	return part
}

// appSentence says how an app differs.
func (p painter) appSentence(a api.AppItem) string {
	var parts []string
	for _, kind := range words.DriftKinds {
		if n := a.Kinds[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("drift %d", a.Drift))
	}
	text := strings.Join(parts, ", ")
	switch d := a.Desired; {
	case d == nil:
		text += fmt.Sprintf("; not desired, %d running", a.Instances.Running)
	case d.State != "STARTED":
		text += fmt.Sprintf("; %s, %d running", d.State, a.Instances.Running)
	default:
		text += fmt.Sprintf("; %d of %d running", a.Instances.Running, d.Instances)
		if d.PackageState != "STAGED" {
			text += ", package " + d.PackageState
		}
	}
	if a.Crashes > 0 {
		text += ", " + plural(a.Crashes, "crash", "crashes")
	}
	return text
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (p painter) deasPart() part {
	if p.Play != nil || p.Status == nil {
		return part{}
	}
	part := part{rank: 6, list: true}
	in := slices.DeleteFunc(slices.Clone(p.DEAs.Items), func(d api.DEA) bool { s, _ := p.deaTrouble(d); return s == "" })
	switch {
	case p.DEAs.Error != "":
		part.lines = append(part.lines, p.labelled("DEAs", bad(p.DEAs.Error)))
	case !p.DEAs.of(Query{Page: Overview}):
		part.lines = append(part.lines, p.labelled("DEAs", faint("not yet known")))
	case len(in) == 0 && p.Status.Actual.DEAs+p.Status.Actual.GoneDEAs == 0:
		part.lines = append(part.lines, p.labelled("DEAs", warn("none is recorded")))
	case len(in) == 0 && !p.Status.Actual.Fresh:
		part.lines = append(part.lines, p.labelled("DEAs", faint("which are in trouble is not known while the actual state is stale")))
	case len(in) == 0:
		part.lines = append(part.lines, p.labelled("DEAs", good("none is in trouble")))
	default:
		part.lines = append(part.lines, p.labelled("DEAs", fmt.Sprintf("%d in trouble", max(p.DEAs.Total, len(in)))))
	}
	width := widthOf(36, mapped(in, func(d api.DEA) string { return d.DEA })...)
	for _, d := range in {
		trouble, tone := p.deaTrouble(d)
		i := item{row: row{key: "dea " + d.DEA, line: len(part.lines), open: &spot{page: PageDEA, id: d.DEA}},
			cells: []cell{value(d.DEA), {Tone: tone, Text: words.Count(d.Count, "instance") + ", " + trouble}}}
		part.lines = append(part.lines, rowLine([]column{{width: width}, {}}, i.cells, i.key == p.cursor))
		part.rows = append(part.rows, i.row)
	}
	return part
}

func mapped[T, U any](in []T, f func(T) U) []U {
	out := make([]U, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

// deaTrouble says what is wrong with a DEA; it is empty if nothing is.
func (p painter) deaTrouble(d api.DEA) (string, words.Tone) {
	b := p.basis()
	var all []string
	tone := words.Warn
	switch {
	case !d.GoneAt.IsZero():
		all, tone = append(all, "lost "+words.Ago(b, d.GoneAt)), words.Bad
	case d.LastHeard.IsZero():
		all = append(all, "not heard by "+b.Node)
	case d.State == "silent":
		all = append(all, "silent for "+words.Span(b, d.LastHeard))
	}
	all = append(all, words.Troubles(b, d)...)
	return strings.Join(all, "; "), tone
}

// appColumnsFrom is the width from which a list of apps has all its columns, and appGUIDFrom that from which it has
// whole guids.
const (
	appColumnsFrom = 100
	appGUIDFrom    = 130
)

// appColumns are the columns of a list of apps. A narrow screen leaves out the version and what starts.
func (p painter) appColumns() []column {
	all := []column{{"app", 8, false}, {"version", 8, false}, {"wanted", 6, true}, {"running", 7, true}, {"starting", 8, true},
		{"crashed", 7, true}, {"crashes", 7, true}, {"drift", 6, true}, {"verdict", 0, false}}
	if p.width >= appGUIDFrom {
		all[0].width = 36
	}
	return forWidth(p.width, all)
}

// forWidth returns the columns or cells of an app that a screen has room for.
func forWidth[T any](width int, all []T) []T {
	if width >= appColumnsFrom {
		return all
	}
	return slices.Concat(all[:1], all[2:4], all[5:])
}

func (p painter) appItem(a api.AppItem) item {
	wanted, note := "-", a.Verdict
	if d := a.Desired; d != nil {
		wanted = strconv.FormatUint(uint64(d.Instances), 10)
		if d.State != "STARTED" {
			note = d.State + ": " + note
		} else if d.PackageState != "STAGED" {
			note = "package " + d.PackageState + ": " + note
		}
	} else {
		note = "not desired: " + note
	}
	id := a.App
	if p.width < appGUIDFrom {
		id = words.Short(id)
	}
	return item{row: row{key: "app " + a.App + " " + a.Version, open: &spot{page: PageApp, id: a.App}}, cells: forWidth(p.width, []cell{
		value(id), value(words.Short(a.Version)), value(wanted), value(strconv.Itoa(a.Instances.Running)),
		value(zero(a.Instances.Starting)), count0(a.Instances.Crashed, words.Bad), count0(int(a.Crashes), words.Warn), count0(a.Drift, words.Bad), faint(note),
	})}
}

// zero returns a number, and nothing for 0: so the eye finds the others.
func zero(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// count0 returns a cell of a number, in a tone.
func count0(n int, tone words.Tone) cell { return cell{Tone: tone, Text: zero(n)} }

func (p painter) deaColumns() []column {
	width := widthOf(40, append(mapped(p.DEAs.Items, func(d api.DEA) string { return d.DEA }), "DEA")...)
	return []column{{"DEA", max(width, 12), false}, {"instances", 9, true}, {"heard", 11, true}, {"trouble", 0, false}}
}

func (p painter) deaItem(d api.DEA) item {
	trouble, tone := p.deaTrouble(d)
	return item{row: row{key: "dea " + d.DEA, open: &spot{page: PageDEA, id: d.DEA}}, cells: []cell{
		value(d.DEA), value(strconv.Itoa(d.Count)), value(words.Heard(p.basis(), d)), {Tone: tone, Text: trouble},
	}}
}

// pageHead is the top of a page that is not the overview: the gate, and what the page shows.
func (p painter) pageHead(parts ...any) []line {
	return append(p.gateShortest(), text(parts...))
}

// gateShortest is the gate in one line.
func (p painter) gateShortest() []line {
	lines := p.gateLine()
	return lines[:1]
}

func listPage[T any](p painter, l List[T], orders []order, items []item, columns []column, none string, height int) drawing {
	q := p.Query()
	head := []any{p.label(pageNames[p.page])}
	shown := fmt.Sprintf("%d", len(items))
	switch {
	case l.Total > len(items) && q.Filter == "":
		shown = fmt.Sprintf("the first %d of %d", len(items), l.Total)
	case l.More:
		shown = fmt.Sprintf("the first %d", len(items))
	}
	head = append(head, shown+", by "+orders[p.orders[p.page]%len(orders)].name)
	if q.Filter != "" {
		head = append(head, warn(", that begin with "+q.Filter))
	}
	switch {
	case !l.of(q):
		return p.table(p.pageHead(head[0], faint("asking ...")), columns, nil, "", height)
	case l.Error != "":
		head = append(head, bad("  "+l.Error))
	case p.Status != nil && p.Now.Sub(l.At) >= 5*time.Second:
		head = append(head, faint(", asked "+age(p.Now.Sub(l.At))+" ago"))
	}
	return p.table(p.pageHead(head...), columns, items, none, height)
}
