package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newDEAsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "deas",
		Short:   "List the DEAs",
		Example: "  hm deas --sort-by -instances\n  hm deas --filter 'silent>20s'",
		Args:    cobra.NoArgs,
	}
	r := c.reads(cmd, allFormats...)
	list := c.listFlags(cmd, "deas")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := list.get()
		if err != nil {
			return err
		}
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			return printPages(ctx, c, client.DEAPages(o), lister[api.DEA]{
				header: deaHeader, row: deaRow, name: func(d api.DEA) string { return d.DEA },
			})
		})
	}
	return cmd
}

var deaHeader = []string{"dea", "instances", "heard", "changed", "known for", "gone", "trouble"}

func deaRow(b api.Basis, d api.DEA) row {
	gone := ""
	if !d.GoneAt.IsZero() {
		gone = words.Ago(b, d.GoneAt)
	}
	return cells(d.DEA, d.Count, words.Heard(b, d), words.Ago(b, d.ChangedAt), words.Span(b, d.FirstSeen),
		words.Piece{Tone: words.Bad, Text: gone},
		words.Piece{Tone: words.Warn, Text: strings.Join(words.Troubles(b, d), "; ")})
}

func newDEACommand(c *cli) *cobra.Command {
	var wide bool
	cmd := &cobra.Command{
		Use:   "dea ID",
		Short: "Show a DEA and its instances",
		Long:  "Show a DEA and its instances. The beginning of an id is enough if only one DEA has it.",
		Args:  cobra.ExactArgs(1),
	}
	r := c.reads(cmd, allFormats...)
	cmd.ValidArgsFunction = first(r.completeDEAs)
	cmd.Flags().BoolVar(&wide, "wide", false, "show every id in full, as -o wide does")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			d, raw, err := client.DEA(ctx, args[0])
			if err != nil {
				return err
			}
			return c.print(answer{raw: raw, names: []string{d.DEA}, text: func() error { return c.printDEA(d, wide) }})
		})
	}
	return cmd
}

func (c *cli) printDEA(d api.DEA, wide bool) error {
	b, id := *d.Basis, words.IDs(c.wide(wide))
	if err := c.printTable(deaHeader, []row{deaRow(b, d)}); err != nil {
		return err
	}
	if d.Unreadable != nil {
		if _, err := fmt.Fprintf(c.out, "\nwhy        %s\n", c.paint(words.Warn, d.Unreadable.Why)); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(c.out); err != nil {
		return err
	}
	var rows []row
	for _, i := range d.Instances {
		rows = append(rows, cells(i.App, id(i.Version), i.Index, id(i.Instance), stateCell(i.State), words.Ago(b, i.Since)))
	}
	if err := c.printTable([]string{"app", "version", "index", "instance", "state", "since"}, rows); err != nil {
		return err
	}
	return c.printBasis(b)
}
