package liveview

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"hm/internal/api"
)

func (p painter) title() []string {
	words := []string{p.theme.Title.Render(p.Title)}
	if p.Dashboard != "" {
		words = append(words, p.Dashboard)
	}
	words = append(words, Plain(p.About))
	if p.Play == nil {
		words = append(words, p.theme.Faint.Render("up "+age(p.Up)))
	}
	if t := p.Truth; t != nil && t.Router {
		failed := p.theme.Good.Render("0 failed")
		if t.RequestsFailed > 0 {
			failed = p.theme.Bad.Render(fmt.Sprintf("%d failed", t.RequestsFailed))
		}
		words = append(words, fmt.Sprintf("%d requests, ", t.Requests)+failed)
	}
	if p.Dashboard == "" {
		return []string{strings.Join(words, "  ")}
	}
	return p.flow(words)
}

// gate shows whether commands may be sent, and the injected faults.
func (p painter) gate() []string {
	line := p.label("gate")
	switch s := p.Status; {
	case s == nil && p.Play != nil:
		line += p.theme.Faint.Render("not yet known")
	case s == nil:
		line += p.theme.Bad.Render("unknown") + "  no node answers"
	case s.Gate.Open:
		line += p.theme.Good.Render("open") + p.since(s.Gate.Since)
	default:
		line += p.theme.Bad.Render("closed") + "  " + strings.Join(s.Gate.Reasons, ", ") + p.since(s.Gate.Since)
	}
	lines := []string{line}
	if len(p.Faults) > 0 {
		lines = append(lines, p.label("faults")+p.theme.Bad.Render(strings.Join(p.Faults, ", ")))
	}
	return lines
}

func (p painter) since(t api.Timestamp) string {
	if t.IsZero() {
		return ""
	}
	return p.theme.Faint.Render("  for " + age(p.Now.Sub(t.Time)))
}

func (p painter) nodes() []string {
	lines := make([]string, 0, len(p.Nodes))
	for i, n := range p.Nodes {
		head := indent
		if i == 0 {
			head = p.label("nodes")
		}
		lines = append(lines, head+fmt.Sprintf("%-6s", n.ID)+p.node(n))
	}
	return lines
}

func (p painter) node(n Node) string {
	if n.Down {
		text := p.theme.Bad.Render("down")
		if n.BackIn > 0 {
			text += p.theme.Faint.Render("  back in " + age(n.BackIn))
		}
		return text
	}
	seen := p.seen(n.ID)
	if seen == nil {
		return p.theme.Faint.Render("unknown")
	}
	state := fmt.Sprintf("%-12s", seen.State)
	if seen.State == "leader" {
		state = p.theme.Good.Render(state)
	}
	health := p.theme.Good.Render("healthy  ")
	if !seen.Healthy {
		health = p.theme.Bad.Render("unhealthy")
	}
	index, nats := "-", "-"
	if seen.AppliedIndex != nil {
		index = fmt.Sprint(*seen.AppliedIndex)
	}
	if seen.NATS != nil {
		nats = p.upDown(*seen.NATS)
	}
	return fmt.Sprintf("%s %s  index %-7s NATS %s", state, health, index, nats)
}

// seen returns a node as the cluster sees it, or nil.
func (p painter) seen(id string) *api.ClusterNode {
	if p.Status == nil {
		return nil
	}
	for i, n := range p.Status.Cluster.Nodes {
		if n.ID == id {
			return &p.Status.Cluster.Nodes[i]
		}
	}
	return nil
}

func (p painter) upDown(up bool) string {
	if up {
		return "up"
	}
	return p.theme.Bad.Render("down")
}

// counts shows what should run and what does: in hm's record and, if it is known, in truth.
func (p painter) counts() []string {
	var lines []string
	if s := p.Status; s != nil {
		d, a := s.Desired, s.Actual
		lines = append(lines,
			p.label("desired")+p.fresh(d.Fresh)+fmt.Sprintf("  %d instances of %d apps", d.Instances, d.Apps)+p.lastRead(d),
			p.label("actual")+p.fresh(a.Fresh)+fmt.Sprintf("  %d running, %d starting, %d crashed, %d evacuating on %d DEAs",
				a.Running, a.Starting, a.Crashed, a.Evacuating, a.DEAs)+gone(a.GoneDEAs))
	}
	t := p.Truth
	if t == nil {
		return lines
	}
	verdict := p.theme.Good.Render("converged")
	if !t.Converged {
		verdict = p.theme.Bad.Render("not converged")
	}
	truth := p.label("truth") + fmt.Sprintf("%d of %d indices right, %d undesired, %d DEAs speak  ",
		t.Settled, t.Desired, t.Undesired, t.DEAs) + verdict
	if t.Harmful > 0 || t.Needless > 0 {
		truth += fmt.Sprintf("  %d needless starts, %d harmful stops", t.Needless, t.Harmful)
	}
	return append(lines, truth)
}

