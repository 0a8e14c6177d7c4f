package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newHoldsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "holds",
		Short: "List the holds: what keeps hm from sending commands, until when, who set it and why",
		Args:  cobra.NoArgs,
	}
	r := c.reads(cmd, allFormats...)
	list := c.listFlags(cmd, "holds")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := list.get()
		if err != nil {
			return err
		}
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			return printPages(ctx, c, client.HoldPages(o), lister[api.Hold]{
				header: []string{"name", "set", "until", "stop limit", "by", "reason"}, none: "no hold is set",
				name: func(h api.Hold) string { return h.Name }, row: holdRow,
			})
		})
	}
	return cmd
}

func holdRow(b api.Basis, h api.Hold) row {
	until, limit := "released", ""
	if !h.Until.IsZero() {
		until = h.Until.Format(time.RFC3339) + " (" + words.When(b, h.Until) + ")"
	}
	if h.StopLimit > 0 {
		limit = words.Count(h.StopLimit, "stop") + " in a heartbeat"
	}
	return cells(h.Name, words.Ago(b, h.SetAt), until, limit, h.By, h.Reason)
}

// allHolds returns every hold.
func allHolds(ctx context.Context, client *api.Client) ([]api.Hold, error) {
	var all []api.Hold
	for h, err := range client.HoldPages(api.ListOptions{}).All(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}
