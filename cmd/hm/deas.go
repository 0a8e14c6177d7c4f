package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newDEAsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deas",
		Short: "List the DEAs",
		Args:  cobra.NoArgs,
	}
	r := c.remote(cmd)
	limit := c.limitFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := limit()
		if err != nil {
			return err
		}
		return r.ask(func(client *api.Client) error {
			l, err := client.DEAs(cmd.Context(), n)
			if err != nil {
				return err
			}
			if c.json() {
				return printList(c, l.Items)
			}
			var rows [][]string
			for _, d := range l.Items {
				rows = append(rows, c.deaRow(l.Basis, d))
			}
			if err := printTable(c.out, deaHeader, rows); err != nil {
				return err
			}
			if err := printMore(c, l); err != nil {
				return err
			}
			return c.printBasis(l.Basis)
		})
	}
	return cmd
}

var deaHeader = []string{"dea", "instances", "heard", "changed", "known for", "gone", "trouble"}

func (c *cli) deaRow(b api.Basis, d api.DEA) []string {
	gone := ""
	if !d.GoneAt.IsZero() {
		gone = c.paint(words.Bad, words.Ago(b, d.GoneAt))
	}
	return []string{d.DEA, strconv.Itoa(d.Count), words.Ago(b, d.LastHeard), words.Ago(b, d.ChangedAt), words.Span(b, d.FirstSeen), gone,
		c.paint(words.Warn, strings.Join(words.Troubles(b, d), "; "))}
}

func newDEACommand(c *cli) *cobra.Command {
	var wide bool
	cmd := &cobra.Command{
		Use:   "dea ID",
		Short: "Show a DEA and its instances",
		Long:  "Show a DEA and its instances. The beginning of an id is enough if only one DEA has it.",
		Args:  cobra.ExactArgs(1),
	}
	r := c.remote(cmd)
	cmd.Flags().BoolVar(&wide, "wide", false, "show every id in full")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(func(client *api.Client) error {
			d, raw, err := client.DEA(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json() {
				return c.printRaw(raw)
			}
			b := *d.Basis
			if err := printTable(c.out, deaHeader, [][]string{c.deaRow(b, d)}); err != nil {
				return err
			}
			if d.Unreadable != nil {
				if _, err := fmt.Fprintf(c.out, "\nwhy        %s\n", c.paint(words.Warn, d.Unreadable.Why)); err != nil {
					return err
				}
			}
			var rows [][]string
			for _, i := range d.Instances {
				rows = append(rows, []string{i.App, words.IDs(wide)(i.Version), strconv.FormatUint(uint64(i.Index), 10),
					words.IDs(wide)(i.Instance), c.state(i.State), words.Ago(b, i.Since)})
			}
			if _, err := fmt.Fprintln(c.out); err != nil {
				return err
			}
			if err := printTable(c.out, []string{"app", "version", "index", "instance", "state", "since"}, rows); err != nil {
				return err
			}
			return c.printBasis(b)
		})
	}
	return cmd
}
