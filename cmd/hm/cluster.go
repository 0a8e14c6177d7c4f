package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newClusterCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Show and change the members of the cluster",
		Long: `Show and change the members of the cluster. The record names the members; raft.peers of the
configuration only founds a cluster.`,
	}
	cmd.AddCommand(newClusterStatusCommand(c), newClusterAddCommand(c), newClusterRemoveCommand(c), newClusterTransferCommand(c), newClusterRecoverCommand(c))
	return cmd
}

func newClusterStatusCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the members, how far each is behind, and how many the cluster can lose",
		Args:  cobra.NoArgs,
	}
	r := c.reads(cmd, allFormats...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			s, raw, err := client.Cluster(ctx)
			if err != nil {
				return err
			}
			var names []string
			for _, m := range s.Members {
				names = append(names, m.ID)
			}
			return c.print(answer{raw: raw, names: names, text: func() error { return c.printCluster(s) }})
		})
	}
	return cmd
}

func (c *cli) printCluster(s api.ClusterStatus) error {
	if !c.noHeaders {
		if err := c.printLines(words.ClusterLines(s)); err != nil {
			return err
		}
	}
	var rows []row
	for _, m := range s.Members {
		vote, behind, contact := "voter", "", ""
		switch {
		case m.Joining:
			vote = "joining"
		case !m.Voter:
			vote = "non-voter"
		}
		if m.Behind != nil {
			behind = strconv.FormatUint(*m.Behind, 10)
		}
		if m.LastContact != nil {
			contact = (time.Duration(*m.LastContact) * time.Millisecond).Round(10 * time.Millisecond).String()
		}
		rows = append(rows, cells(m.ID, m.Address, words.Member(m.ClusterNode), vote, behind, contact, m.Version))
	}
	if err := c.printTable([]string{"node", "address", "state", "vote", "behind", "heard", "version"}, rows); err != nil {
		return err
	}
	if c.noHeaders {
		return nil
	}
	nodes := make([]api.ClusterNode, len(s.Members))
	for i, m := range s.Members {
		nodes[i] = m.ClusterNode
	}
	if err := c.printLines(words.MemberTroubles(nodes, s.Node)); err != nil {
		return err
	}
	if err := c.printWarnings(s.Warnings); err != nil {
		return err
	}
	return c.printBasis(s.Basis)
}

func (c *cli) printWarnings(warnings []string) error {
	for _, w := range warnings {
		if _, err := fmt.Fprintln(c.out, "warning: "+w); err != nil {
			return err
		}
	}
	return nil
}

func newClusterAddCommand(c *cli) *cobra.Command {
	var force, noWait bool
	cmd := &cobra.Command{
		Use:   "add ID=ADDRESS",
		Short: "Make a node a member, or give a member another address",
		Long: `Make a node a member. Start the node first, with raft.join: true and without data: it waits. hm copies
the record to it, and it votes when it has caught up; the command waits for that. One node is added at a
time.

For a member, ADDRESS becomes its address: start it at the new address first.`,
		Example: "  hm cluster add hm-3=10.0.0.4:7140",
		Args:    cobra.ExactArgs(1),
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML, formatName)
	r := c.remote(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "add it although no node answers at the address")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it votes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, address, ok := strings.Cut(args[0], "=")
		if !ok || id == "" || address == "" {
			return withHint(fmt.Errorf("%q is not ID=ADDRESS", args[0]), "write it like hm-3=10.0.0.4:7140")
		}
		return r.ask(func(client *api.Client) error {
			done, raw, err := client.ChangeMembers(cmd.Context(), "add", api.MemberRequest{ID: id, Address: address, Force: force})
			if err != nil {
				return err
			}
			text := id + " at " + address + " was a member before"
			if done.Changed {
				text = id + " at " + address + " is a member"
			}
			if !noWait {
				if done.Warnings, err = awaitVote(cmd.Context(), client, id); err != nil {
					return err
				}
				text += ", and votes"
			}
			return c.printChange(done, raw, text)
		})
	}
	return cmd
}

// votePatience is how long hm cluster add waits until a new member votes.
const votePatience = 10 * time.Minute

// awaitVote waits until a member votes, and gives the warnings of that time.
func awaitVote(ctx context.Context, client *api.Client, id string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, votePatience)
	defer cancel()
	for {
		s, _, err := client.Cluster(ctx)
		var p *api.Problem
		if err != nil && !(errors.As(err, &p) && p.Status == http.StatusServiceUnavailable) {
			return nil, err
		}
		for _, m := range s.Members {
			if m.ID == id && m.Voter {
				return s.Warnings, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, withHint(fmt.Errorf("%s is a member, but does not vote yet", id),
				"hm cluster status shows what it lacks; it votes by itself when it has copied the record")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func newClusterRemoveCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Make a node no member any more",
		Long: `Make a node no member any more. hm refuses it if the other voters that are healthy would be no
majority. A leader hands over first. Stop the removed node afterwards: it does no harm, but says that it
was removed.`,
		Example: "  hm cluster remove hm-3",
		Args:    cobra.ExactArgs(1),
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML, formatName)
	r := c.remote(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "remove it although the others are no majority that is healthy")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(func(client *api.Client) error {
			done, raw, err := client.ChangeMembers(cmd.Context(), "remove", api.MemberRequest{ID: args[0], Force: force})
			if err != nil {
				return err
			}
			return c.printChange(done, raw, args[0]+" is no member any more")
		})
	}
	return cmd
}

func newClusterTransferCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "transfer [ID]",
		Short:   "Hand the leadership to a node, or to the best one",
		Long:    `Hand the leadership to a node, or without ID to the one that has recorded most. hm refuses a node that is not healthy.`,
		Example: "  hm cluster transfer hm-1",
		Args:    cobra.MaximumNArgs(1),
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML, formatName)
	r := c.remote(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req := api.MemberRequest{}
		if len(args) > 0 {
			req.ID = args[0]
		}
		return r.ask(func(client *api.Client) error {
			done, raw, err := client.ChangeMembers(cmd.Context(), "transfer", req)
			if err != nil {
				return err
			}
			text := cmp.Or(done.ID, req.ID) + " leads"
			if !done.Changed {
				text += " already"
			}
			return c.printChange(done, raw, text)
		})
	}
	return cmd
}

func (c *cli) printChange(done api.MemberChange, raw []byte, text string) error {
	return c.print(answer{raw: raw, names: []string{done.ID}, text: func() error {
		if _, err := fmt.Fprintln(c.out, text); err != nil {
			return err
		}
		return c.printWarnings(done.Warnings)
	}})
}
