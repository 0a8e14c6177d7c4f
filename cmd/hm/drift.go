package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newDriftCommand(c *cli) *cobra.Command {
	var app, kind string
	var wantCode bool
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "List where desired and actual state differ, most urgent first",
		Long: `List where desired and actual state differ. Drift that hm acts on now comes first; the rest is
sorted by when it is due.

Exit codes: 0 success; 1 error. With --exit-code: 2 if hm acts on any of the listed drift now; 3 if
all of it is held or waiting, or the gate is closed; 0 if there is no drift.`,
		Example: `  hm drift --kind missing
  hm drift --app 3f2a1b4c -o json | jq -r '.[].detail'
  hm drift --watch --sort-by app
  hm drift --exit-code > /dev/null || echo there is drift`,
		Args: cobra.NoArgs,
	}
	r := c.reads(cmd, allFormats...)
	list := c.listFlags(cmd, "drift")
	cmd.Flags().StringVar(&app, "app", "", "only this app: a guid, or the beginning of one")
	cmd.Flags().StringVar(&kind, "kind", "", "only this kind: missing, crashed, evacuating, extra, duplicate or undesired; or foreign: what may be another cell's")
	cmd.Flags().BoolVar(&wantCode, "exit-code", false, exitCodeUsage)
	completeFlag(cmd, "app", r.completeApps)
	completeFlag(cmd, "kind", only(append(slices.Clone(words.DriftKinds), "foreign")...))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := list.get()
		if err != nil {
			return err
		}
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			pages := client.DriftPages(app, kind, o)
			due, some := false, false
			l := c.driftLister(list.wide)
			l.seen = func(d api.DriftItem) { due, some = due || d.ActedOnNow(), some || d.Kind != "foreign" }
			l.after = func() []string {
				if len(pages.Gate) == 0 {
					return nil
				}
				return []string{fmt.Sprintf("gate: %s: %s", c.paint(words.Warn, "closed"), strings.Join(pages.Gate, ", "))}
			}
			if err := printPages(ctx, c, pages, l); err != nil || !wantCode {
				return err
			}
			return codeOf(due, some || len(pages.Gate) > 0)
		})
	}
	return cmd
}

var driftHeader = []string{"kind", "action", "due", "app", "version", "index", "instance", "rule", "detail"}

func (c *cli) driftLister(wide bool) lister[api.DriftItem] {
	header := driftHeader
	if c.wide(wide) {
		header = append(header[:len(header)-1:len(header)-1], "reason", "dea", "command", "detail")
	}
	return lister[api.DriftItem]{
		header: header, none: "no drift",
		name: func(d api.DriftItem) string { return fmt.Sprintf("%s/%d", d.App, d.Index) },
		row:  func(b api.Basis, d api.DriftItem) row { return c.driftRow(b, d, wide) },
	}
}

func (c *cli) driftRow(b api.Basis, d api.DriftItem, wide bool) row {
	id := words.IDs(c.wide(wide))
	due, tone := words.DriftDue(b, d)
	r := cells(words.Piece{Tone: tone, Text: d.Kind}, d.Action, due, d.App, id(d.Version), d.Index, id(d.Instance), d.Rule)
	if c.wide(wide) {
		r = append(r, cells(d.Reason, d.DEA, d.Command)...)
	}
	return append(r, cells(d.Detail)...)
}
