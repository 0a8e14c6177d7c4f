package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newAppsCommand(c *cli) *cobra.Command {
	var wide bool
	cmd := &cobra.Command{
		Use:   "apps",
		Short: "List the apps that are desired or running",
		Args:  cobra.NoArgs,
	}
	r := c.remote(cmd)
	limit := c.limitFlag(cmd)
	cmd.Flags().BoolVar(&wide, "wide", false, "show every id in full")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := limit()
		if err != nil {
			return err
		}
		return r.ask(func(client *api.Client) error {
			l, err := client.Apps(cmd.Context(), n)
			if err != nil {
				return err
			}
			if c.json() {
				return printList(c, l.Items)
			}
			var rows [][]string
			for _, a := range l.Items {
				drift := ""
				if a.Drift > 0 {
					drift = c.paint(words.Warn, strconv.Itoa(a.Drift))
				}
				rows = append(rows, append([]string{a.App, words.IDs(wide)(a.Version)},
					append(desiredCells(a.Desired), strconv.Itoa(a.Instances.Running),
						nonZero(a.Instances.Starting), nonZero(a.Instances.Crashed), nonZero(a.Instances.Evacuating), drift)...))
			}
			header := []string{"app", "version", "state", "package", "desired", "running", "starting", "crashed", "evacuating",
				"drift"}
			if err := printTable(c.out, header, rows); err != nil {
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

func desiredCells(d *api.Desired) []string {
	if d == nil {
		return []string{"-", "-", "-"}
	}
	return []string{d.State, d.PackageState, strconv.FormatUint(uint64(d.Instances), 10)}
}

func nonZero(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func newAppCommand(c *cli) *cobra.Command {
	var wide bool
	cmd := &cobra.Command{
		Use:   "app GUID[/INDEX]",
		Short: "Show the record of an app: desired state, instances, crashes, commands",
		Long:  "Show the record of an app: desired state, instances, crashes and commands.\n\n" + guidHelp,
	}
	named := targetFlag(cmd)
	r := c.remote(cmd)
	cmd.Flags().BoolVar(&wide, "wide", false, "show every id in full")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(func(client *api.Client) error {
			t, err := named(args)
			if err != nil {
				return err
			}
			a, raw, err := client.App(cmd.Context(), t.GUID, t.Index)
			if err != nil {
				return t.Explain(err)
			}
			if c.json() {
				return c.printRaw(raw)
			}
			for _, v := range a.Versions {
				if err := c.printAppVersion(a, v, wide); err != nil {
					return err
				}
			}
			return c.printBasis(a.Basis)
		})
	}
	return cmd
}

func (c *cli) printAppVersion(a api.App, v api.AppVersion, wide bool) error {
	id := words.IDs(wide)
	if _, err := fmt.Fprintf(c.out, "app       %s\nversion   %s\ndesired   %s\n", a.App, v.Version,
		words.Desired(v.Desired, "")); err != nil {
		return err
	}
	var instances [][]string
	for _, i := range v.Instances {
		instances = append(instances, []string{strconv.FormatUint(uint64(i.Index), 10), id(i.Instance), c.state(i.State),
			i.DEA, words.Ago(a.Basis, i.Since), words.Ago(a.Basis, i.LastHeard)})
	}
	var crashes [][]string
	for _, r := range v.Crashes {
		crashes = append(crashes, []string{strconv.FormatUint(uint64(r.Index), 10), words.Crash(a.Basis, r)})
	}
	for _, part := range []struct {
		header []string
		rows   [][]string
	}{
		{[]string{"index", "instance", "state", "dea", "since", "heard"}, instances},
		{[]string{"index", "crashes"}, crashes},
		{commandHeader, c.commandRows(a.Basis, v.Commands, wide, true)},
		{driftHeader, c.driftRows(a.Basis, v.Drift, wide)},
	} {
		if len(part.rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(c.out); err != nil {
			return err
		}
		if err := printTable(c.out, part.header, part.rows); err != nil {
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

// state returns an instance's state, coloured.
func (c *cli) state(s string) string { return c.paint(words.StateTone(s), s) }
