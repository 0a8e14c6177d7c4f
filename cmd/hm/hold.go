package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
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
	r := c.remote(cmd)
	f := cmd.Flags()
	f.StringVar(&reason, "reason", "", "the reason; hm status shows it")
	f.StringVar(&by, "by", "", "who sets it (default: $USER at this host)")
	f.DurationVar(&length, "for", 0, "for how long, like 30m or 2h (default: until it is released)")
	f.StringVar(&until, "until", "", "until when, like 2026-01-31T12:00:00Z")
	return func(cmd *cobra.Command, name string) error {
		req := api.HoldRequest{Name: name, Reason: reason, By: cmp.Or(by, whoAmI()), Minutes: length.Minutes()}
		if length < 0 || length == 0 && cmd.Flags().Changed("for") {
			return fmt.Errorf("--for %s: want more than 0s", length)
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
			if c.json() {
				return c.printRaw(raw)
			}
			_, err = fmt.Fprintf(c.out, "hm sends no commands: %s\n", words.Hold(api.Basis{At: h.SetAt}, h))
			return err
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

// released is what hm release and hm resume print as JSON.
type released struct {
	Name     string `json:"name"`
	Released bool   `json:"released"` // false: it was not set
}

func newReleaseCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release NAME",
		Short: "Release a hold that you or hm set",
		Long: `Release a hold that you or hm set. hm sets the holds desired-shrink, mass-loss and first-picture
itself; a second loss of instances during a hold sets mass-loss-2. hm status lists the holds. Look
at hm drift before you release one: it shows what hm will do.`,
		Args: cobra.ExactArgs(1),
	}
	r := c.remote(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(func(client *api.Client) error {
			if err := client.ReleaseHold(cmd.Context(), args[0]); err != nil {
				return err
			}
			return c.printReleased(released{args[0], true}, "hold "+args[0]+" is released")
		})
	}
	return cmd
}

func newResumeCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Let hm send commands again after hm pause",
		Args:  cobra.NoArgs,
	}
	r := c.remote(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return r.ask(func(client *api.Client) error {
			err := client.ReleaseHold(cmd.Context(), reconcile.HoldPaused)
			var p *api.Problem
			if errors.As(err, &p) && p.Status == http.StatusNotFound {
				return c.printReleased(released{reconcile.HoldPaused, false}, "hm was not paused")
			}
			if err != nil {
				return err
			}
			return c.printReleased(released{reconcile.HoldPaused, true}, "hm is no longer paused")
		})
	}
	return cmd
}

func (c *cli) printReleased(r released, text string) error {
	if c.json() {
		return c.printJSON(r)
	}
	_, err := fmt.Fprintln(c.out, text)
	return err
}
