package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
)

// The exit codes that --exit-code asks for.
const (
	exitDrift exitCode = 2 // hm acts on drift now
	exitHeld  exitCode = 3 // all drift is held or waiting, or the gate is closed
)

const exitCodeUsage = "exit with 2 if hm acts on drift now, 3 if all drift is held or waiting or the gate is closed"

func newStatusCommand(c *cli) *cobra.Command {
	var wantCode bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the cluster, the gate, how fresh the record is, and how much drift there is",
		Args:  cobra.NoArgs,
	}
	r := c.remote(cmd)
	cmd.Flags().BoolVar(&wantCode, "exit-code", false, exitCodeUsage)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return r.ask(func(client *api.Client) error {
			s, raw, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if c.json() {
				err = c.printRaw(raw)
			} else {
				err = c.printStatus(s)
			}
			if err != nil || !wantCode {
				return err
			}
			return codeOf(s.Drift.Due > 0, s.Drift.Total() > 0 || s.Gate.Closed())
		})
	}
	return cmd
}

// codeOf returns the error for --exit-code, nil for 0.
func codeOf(due, other bool) error {
	switch {
	case due:
		return exitDrift
	case other:
		return exitHeld
	}
	return nil
}

func (c *cli) printStatus(s api.Status) error {
	b := s.Basis
	var out strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&out, "%-10s"+format+"\n", append([]any{name}, args...)...)
	}

	leader := "leader " + s.Cluster.Leader
	if s.Cluster.Leader == "" {
		leader = c.paint(red, "no leader")
	}
	line("node", "%s, %s, term %d", s.Node, leader, s.Cluster.Term)
	line("quorum", "%s", c.quorum(s.Cluster))
	line("gate", "%s", c.describeGate(b, s.Gate))
	for _, h := range s.Holds {
		line("hold", "%s", describeHold(b, h))
	}
	state := c.paint(red, "down")
	if s.NATS.Connected {
		state = c.paint(green, "connected") + " to " + s.NATS.Server
		if name := s.NATS.ServerName; name != "" {
			state += " (" + shortServerName(name) + ")"
		}
	}
	line("nats", "%s for %s, %s, %s%s", state, span(b, s.NATS.Since), count(s.NATS.Outages, "outage"),
		count(s.NATS.Gaps, "gap"), describeLag(s.NATS))
	if s.NATS.Error != "" {
		line("", "%s %s", c.paint(yellow, "newest attempt failed:"), s.NATS.Error)
	}
	for _, r := range s.NATS.Refused {
		line("", "%s %s %s for %s, %s, last %s: %s", c.paint(red, "refused:"), r.Action, r.Subject, span(b, r.Since),
			count(r.Count, "time"), ago(b, r.Last), r.Error)
	}
	line("desired", "%s, %s, %s, read %s%s", c.fresh(s.Desired.Fresh), count(s.Desired.Apps, "app"),
		count(s.Desired.Instances, "instance"),
		ago(b, s.Desired.SyncedAt), from(s.Desired.Source))
	if s.Desired.Error != "" {
		line("", "%s %s", c.paint(yellow, "newest read failed:"), s.Desired.Error)
	}
	gone := ""
	if s.Actual.GoneDEAs > 0 {
		gone = fmt.Sprintf(" (%d gone)", s.Actual.GoneDEAs)
	}
	line("actual", "%s, %s%s, %s: %d running, %d starting, %d crashed, %d evacuating", c.fresh(s.Actual.Fresh),
		count(s.Actual.DEAs, "DEA"), gone,
		count(s.Actual.Instances, "instance"), s.Actual.Running, s.Actual.Starting, s.Actual.Crashed, s.Actual.Evacuating)
	if s.Actual.MissedDEAs > 0 {
		line("", "%s", c.paint(yellow,
			count(s.Actual.MissedDEAs, "DEA")+" that this node does not hear and another does: kept on record"))
	}
	if u := s.Actual.Unreadable; u.DEAs > 0 {
		line("", "%s %s (hm deas shows which)", c.paint(yellow, "cannot be read:"), describeUnreadable(u))
	}
	if n := s.Actual.DoubledIDs; n > 0 {
		line("", "%s %s", c.paint(red, "two DEAs use one id:"), andMore(s.Actual.Doubled, n))
	}
	line("drift", "%s", c.describeDrift(s.Drift))
	line("commands", "%s and %s pending, %s and %s sent so far", count(s.Commands.PendingStarts, "start"),
		count(s.Commands.PendingStops, "stop"),
		count(s.Commands.SentStarts, "start"), count(s.Commands.SentStops, "stop"))
	line("queue", "%s", c.describeQueue(b, s.Queue))
	if d := s.Queue.Draining; d != nil {
		line("", "%s", describeDraining(b, *d))
	}
	if _, err := fmt.Fprintln(c.out, out.String()); err != nil {
		return err
	}
	if err := c.printNodes(s.Cluster.Nodes); err != nil {
		return err
	}
	for _, n := range s.Cluster.Nodes {
		for line := range strings.Lines(n.NATSRefused) {
			if n.ID != s.Node { // its own are printed above
				if _, err := fmt.Fprintf(c.out, "%s: %s %s\n", n.ID, c.paint(red, "refused:"),
					strings.TrimSpace(line)); err != nil {
					return err
				}
			}
		}
		if n.Fault != nil {
			if _, err := fmt.Fprintf(c.out, "%s: %s: %s\n", n.ID, c.paint(red, n.Fault.Kind), n.Fault.Detail); err != nil {
				return err
			}
		}
	}
	return c.printBasis(b)
}

