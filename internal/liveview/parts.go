package liveview

import (
	"fmt"
	"strings"
	"time"

	"hm/internal/api"
	"hm/internal/words"
)

// basis returns what the times of the status are relative to.
func (p painter) basis() api.Basis {
	var b api.Basis
	if p.Status != nil {
		b = p.Status.Basis
	}
	if b.At.IsZero() {
		b.At = api.Timestamp{Time: p.Now}
	}
	return b
}

// title is the first line: the program, what it shows, and the time of what is shown.
func (p painter) title() []line {
	parts := []words.Text{words.Say(words.Piece{Tone: toneTitle, Text: p.Title})}
	add := func(all ...any) { parts = append(parts, words.Say(all...)) }
	if p.Dashboard != "" && p.page == Overview {
		add(p.Dashboard)
	}
	if p.page != Overview {
		add(pageNames[p.page])
	}
	if p.Source != nil && !p.Now.IsZero() {
		add(faint(p.Now.UTC().Format(time.TimeOnly) + " UTC"))
	}
	if s := p.Source; s != nil && s.Addr != "" && p.Status != nil && p.Dashboard == "" {
		add(p.Status.Node + " at " + s.Addr)
	}
	if t := p.Truth; t != nil && t.Router {
		failed := good("0 failed")
		if t.RequestsFailed > 0 {
			failed = bad(fmt.Sprintf("%d failed", t.RequestsFailed))
		}
		add(fmt.Sprintf("%d requests, ", t.Requests), failed)
	}
	if p.About != "" {
		add(p.About)
	}
	if p.Play == nil && p.Up > 0 {
		add(faint("up " + age(p.Up)))
	}
	return p.flow(parts, 1)
}

// sourceLines says that the numbers are old, and since when.
func (p painter) sourceLines() []line {
	since, blind := p.Source.Blind()
	switch {
	case p.Source == nil:
		return nil
	case !blind:
		return p.behind()
	}
	s := p.Source
	what := "no answer for " + age(s.Now.Sub(since)) + ", since " + since.UTC().Format(time.TimeOnly) + " UTC"
	if s.At.IsZero() {
		what = "no answer yet, for " + age(s.Now.Sub(since))
	}
	if s.Error != "" {
		what += ": " + s.Error
	}
	l := wrap(words.Say(bad(fit("BLIND", labelWidth)), what), p.width, indent)
	more := "asking again every " + s.Every.String()
	if s.Addrs > 1 {
		more += fmt.Sprintf(", each of %d addresses in turn", s.Addrs)
	}
	if p.Status != nil {
		more = "what follows with a ? is of " + p.Now.UTC().Format(time.TimeOnly) + " UTC; " + more
	}
	return append(l, wrap(words.Say(indent, more), p.width, indent)...)
}

// behindFrom is how long a node may not have heard a leader before that is said.
const behindFrom = 2 * time.Second

// behind says that the answering node may not know the newest state.
func (p painter) behind() []line {
	if p.Status == nil {
		return nil
	}
	b := p.Status.Basis
	late := time.Duration(b.AgeMS) * time.Millisecond
	if b.AgeMS >= 0 && late <= behindFrom {
		return nil
	}
	what := "has never heard a leader: its record may be old"
	if b.AgeMS >= 0 {
		what = "last heard a leader " + age(late) + " ago: its record may be as old"
	}
	return wrap(words.Say(warn(fit("behind", labelWidth)), b.Node+" "+what), p.width, indent)
}

// noticeLines tell the outcome of the newest change, until a key puts it away.
func (p painter) noticeLines() []line {
	n := p.Notice
	if n.Text == "" || n.Number <= p.seen {
		return nil
	}
	tone := words.Good
	if n.Failed {
		tone = words.Bad
	}
	return wrap(words.Say(p.label(""), words.Piece{Tone: tone, Text: n.Text}), p.width, indent)
}

// gate shows whether commands may be sent, why not in words, the holds, and the injected faults.
func (p painter) gate() []line {
	lines := p.gateLine()
	if p.Status != nil {
		for _, r := range words.Reasons(words.GateReasons(p.Status.Gate)) {
			say := r.Reason + ": " + r.Means
			if p.height >= tallFrom {
				say = r.Reason + ": " + r.String()
			}
			lines = append(lines, wrap(words.Say(indent, faint(say)), p.width, indent+"  ")...)
		}
	}
	return append(lines, p.holdsAndFaults()...)
}

// tallFrom is the height from which the gate also says what ends each reason.
const tallFrom = 30

// gateShort is gate without the explanations.
func (p painter) gateShort() []line { return append(p.gateLine(), p.holdsAndFaults()...) }

func (p painter) gateLine() []line {
	switch s := p.Status; {
	case s == nil && p.Play != nil:
		return []line{p.labelled("gate", faint("not yet known"))}
	case s == nil:
		return []line{p.labelled("gate", bad("not known"), ": no node answers")}
	default:
		was := ""
		if p.blind {
			was = "it was "
		}
		return wrap(words.Say(p.label("gate"), was, words.Gate(p.basis(), s.Gate)), p.width, indent)
	}
}

