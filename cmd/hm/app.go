package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newAppCommand(c *cli) *cobra.Command {
	var wide bool
	cmd := &cobra.Command{
		Use:   "app GUID[/INDEX]",
		Short: "Show the record of an app: desired state, instances, crashes, commands",
		Long:  "Show the record of an app: desired state, instances, crashes and commands.\n\n" + guidHelp,
	}
	named := targetFlag(cmd)
	r := c.reads(cmd, allFormats...)
	cmd.ValidArgsFunction = first(r.completeApps)
	cmd.Flags().BoolVar(&wide, "wide", false, "show every id in full, as -o wide does")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			t, err := named(args)
			if err != nil {
				return err
			}
			a, raw, err := client.App(ctx, t.GUID, t.Index)
			if err != nil {
				return t.Explain(err)
			}
			return c.print(answer{raw: raw, names: []string{a.App}, text: func() error {
				for _, v := range a.Versions {
					if err := c.printAppVersion(a, v, wide); err != nil {
						return err
					}
				}
				return c.printBasis(a.Basis)
			}})
		})
	}
	return cmd
}

func (c *cli) printAppVersion(a api.App, v api.AppVersion, wide bool) error {
	id := words.IDs(c.wide(wide))
	if _, err := fmt.Fprintf(c.out, "app       %s\nversion   %s\ndesired   %s\n", a.App, v.Version,
		words.Desired(v.Desired, "")); err != nil {
		return err
	}
	var instances, crashes, outstanding, drift []row
	for _, i := range v.Instances {
		instances = append(instances, cells(i.Index, id(i.Instance), stateCell(i.State), i.DEA, words.Ago(a.Basis, i.Since),
			words.Ago(a.Basis, i.LastHeard)))
	}
	for _, r := range v.Crashes {
		crashes = append(crashes, cells(r.Index, words.Crash(a.Basis, r)))
	}
	for _, x := range v.Commands {
		x.App, x.Version = "", ""
		outstanding = append(outstanding, c.commandRow(a.Basis, x, wide))
	}
	for _, d := range v.Drift {
		drift = append(drift, c.driftRow(a.Basis, d, wide))
	}
	for _, part := range []struct {
		header []string
		rows   []row
	}{
		{[]string{"index", "instance", "state", "dea", "since", "heard"}, instances},
		{[]string{"index", "crashes"}, crashes},
		{c.commandLister(wide).header, outstanding},
		{c.driftLister(wide).header, drift},
	} {
		if len(part.rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(c.out); err != nil {
			return err
		}
		if err := c.printTable(part.header, part.rows); err != nil {
			return err
		}
	}
	more := ""
	if v.Truncated {
		more = "there is more: hm app GUID/INDEX shows one index\n"
	}
	_, err := fmt.Fprintln(c.out, more)
	return err
}

// stateCell shows an instance's state.
func stateCell(s string) words.Piece { return words.Piece{Tone: words.StateTone(s), Text: s} }
