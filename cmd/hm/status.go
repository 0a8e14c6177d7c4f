package main

import (
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
	if err := c.printLines(append(words.Status(s), words.Line{Whole: true})); err != nil {
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
	var rows [][]string
	for _, n := range nodes {
		voter, nats, applied, hears := "voter", "", "", ""
		if !n.Voter {
			voter = "non-voter"
		}
		if n.NATS != nil {
			nats = map[bool]string{true: "up", false: c.paint(words.Bad, "down")}[*n.NATS]
		}
		if n.AppliedIndex != nil {
			applied = strconv.FormatUint(*n.AppliedIndex, 10)
		}
		if n.Hears != nil {
			hears = words.Count(*n.Hears, "DEA")
		}
		rows = append(rows, []string{n.ID, n.Address, words.Member(n).Paint(c.paint), voter, nats, hears, applied, n.Version})
	}
	header := []string{"node", "address", "state", "vote", "nats", "hears", "applied", "version"}
	return printTable(c.out, header, rows)
}
