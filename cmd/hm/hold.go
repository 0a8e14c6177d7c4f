package main

import (
	"cmp"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/reconcile"
	"hm/internal/words"
)

func newHoldCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hold NAME",
		Short: "Keep hm from sending commands, with a hold that you name",
		Long: `Keep hm from sending commands until the hold is released or expires. hm still records and shows the
drift. A new hold replaces one of the same name. Several holds can be set; hm sends commands again
when all of them are gone.`,
		Example: "  hm hold network-work --for 2h --reason 'switches are being replaced'",
		Args:    cobra.ExactArgs(1),
	}
	set := c.setHold(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return set(cmd, args[0]) }
	return cmd
}

func newPauseCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pause",
		Short:   "Keep hm from sending commands until hm resume",
		Example: "  hm pause --for 30m --reason 'upgrading the DEAs'",
		Args:    cobra.NoArgs,
	}
	set := c.setHold(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return set(cmd, reconcile.HoldPaused) }
	return cmd
}

// setHold adds the flags of a hold to cmd. The function that it returns sets the hold.
func (c *cli) setHold(cmd *cobra.Command) func(cmd *cobra.Command, name string) error {
	var reason, by, until string
	var length time.Duration
	hasFormats(cmd, formatTable, formatJSON, formatYAML, formatName)
	r := c.remote(cmd)
	f := cmd.Flags()
	f.StringVar(&reason, "reason", "", "the reason; hm status shows it")
	f.StringVar(&by, "by", "", "who sets it (default: $USER at this host)")
	f.DurationVar(&length, "for", 0, "for how long, like 30m or 2h (default: until it is released)")
	f.StringVar(&until, "until", "", "until when, like 2026-01-31T12:00:00Z")
	return func(cmd *cobra.Command, name string) error {
		req := api.HoldRequest{Name: name, Reason: reason, By: cmp.Or(by, whoAmI()), Minutes: length.Minutes()}
		if length < 0 || length == 0 && cmd.Flags().Changed("for") {
			return withHint(fmt.Errorf("--for %s: want more than 0s", length), "leave it out for a hold without an end")
		}
		if until != "" {
			at, err := time.Parse(time.RFC3339, until)
			if err != nil {
				return withHint(fmt.Errorf("--until %q is not a time", until), "write it like 2026-01-31T12:00:00Z")
			}
			req.Until = &api.Timestamp{Time: at}
		}
		return r.ask(func(client *api.Client) error {
			h, raw, err := client.SetHold(cmd.Context(), req)
			if err != nil {
				return err
			}
			return c.print(answer{raw: raw, names: []string{h.Name}, text: func() error {
				_, err := fmt.Fprintf(c.out, "hm sends no commands: %s\n", words.Hold(api.Basis{At: h.SetAt}, h))
				return err
			}})
		})
	}
}

func whoAmI() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	if user := os.Getenv("USER"); user != "" {
		return user + "@" + host
	}
	return host
}
