package words

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hm/internal/api"
)

// Status tells the status of a node and its cluster: what hm status prints above the table of the nodes.
func Status(s api.Status) []Line {
	b := s.Basis
	leader := Say("leader " + s.Cluster.Leader)
	if s.Cluster.Leader == "" {
		leader = Say(bad("no leader"))
	}
	lines := []Line{
		named("node", s.Node+", ", leader, fmt.Sprintf(", term %d", s.Cluster.Term)),
		named("quorum", Quorum(s.Cluster)),
		named("gate", Gate(b, s.Gate)),
	}
	for _, h := range s.Holds {
		lines = append(lines, named("hold", Hold(b, h)))
	}
	lines = append(lines, natsLines(b, s.NATS)...)
	if s.CC != nil {
		lines = append(lines, ccLines(b, *s.CC, s.Cluster.Leader == s.Node)...)
	}
	lines = append(lines, certificateLines(b, s.TLS)...)
	lines = append(lines, named("desired", DesiredState(b, s.Desired)))
	if s.Desired.Error != "" {
		lines = append(lines, named("", warn("newest read failed:"), " "+s.Desired.Error))
	}
	lines = append(lines, actualLines(s.Actual)...)
	lines = append(lines, named("drift", Drift(s.Drift)), named("commands", Commands(s.Commands)),
		named("queue", Queue(b, s.Queue)))
	if d := s.Queue.Draining; d != nil {
		lines = append(lines, named("", Draining(b, *d)))
	}
	return lines
}

// Quorum says how many more voters may fail, or that too many have failed.
func Quorum(cl api.Cluster) Text {
	voters, healthy, need := cl.Quorum()
	text := fmt.Sprintf("%d of %s healthy", healthy, Count(voters, "voter"))
	if healthy < need {
		return Say(bad(text + fmt.Sprintf(", %d are needed: nothing is decided until more of them are back", need)))
	}
	return Say(fmt.Sprintf("%s, %d more may fail", text, healthy-need))
}

func natsLines(b api.Basis, n api.NATS) []Line {
	lines := []Line{named("nats", Link(b, n))}
	if n.Error != "" {
		lines = append(lines, named("", warn("newest attempt failed:"), " "+n.Error))
	}
	for _, r := range n.Refused {
		lines = append(lines, named("", bad("refused:"), fmt.Sprintf(" %s %s for %s, %s, last %s: %s", r.Action, r.Subject,
			Span(b, r.Since), Count(r.Count, "time"), Ago(b, r.Last), r.Error)))
	}
	return lines
}

// ccLines tells of the Cloud Controller to which commands are posted. leads says that the node that answered leads.
func ccLines(b api.Basis, c api.CC, leads bool) []Line {
	state := Say("asked by the leader alone")
	switch {
	case c.Reachable == nil && leads:
		state = Say(warn("no answer yet"))
	case c.Reachable == nil:
	case *c.Reachable:
		state = Say(good("answers"), " for "+Span(b, c.Since))
	default:
		state = Say(bad("unreachable"), " for "+Span(b, c.Since))
	}
	lines := []Line{named("cc", state, ", "+c.URL)}
	if c.Error != "" {
		lines = append(lines, named("", warn("newest request failed:"), " "+c.Error))
	}
	for _, r := range c.Refused {
		lines = append(lines, named("", bad("refused:"), fmt.Sprintf(" %ss for %s, %s, last %s: %s", r.Action, Span(b, r.Since),
			Count(r.Count, "time"), Ago(b, r.Last), r.Error)))
	}
	return lines
}

// Link says whether the link to NATS is up, since when, and how late messages are.
func Link(b api.Basis, n api.NATS) Text {
	state := Say(bad("down"))
	if n.Connected {
		state = Say(good("connected"), " to "+n.Server)
		if n.ServerName != "" {
			state = Say(state, " ("+shortServerName(n.ServerName)+")")
		}
	}
	return Say(state, fmt.Sprintf(" for %s, %s, %s%s", Span(b, n.Since), Count(n.Outages, "outage"), Count(n.Gaps, "gap"),
		lag(n)))
}

// shortServerName shortens the 56 characters that a NATS server without a name calls itself by.
func shortServerName(name string) string {
	if len(name) <= 40 {
		return name
	}
	return name[:8] + "..."
}

// lag says how late messages arrive on the link, if it is up.
func lag(n api.NATS) string {
	switch {
	case n.LagRefused != "":
		return ", lag not known: " + n.LagRefused
	case n.Lag == nil:
		return ""
	}
	return ", lag " + time.Duration(*n.Lag*float64(time.Second)).Round(time.Millisecond).String()
}

