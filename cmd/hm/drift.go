package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newDriftCommand(c *cli) *cobra.Command {
	var app, kind string
	var wantCode, wide bool
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "List where desired and actual state differ, most urgent first",
		Long: `List where desired and actual state differ. Drift that hm acts on now comes first; the rest is
sorted by when it is due.

Exit codes: 0 success; 1 error. With --exit-code: 2 if hm acts on any of the listed drift now; 3 if
all of it is held or waiting, or the gate is closed; 0 if there is no drift.`,
		Example: `  hm drift --kind missing
  hm drift --app 3f2a1b4c -o json | jq -r '.[].detail'
  hm drift --exit-code > /dev/null || echo there is drift`,
		Args: cobra.NoArgs,
	}
	r := c.remote(cmd)
	limit := c.limitFlag(cmd)
	cmd.Flags().StringVar(&app, "app", "", "only this app: a guid, or the beginning of one")
	cmd.Flags().StringVar(&kind, "kind", "", "only this kind: missing, crashed, evacuating, extra, duplicate or undesired")
	cmd.Flags().BoolVar(&wantCode, "exit-code", false, exitCodeUsage)
	cmd.Flags().BoolVar(&wide, "wide", false, "show every id in full")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := limit()
		if err != nil {
			return err
		}
		return r.ask(func(client *api.Client) error {
			l, err := client.Drift(cmd.Context(), app, kind, n)
			if err != nil {
				return err
			}
			if c.json() {
				err = printList(c, l.Items)
			} else {
				err = c.printDrift(l, wide)
			}
			if err != nil || !wantCode {
				return err
			}
			due := slices.ContainsFunc(l.Items, api.DriftItem.ActedOnNow)
			return codeOf(due, len(l.Items) > 0 || len(l.Gate) > 0)
		})
	}
	return cmd
}

func (c *cli) printDrift(l api.Listing[api.DriftItem], wide bool) error {
	if len(l.Items) == 0 {
		if _, err := fmt.Fprintln(c.out, "no drift"); err != nil {
			return err
		}
	}
	if err := printTable(c.out, driftHeader, c.driftRows(l.Basis, l.Items, wide)); err != nil {
		return err
	}
	if err := printMore(c, l); err != nil {
		return err
	}
	if len(l.Gate) > 0 {
		if _, err := fmt.Fprintf(c.out, "gate: %s: %s\n", c.paint(words.Warn, "closed"), strings.Join(l.Gate, ", ")); err != nil {
			return err
		}
	}
	return c.printBasis(l.Basis)
}

var driftHeader = []string{"kind", "action", "due", "app", "version", "index", "instance", "rule", "detail"}

func (c *cli) driftRows(b api.Basis, items []api.DriftItem, wide bool) [][]string {
	id := words.IDs(wide)
	var rows [][]string
	for _, d := range items {
		due, tone := words.DriftDue(b, d)
		rows = append(rows, []string{
			c.paint(tone, d.Kind), d.Action, due, d.App, id(d.Version), strconv.FormatUint(uint64(d.Index), 10), id(d.Instance), d.Rule, d.Detail,
		})
	}
	return rows
}