func gone(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d gone)", n)
}

func (p painter) fresh(fresh bool) string {
	if fresh {
		return p.theme.Good.Render("fresh")
	}
	return p.theme.Bad.Render("stale")
}

func (p painter) lastRead(d api.DesiredStatus) string {
	text := ""
	if !d.SyncedAt.IsZero() {
		text = p.theme.Faint.Render("  read " + age(p.Now.Sub(d.SyncedAt.Time)) + " ago")
	}
	if d.Error != "" {
		text += "  " + p.theme.Bad.Render("since then: "+Plain(d.Error))
	}
	return text
}

// driftCell is the width of one kind of drift: name, count and sparkline.
const (
	driftCell  = 30
	driftSpark = 12
)

func (p painter) drift() []string {
	if p.Status == nil {
		return nil
	}
	perLine := 1
	for _, n := range []int{2, 3, 6} { // the divisors of the number of kinds give full lines
		if len(indent)+n*driftCell-len("  ") <= p.width {
			perLine = n
		}
	}
	var lines []string
	for i, k := range driftKinds {
		n := k.count(p.Status.Drift)
		count := fmt.Sprintf("%5d", n)
		if n > 0 {
			count = p.theme.Bad.Render(count)
		}
		cell := fmt.Sprintf("%-10s%s %-*s  ", k.name, count, driftSpark, p.Drift.sparkline(k.count, driftSpark))
		switch {
		case i == 0:
			lines = append(lines, p.label("drift")+cell)
		case i%perLine == 0:
			lines = append(lines, indent+cell)
		default:
			lines[len(lines)-1] += cell
		}
	}
	return lines
}

// commands lists the newest commands, at most n.
func (p painter) commands(n int) []string {
	if p.Status == nil {
		return nil
	}
	c := p.Status.Commands
	lines := []string{p.label("commands") + fmt.Sprintf("starts %d pending %d sent, stops %d pending %d sent",
		c.PendingStarts, c.SentStarts, c.PendingStops, c.SentStops)}
	if n := p.Status.Queue.Apps; n > 0 {
		lines[0] += fmt.Sprintf(", %d apps in the queue", n)
	}
	for _, c := range p.Commands[:min(len(p.Commands), n)] {
		at := lastChange(c)
		index := short(c.App) + fmt.Sprintf("/%-3d", c.Index)
		line := indent + p.clock(at) + fmt.Sprintf("  %-5s %s  %-19s ", c.Action, index, c.Reason)
		lines = append(lines, line+p.state(c))
	}
	return lines
}

// state shows the state of a command, and why it ended.
func (p painter) state(c api.Command) string {
	switch c.State {
	case "pending":
		if wait := c.DueAt.Sub(p.Now); wait > 0 {
			return "pending" + p.theme.Faint.Render(", due in "+age(wait))
		}
		return "pending"
	case "confirmed":
		return p.theme.Good.Render(c.State)
	case "expired", "dropped", "abandoned":
		return p.theme.Faint.Render(strings.TrimRight(c.State+"  "+Plain(c.Detail), " "))
	}
	return c.State
}

// events lists the newest events, at most n.
func (p painter) events(n int) []string {
	name, none := "done", "nothing yet: press a key"
	if p.Play != nil {
		name, none = "events", "nothing yet"
	}
	lines := []string{p.label(name)}
	for i, e := range p.Events[:min(len(p.Events), n)] {
		text := Plain(e.Text)
		if e.Failed {
			text = p.theme.Bad.Render(text)
		}
		line := p.clock(e.At) + "  " + text
		if i == 0 {
			lines[0] += line
		} else {
			lines = append(lines, indent+line)
		}
	}
	if len(p.Events) == 0 {
		lines[0] += p.theme.Faint.Render(none)
	}
	return lines
}

func (p painter) places() []string {
	words := make([]string, 0, len(p.Places))
	for _, at := range p.Places {
		words = append(words, p.theme.Faint.Render(at.Name)+" "+at.Address)
	}
	return p.flow(words)
}

func (p painter) keys() []string {
	var words []string
	for _, k := range p.Keys {
		if k.Help != "" {
			words = append(words, p.theme.Label.Render(k.Name)+" "+k.Help)
		}
	}
	return p.flow(words)
}

func (p painter) clock(t time.Time) string {
	return p.theme.Faint.Render(t.In(p.Now.Location()).Format("15:04:05"))
}

// Plain replaces the control characters in a text, which may come from outside.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// short returns the first eight characters of a guid, padded.
func short(guid string) string { return fmt.Sprintf("%-8.8s", guid) }

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
