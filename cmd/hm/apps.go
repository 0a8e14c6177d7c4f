package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newAppsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apps",
		Short: "List the apps that are desired or running",
		Example: `  hm apps --filter 'drift=missing,running=0'
  hm apps --sort-by -crashes --limit 20
  hm apps -o name --filter 'desired=STARTED' | wc -l`,
		Args: cobra.NoArgs,
	}
	r := c.reads(cmd, allFormats...)
	list := c.listFlags(cmd, "apps")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := list.get()
		if err != nil {
			return err
		}
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			return printPages(ctx, c, client.AppPages(o), c.appLister(list.wide))
		})
	}
	return cmd
}

func (c *cli) appLister(wide bool) lister[api.AppItem] {
	id := words.IDs(c.wide(wide))
	header := []string{"app", "version", "state", "package", "desired", "running", "starting", "crashed", "evacuating", "drift"}
	if c.wide(wide) {
		header = append(header, "stopping", "unknown", "crashes", "verdict")
	}
	return lister[api.AppItem]{
		header: header,
		name:   func(a api.AppItem) string { return a.App },
		row: func(_ api.Basis, a api.AppItem) row {
			state, pack, desired := "-", "-", "-"
			if d := a.Desired; d != nil {
				state, pack, desired = d.State, d.PackageState, strconv.FormatUint(uint64(d.Instances), 10)
			}
			n := a.Instances
			r := cells(a.App, id(a.Version), state, pack, desired, strconv.Itoa(n.Running), nonZero(n.Starting),
				nonZero(n.Crashed), nonZero(n.Evacuating), words.Piece{Tone: words.Warn, Text: nonZero(a.Drift)})
			if c.wide(wide) {
				r = append(r, cells(nonZero(n.Stopping), nonZero(n.Unknown), nonZero(int(a.Crashes)), a.Verdict)...)
			}
			return r
		},
	}
}

func nonZero(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
