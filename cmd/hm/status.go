package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
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
	r := c.reads(cmd, allFormats...)
	cmd.Flags().BoolVar(&wantCode, "exit-code", false, exitCodeUsage)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			s, raw, err := client.Status(ctx)
			if err != nil {
				return err
			}
			var nodes []string
			for _, n := range s.Cluster.Nodes {
				nodes = append(nodes, n.ID)
			}
			err = c.print(answer{raw: raw, names: nodes, text: func() error { return c.printStatus(s) }})
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
	lines := words.Status(s)
	if c.wide(false) {
		lines = append(lines, words.ReasonLines(s.Gate)...)
	}
	if err := c.printLines(append(lines, words.Line{Whole: true})); err != nil {
		return err
	}
	if err := c.printNodes(s.Cluster.Nodes); err != nil {
		return err
	}
	if err := c.printLines(words.MemberTroubles(s.Cluster.Nodes, s.Node)); err != nil {
		return err
	}
	return c.printBasis(s.Basis)
}

func (c *cli) printNodes(nodes []api.ClusterNode) error {
	var rows []row
	for _, n := range nodes {
		voter, nats, applied, hears := "voter", words.Piece{}, "", ""
		if !n.Voter {
			voter = "non-voter"
		}
		if n.NATS != nil {
			nats = map[bool]words.Piece{true: {Text: "up"}, false: {Tone: words.Bad, Text: "down"}}[*n.NATS]
		}
		if n.AppliedIndex != nil {
			applied = strconv.FormatUint(*n.AppliedIndex, 10)
		}
		if n.Hears != nil {
			hears = words.Count(*n.Hears, "DEA")
		}
		r := cells(n.ID, n.Address, words.Member(n), voter, nats, hears, applied, n.Version)
		if c.wide(false) {
			r = append(r, cells(n.API, n.Gate)...)
		}
		rows = append(rows, r)
	}
	header := []string{"node", "address", "state", "vote", "nats", "hears", "applied", "version"}
	if c.wide(false) {
		header = append(header, "api", "gate")
	}
	return c.printTable(header, rows)
}