func (p painter) holdsAndFaults() []line {
	var lines []line
	for _, h := range p.holds() {
		lines = append(lines, p.labelled("hold", warn(words.Hold(p.basis(), h))))
	}
	if len(p.Faults) > 0 {
		lines = append(lines, p.labelled("faults", bad(strings.Join(p.Faults, ", "))))
	}
	return lines
}

// newestAction shows what the user of hm dev did last: the events of the cluster soon push it off the screen.
func (p painter) newestAction() []line {
	if p.Play != nil || len(p.Events) == 0 {
		return nil
	}
	e := p.Events[0]
	return []line{p.labelled("you", words.Piece{Tone: e.tone(), Text: e.Text}, faint("  "+age(p.Now.Sub(e.At))+" ago"))}
}

// counts shows what should run and what does: in hm's record and, if it is known, in truth.
func (p painter) counts() []line {
	var lines []line
	if s := p.Status; s != nil {
		d, a := s.Desired, s.Actual
		lines = append(lines, p.labelled("desired", words.DesiredState(p.basis(), d)))
		if d.Error != "" {
			lines = append(lines, p.labelled("", warn("the newest read failed: "), d.Error))
		}
		lines = append(lines, p.labelled("actual", p.actual(a)))
		if a.Backlog > 0 {
			lines = append(lines, p.labelled("", warn(words.Count(a.Backlog, "heartbeat")+" heard and not recorded yet")))
		}
		if a.MissedDEAs > 0 {
			lines = append(lines, p.labelled("", warn(words.Count(a.MissedDEAs, "DEA")+
				" that this node does not hear and another does: kept on record")))
		}
		if a.Unreadable.DEAs > 0 {
			lines = append(lines, p.labelled("", warn("cannot be read: "), words.Unreadable(a.Unreadable)))
		}
		if a.DoubledIDs > 0 {
			lines = append(lines, p.labelled("", bad("two DEAs use one id: "), words.AndMore(a.Doubled, a.DoubledIDs)))
		}
	}
	return append(lines, p.truth()...)
}

// actual is words.ActualState, shorter where the screen is narrow.
func (p painter) actual(a api.ActualStatus) words.Text {
	if p.width >= 100 {
		return words.ActualState(a)
	}
	gone := ""
	if a.GoneDEAs > 0 {
		gone = fmt.Sprintf(" (%d gone)", a.GoneDEAs)
	}
	parts := []any{words.Fresh(a.Fresh), fmt.Sprintf(", %s%s, %d running", words.Count(a.DEAs, "DEA"), gone, a.Running)}
	for _, k := range []struct {
		n    int
		name string
	}{{a.Starting, "starting"}, {a.Crashed, "crashed"}, {a.Evacuating, "evacuating"}} {
		if k.n > 0 {
			parts = append(parts, fmt.Sprintf(", %d %s", k.n, k.name))
		}
	}
	return words.Say(parts...)
}

// truth shows what the simulation knows.
func (p painter) truth() []line {
	t := p.Truth
	if t == nil {
		return nil
	}
	verdict := good("agrees")
	if !t.Converged {
		verdict = bad("differs")
	}
	l := words.Say(p.label("in truth"), verdict, fmt.Sprintf(", %d of %d indices as desired, ", t.Settled, t.Desired))
	if t.Undesired > 0 {
		l = words.Say(l, words.Count(t.Undesired, "undesired instance"), ", ")
	}
	l = words.Say(l, words.Count(t.DEAs, "DEA"), " alive")
	if t.Harmful > 0 || t.Needless > 0 {
		l = words.Say(l, bad(fmt.Sprintf(", %s, %s", words.Count(t.Needless, "needless start"), words.Count(t.Harmful, "harmful stop"))))
	}
	return []line{{text: l}}
}

// drift shows each kind of drift with its count and how it came to it.
func (p painter) drift() []line {
	if p.Status == nil {
		return nil
	}
	perLine := 2
	for _, n := range []int{3, 6} { // the divisors of the number of kinds give full lines
		if (p.width-labelWidth)/n >= driftCell {
			perLine = n
		}
	}
	if p.width-labelWidth < 2*driftCell {
		perLine = 1
	}
	cell := (p.width - labelWidth) / perLine
	spark := min(max(cell-driftHead-1, 0), HistoryLength)
	var lines []line
	for i, kind := range words.DriftKinds {
		n := words.DriftOf(p.Status.Drift, kind)
		number := words.Piece{Text: fitRight(compact(n), 6)}
		if n > 0 {
			number.Tone = words.Bad
		}
		shown := words.Say(fit(kind, 11), number, " ", fit(sparkline(p.Drift.counts(kind), spark), cell-driftHead))
		switch {
		case i == 0:
			lines = append(lines, p.labelled("drift", shown))
		case i%perLine == 0:
			lines = append(lines, text(indent, shown))
		default:
			last := &lines[len(lines)-1]
			last.text = words.Say(last.text, shown)
		}
	}
	return lines
}