// describeLag returns how late messages arrive on the link, if it is up.
// shortServerName shortens the 56 characters that a NATS server without a name calls itself by.
func shortServerName(name string) string {
	if len(name) <= 40 {
		return name
	}
	return name[:8] + "..."
}

func describeLag(n api.NATS) string {
	switch {
	case n.LagRefused != "":
		return ", lag not known: " + n.LagRefused
	case n.Lag == nil:
		return ""
	}
	return ", lag " + time.Duration(*n.Lag*float64(time.Second)).Round(time.Millisecond).String()
}

// describeUnreadable returns what hm cannot read of what the DEAs send.
func describeUnreadable(u api.Unreadable) string {
	var parts []string
	if u.Entries > 0 {
		parts = append(parts, count(u.Entries, "instance")+" left out of heartbeats")
	}
	if u.UnknownStates > 0 {
		parts = append(parts, count(u.UnknownStates, "instance")+" in unknown states")
	}
	if u.Messages > 0 {
		parts = append(parts, count(u.Messages, "message"))
	}
	return strings.Join(parts, ", ") + " of " + count(u.DEAs, "DEA")
}

// andMore lists the first of n names.
func andMore(names []string, n int) string {
	text := strings.Join(names, ", ")
	if more := n - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func from(source string) string {
	if source == "" {
		return ""
	}
	return " from " + source
}

func (c *cli) fresh(fresh bool) string {
	if fresh {
		return c.paint(green, "fresh")
	}
	return c.paint(yellow, "stale")
}

// quorum returns how many more voters may fail, or that too many have failed.
func (c *cli) quorum(cl api.Cluster) string {
	voters, healthy, need := cl.Quorum()
	text := fmt.Sprintf("%d of %s healthy", healthy, count(voters, "voter"))
	if healthy < need {
		return c.paint(red, text+fmt.Sprintf(", %d are needed: nothing is decided until more of them are back", need))
	}
	return fmt.Sprintf("%s, %d more may fail", text, healthy-need)
}

func (c *cli) describeDrift(d api.DriftCounts) string {
	if d.Total() == 0 {
		return c.paint(green, "none")
	}
	var parts []string
	for _, k := range []struct {
		n    int
		name string
	}{{d.Missing, "missing"}, {d.Crashed, "crashed"}, {d.Evacuating, "evacuating"}, {d.Extra, "extra"},
		{d.Duplicate, "duplicate"}, {d.Undesired, "undesired"}} {
		if k.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", k.n, k.name))
		}
	}
	total := c.paint(yellow, fmt.Sprintf("%d", d.Total()))
	return fmt.Sprintf("%s: %s; %d acted on now", total, strings.Join(parts, ", "), d.Due)
}

func (c *cli) printNodes(nodes []api.ClusterNode) error {
	var rows [][]string
	for _, n := range nodes {
		voter, nats, applied, hears := "voter", "", "", ""
		if !n.Voter {
			voter = "non-voter"
		}
		if n.NATS != nil {
			nats = map[bool]string{true: "up", false: c.paint(red, "down")}[*n.NATS]
		}
		if n.AppliedIndex != nil {
			applied = strconv.FormatUint(*n.AppliedIndex, 10)
		}
		if n.Hears != nil {
			hears = count(*n.Hears, "DEA")
		}
		state := n.State
		if n.Fault != nil {
			state = c.paint(red, state+", "+n.Fault.Kind)
		} else if !n.Healthy {
			state = c.paint(red, state)
		}
		rows = append(rows, []string{n.ID, n.Address, state, voter, nats, hears, applied, n.Version})
	}
	header := []string{"node", "address", "state", "vote", "nats", "hears", "applied", "version"}
	if err := printTable(c.out, header, rows); err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Problem != "" {
			if _, err := fmt.Fprintf(c.out, "%s: %s\n", n.ID, c.paint(red, n.Problem)); err != nil {
				return err
			}
		}
	}
	return nil
}