// DesiredState says how fresh and how large the recorded desired state is.
func DesiredState(b api.Basis, d api.DesiredStatus) Text {
	return Say(Fresh(d.Fresh), fmt.Sprintf(", %s, %s, read %s%s", Count(d.Apps, "app"), Count(d.Instances, "instance"),
		Ago(b, d.SyncedAt), From(d.Source)))
}

// From names a source, after a space; it is empty if the source is not known.
func From(source string) string {
	if source == "" {
		return ""
	}
	return " from " + source
}

// Fresh says whether a state is fresh or stale.
func Fresh(fresh bool) Piece {
	if fresh {
		return good("fresh")
	}
	return warn("stale")
}

// ActualState says how fresh and how large the recorded actual state is.
func ActualState(a api.ActualStatus) Text {
	gone := ""
	if a.GoneDEAs > 0 {
		gone = fmt.Sprintf(" (%d gone)", a.GoneDEAs)
	}
	return Say(Fresh(a.Fresh), fmt.Sprintf(", %s%s, %s: %d running, %d starting, %d crashed, %d evacuating",
		Count(a.DEAs, "DEA"), gone, Count(a.Instances, "instance"), a.Running, a.Starting, a.Crashed, a.Evacuating))
}

func actualLines(a api.ActualStatus) []Line {
	lines := []Line{named("actual", ActualState(a))}
	if a.MissedDEAs > 0 {
		lines = append(lines, named("",
			warn(Count(a.MissedDEAs, "DEA")+" that this node does not hear and another does: kept on record")))
	}
	if a.Unreadable.DEAs > 0 {
		lines = append(lines, named("", warn("cannot be read:"), " "+Unreadable(a.Unreadable)+" (hm deas shows which)"))
	}
	if a.DoubledIDs > 0 {
		lines = append(lines, named("", bad("two DEAs use one id:"), " "+AndMore(a.Doubled, a.DoubledIDs)))
	}
	return lines
}

// Unreadable says what hm cannot read of what the DEAs send.
func Unreadable(u api.Unreadable) string {
	var parts []string
	if u.Entries > 0 {
		parts = append(parts, Count(u.Entries, "instance")+" left out of heartbeats")
	}
	if u.UnknownStates > 0 {
		parts = append(parts, Count(u.UnknownStates, "instance")+" in unknown states")
	}
	if u.Messages > 0 {
		parts = append(parts, Count(u.Messages, "message"))
	}
	return strings.Join(parts, ", ") + " of " + Count(u.DEAs, "DEA")
}

// Commands says how many commands wait, and how many were ever sent.
func Commands(c api.CommandsStatus) string {
	return fmt.Sprintf("%s and %s pending, %s and %s sent so far", Count(c.PendingStarts, "start"),
		Count(c.PendingStops, "stop"), Count(c.SentStarts, "start"), Count(c.SentStops, "stop"))
}

// Member says in which state a node of the cluster is.
func Member(n api.ClusterNode) Text {
	switch {
	case n.Fault != nil:
		return Say(bad(n.State + ", " + n.Fault.Kind))
	case !n.Healthy:
		return Say(bad(n.State))
	}
	return Say(n.State)
}

// mixedVersions says which versions of hm the members run; empty if it is one, as far as they have told.
func mixedVersions(nodes []api.ClusterNode) string {
	by := map[string][]string{}
	for _, n := range nodes {
		if n.Version != "" {
			by[n.Version] = append(by[n.Version], n.ID)
		}
	}
	if len(by) < 2 {
		return ""
	}
	var told []string
	for _, version := range slices.Sorted(maps.Keys(by)) {
		told = append(told, version+" ("+strings.Join(by[version], ", ")+")")
	}
	return "different versions of hm: " + strings.Join(told, "; ")
}

// MemberTroubles tells what is wrong with the nodes, a line each. asked is the node that answered: what NATS refuses to
// it is told by Status.
func MemberTroubles(nodes []api.ClusterNode, asked string) []Line {
	var lines []Line
	if text := mixedVersions(nodes); text != "" {
		lines = append(lines, whole(text))
	}
	for _, n := range nodes {
		if n.Problem != "" {
			lines = append(lines, whole(n.ID+": ", bad(n.Problem)))
		}
	}
	for _, n := range nodes {
		for line := range strings.Lines(n.NATSRefused) {
			if n.ID != asked {
				lines = append(lines, whole(n.ID+": ", bad("refused:"), " "+strings.TrimSpace(line)))
			}
		}
		if n.Fault != nil {
			lines = append(lines, whole(n.ID+": ", bad(n.Fault.Kind), ": "+n.Fault.Detail))
		}
	}
	return lines
}
