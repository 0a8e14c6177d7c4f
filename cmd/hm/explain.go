package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newExplainCommand(c *cli) *cobra.Command {
	var all, wide bool
	cmd := &cobra.Command{
		Use:   "explain APP[/INDEX]",
		Short: "Explain what hm does about an app, or why it does nothing",
		Long: `Explain what hm does about an app, or why it does nothing. For each index it shows what is desired,
which instances are recorded, which rule decides, what a command waits for and until when, and
whether the gate holds it. It leaves out indices that are as desired, unless --all or an index is
given.

` + guidHelp,
		Example: "  hm explain 3f2a1b4c\n  hm explain 3f2a1b4c/2\n  hm explain --index 3 -- -odd/1",
	}
	named := targetFlag(cmd)
	r := c.reads(cmd, allFormats...)
	cmd.ValidArgsFunction = first(r.completeApps)
	cmd.Flags().BoolVar(&all, "all", false, "also show the indices that are as desired")
	cmd.Flags().BoolVar(&wide, "wide", false, "show every id in full, and explain the reasons of a closed gate, as -o wide does")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			t, err := named(args)
			if err != nil {
				return err
			}
			e, raw, err := client.Explain(ctx, t.GUID, t.Index)
			if err != nil {
				return t.Explain(err)
			}
			return c.print(answer{raw: raw, names: explainedNames(e), text: func() error {
				lines := words.Explanation(e, words.ExplainOptions{
					Index: t.Index, All: all, ID: words.IDs(c.wide(wide)), Reasons: c.wide(wide),
				})
				if err := c.printLines(lines); err != nil {
					return err
				}
				return c.printBasis(e.Basis)
			}})
		})
	}
	return cmd
}

// explainedNames names the indices that are not as desired, as an argument of hm explain.
func explainedNames(e api.Explanation) []string {
	var names []string
	for _, v := range e.Versions {
		for _, x := range v.Indices {
			if !x.AsDesired() {
				names = append(names, fmt.Sprintf("%s/%d", e.App, x.Index))
			}
		}
	}
	return slices.Compact(names)
}
