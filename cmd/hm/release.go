package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/reconcile"
)

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
itself; a second loss of instances during a hold sets mass-loss-2. hm holds lists the holds. Look
at hm drift before you release one: it shows what hm will do.

The beginning of a name is enough if only one hold has it. The name of a hold that hm sets stands
for itself alone: mass-loss never stands for mass-loss-2.`,
		Args: cobra.ExactArgs(1),
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML, formatName)
	r := c.remote(cmd)
	cmd.ValidArgsFunction = first(r.completeHolds)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(func(client *api.Client) error {
			name, err := releaseHold(cmd.Context(), client, args[0])
			if err != nil {
				return err
			}
			return c.printReleased(released{name, true}, "hold "+name+" is released")
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
	hasFormats(cmd, formatTable, formatJSON, formatYAML, formatName)
	r := c.remote(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return r.ask(func(client *api.Client) error {
			err := client.ReleaseHoldBy(cmd.Context(), reconcile.HoldPaused, whoAmI())
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
	return c.printValue(r, []string{r.Name}, text)
}

// releaseHold releases the hold that text names, or begins. It returns the hold's name.
func releaseHold(ctx context.Context, client *api.Client, text string) (string, error) {
	all, err := allHolds(ctx, client)
	if err != nil {
		return "", err
	}
	name, err := wholeHoldName(all, text)
	if err != nil {
		return "", err
	}
	err = client.ReleaseHoldBy(ctx, name, whoAmI())
	var p *api.Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		hint := "no hold is set at all"
		if len(all) > 0 {
			hint = "set are " + strings.Join(holdNames(all), ", ")
		}
		return "", withHint(errors.New(p.Error()), hint)
	}
	return name, err
}

func holdNames(all []api.Hold) []string {
	names := make([]string, len(all))
	for i, h := range all {
		names[i] = h.Name
	}
	return names
}

// wholeHoldName returns the name of the hold that text names, or begins. Without such a hold it returns text: the leader
// may know more than the node that was asked.
func wholeHoldName(all []api.Hold, text string) (string, error) {
	names := holdNames(all)
	if text == "" || slices.Contains(names, text) || reconcile.OwnHoldName(text) {
		return text, nil
	}
	found := slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, text) })
	switch len(found) {
	case 0:
		return text, nil
	case 1:
		return found[0], nil
	}
	return "", withHint(fmt.Errorf("more than one hold begins with %q:\n  %s", text, strings.Join(found, "\n  ")), "give more of the name")
}
