package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
)

func newReadyCommand(c *cli) *cobra.Command {
	var wait time.Duration
	var alive bool
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask whether a node is ready: whether it knows a leader, has caught up, and its disk answers",
		Long: `Ask whether a node is ready: whether it knows a leader, has caught up with it, and its disk answers. The exit code is 0
if it is, else 1, with the reasons. It needs no credentials. Before you restart the next node of a cluster, wait with
--wait until the last one is ready.

With --alive it is enough that the node answers: that is for whoever restarts a node that does not. A node that waits
for its peers answers, and a restart would not help it.`,
		Example: `  hm ready --wait 2m
  hm ready --alive --addr http://127.0.0.1:5155`,
		Args: cobra.NoArgs,
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML)
	r := c.remote(cmd)
	cmd.Flags().DurationVar(&wait, "wait", 0, "ask again until the node is ready, for at most this long")
	cmd.Flags().BoolVar(&alive, "alive", false, "it is enough that the node answers")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if wait < 0 {
			return withHint(fmt.Errorf("--wait %s is negative", wait), "write --wait 2m")
		}
		return r.ask(func(client *api.Client) error {
			return c.awaitReady(cmd.Context(), client, wait, alive)
		})
	}
	return cmd
}

// readyPause is the time between two questions of --wait.
const readyPause = 250 * time.Millisecond

// awaitReady asks until the node is ready, or wait is over; at least once.
func (c *cli) awaitReady(ctx context.Context, client *api.Client, wait time.Duration, alive bool) error {
	over := time.Now().Add(wait)
	for {
		err := c.askReady(ctx, client, alive)
		if err == nil || time.Now().Add(readyPause).After(over) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(readyPause):
		}
	}
}

func (c *cli) askReady(ctx context.Context, client *api.Client, alive bool) error {
	if alive {
		if err := client.Alive(ctx); err != nil {
			return err
		}
		return c.printValue(struct {
			Alive bool `json:"alive"`
		}{true}, nil, "alive")
	}
	ready, raw, err := client.Ready(ctx)
	if err != nil {
		return err
	}
	if !ready.Ready {
		if c.forPrograms() {
			if err := c.print(answer{raw: raw}); err != nil {
				return err
			}
		}
		return withHint(fmt.Errorf("the node is not ready: %s", strings.Join(ready.Reasons, "; ")),
			"hm status says more; --wait waits until it is ready")
	}
	return c.print(answer{raw: raw, text: func() error {
		_, err := fmt.Fprintln(c.out, "ready")
		return err
	}})
}