// driftCell is the least width of one kind of drift; driftHead that of its name and count.
const (
	driftCell = 32
	driftHead = 18
)

func (p painter) driftShort() []line {
	if p.Status == nil {
		return nil
	}
	return []line{p.labelled("drift", words.Drift(p.Status.Drift))}
}

// compact returns a number in at most six columns: 999999, 1234k, 123M.
func compact(n int) string {
	switch {
	case n < 1_000_000:
		return fmt.Sprint(n)
	case n < 10_000_000:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprintf("%dM", n/1_000_000)
}

// queue shows what waits, and for what.
func (p painter) queue() []line {
	if p.Status == nil {
		return nil
	}
	q := p.Status.Queue
	if q.Apps == 0 && q.Waiting == 0 && q.Draining == nil {
		if p.Play != nil {
			return nil
		}
		return []line{p.labelled("queue", "nothing waits")}
	}
	lines := wrap(words.Say(p.label("queue"), words.Queue(p.basis(), q)), p.width, indent)
	if q.Draining != nil {
		lines = append(lines, wrap(words.Say(indent, words.Draining(p.basis(), *q.Draining)), p.width, indent)...)
	}
	return lines
}

// rates shows how many commands wait, and how many were sent, confirmed, and without effect in each period.
func (p painter) rates() []line {
	if p.Status == nil || p.Play != nil { // a recording has this at the head of its commands
		return nil
	}
	c := p.Status.Commands
	l := p.labelled("commands", words.Count(c.PendingStarts, "start")+" and "+words.Count(c.PendingStops, "stop")+" pending")
	if p.Rates.Every <= 0 {
		return []line{text(l.text, fmt.Sprintf(", %s and %s sent so far", words.Count(c.SentStarts, "start"), words.Count(c.SentStops, "stop")))}
	}
	now := p.Rates.newest()
	each := words.Say("each " + p.Rates.Every.String() + ":")
	spark := min(max((p.width-labelWidth-48)/3-2, 4), 20)
	for _, k := range []struct {
		name string
		of   func(CommandCounts) int
		tone words.Tone
	}{
		{"sent", func(c CommandCounts) int { return c.Sent }, words.Plain},
		{"confirmed", func(c CommandCounts) int { return c.Confirmed }, words.Good},
		{"expired", func(c CommandCounts) int { return c.Expired }, words.Warn},
	} {
		number := words.Piece{Text: fitRight(compact(k.of(now)), 5)}
		if k.of(now) > 0 {
			number.Tone = k.tone
		}
		each = words.Say(each, " ", k.name, number, " ", fit(sparkline(p.Rates.counts(k.of), spark), spark))
	}
	if columnsOf(l.text)+2+columnsOf(each) <= p.width {
		return []line{text(l.text, "  ", each)}
	}
	return []line{l, text(indent, each)}
}

// cluster shows in a line whether the cluster decides, and then what is wrong with its nodes.
func (p painter) cluster() []line {
	var lines []line
	if s := p.Status; s != nil && p.Play == nil {
		leader := words.Say(s.Cluster.Leader + " leads")
		if s.Cluster.Leader == "" {
			leader = words.Say(bad("no leader"))
		}
		lines = wrap(words.Say(p.label("cluster"), leader, fmt.Sprintf(", term %d, ", s.Cluster.Term), words.Quorum(s.Cluster)), p.width, indent)
		var down []string
		for _, n := range s.Cluster.Nodes {
			if n.NATS != nil && !*n.NATS {
				down = append(down, n.ID)
			}
			if !n.Healthy && p.down(n.ID) == nil {
				lines = append(lines, text(indent, n.ID+" is not healthy: ", words.Member(n)))
			}
		}
		if len(down) > 0 {
			lines = append(lines, text(indent, bad("NATS is down"), " for "+strings.Join(down, ", ")))
		}
		for _, l := range words.MemberTroubles(s.Cluster.Nodes, s.Node) {
			lines = append(lines, wrap(words.Say(indent, l.Text), p.width, indent)...)
		}
	}
	for _, n := range p.Nodes {
		if n.Down {
			lines = append(lines, text(indent, n.ID+" is ", bad("closed"), faint("  back in "+age(n.BackIn))))
		}
	}
	return lines
}

// down returns a node that hm dev closed, or nil.
func (p painter) down(id string) *Node {
	for i, n := range p.Nodes {
		if n.ID == id && n.Down {
			return &p.Nodes[i]
		}
	}
	return nil
}

// places are the addresses of hm dev.
func (p painter) places() []line {
	all := make([]words.Text, 0, len(p.Places))
	for _, at := range p.Places {
		if at.Address == p.Dashboard {
			continue // the first line has it
		}
		all = append(all, words.Say(faint(at.Name), " "+at.Address))
	}
	return p.flow(all, len(all))
}

func (p painter) clock(t time.Time) words.Piece {
	return faint(t.In(p.Now.Location()).Format(time.TimeOnly))
}

// age returns a duration in whole seconds, for people: 5s, 1m05s, 2h03m. A negative one is 0s.
func age(d time.Duration) string {
	switch d = max(d, 0).Truncate(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}
