package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newCommandsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "commands",
		Short: "List outstanding or ended start and stop commands, or cancel one",
		Long:  "List the outstanding start and stop commands, like hm commands list.",
		Args:  cobra.NoArgs,
	}
	cmd.RunE = c.listCommands(cmd)
	cmd.AddCommand(newCommandsListCommand(c), newCommandsHistoryCommand(c), newCommandsCancelCommand(c), newCommandsCompareCommand(c))
	return cmd
}

func newCommandsListCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the outstanding commands",
		Args:  cobra.NoArgs,
	}
	cmd.RunE = c.listCommands(cmd)
	return cmd
}

// listCommands adds the flags of a list of outstanding commands to cmd. It returns what cmd runs.
func (c *cli) listCommands(cmd *cobra.Command) func(*cobra.Command, []string) error {
	r := c.remote(cmd)
	limit := c.limitFlag(cmd)
	app := cmd.Flags().String("app", "", "only this app: a guid, or the beginning of one")
	wide := cmd.Flags().Bool("wide", false, "show every id in full")
	return func(cmd *cobra.Command, _ []string) error {
		n, err := limit()
		if err != nil {
			return err
		}
		return r.ask(func(client *api.Client) error {
			l, err := client.Commands(cmd.Context(), *app, n)
			if err != nil {
				return err
			}
			return c.printCommands(l, *wide, "no command is outstanding")
		})
	}
}

func newCommandsHistoryCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the newest commands that have ended",
		Long: `List the newest commands that have ended, the newest first. A command ends confirmed (a heartbeat
showed its effect), expired (no heartbeat showed it), dropped (it was no longer needed before it was
sent) or abandoned (it could not be sent in time). Each node keeps the history in its data directory;
commands.journal_entries says how much of it.`,
		Args: cobra.NoArgs,
	}
	r := c.remote(cmd)
	app := cmd.Flags().String("app", "", "only this app: a guid, or the beginning of one")
	wide := cmd.Flags().Bool("wide", false, "show every id in full")
	n := cmd.Flags().Int("limit", tableLimit, "show at most this many, from 1 to 10000")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *n < 1 || *n > 10_000 {
			return fmt.Errorf("--limit %d: want 1 to 10000", *n)
		}
		return r.ask(func(client *api.Client) error {
			l, err := client.History(cmd.Context(), *app, *n)
			if err != nil {
				return err
			}
			return c.printCommands(l, *wide, "no command has ended yet")
		})
	}
	return cmd
}

func newCommandsCancelCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "Drop a command that has not been sent",
		Long: `Drop a command that has not been sent. If its drift remains, hm schedules a new command with the
full grace period. To keep hm from sending commands, use hm pause or hm hold.`,
		Args: cobra.ExactArgs(1),
	}
	r := c.remote(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(func(client *api.Client) error {
			done, raw, err := client.Cancel(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json() {
				return c.printRaw(raw)
			}
			_, err = fmt.Fprintf(c.out, "%s %s of app %s, index %d: %s\n", done.State, done.Action, done.App, done.Index,
				done.Detail)
			return err
		})
	}
	return cmd
}

func (c *cli) printCommands(l api.Listing[api.Command], wide bool, none string) error {
	if c.json() {
		return printList(c, l.Items)
	}
	if len(l.Items) == 0 {
		if _, err := fmt.Fprintln(c.out, none); err != nil {
			return err
		}
	}
	if err := printTable(c.out, commandHeader, c.commandRows(l.Basis, l.Items, wide, false)); err != nil {
		return err
	}
	if err := printMore(c, l); err != nil {
		return err
	}
	return c.printBasis(l.Basis)
}

var commandHeader = []string{"id", "action", "reason", "app", "version", "index", "instance", "state", "due", "sent",
	"ended", "detail"}

// commandRows returns a row for each command. ofOneApp leaves out the app.
func (c *cli) commandRows(b api.Basis, list []api.Command, wide, ofOneApp bool) [][]string {
	id := words.IDs(wide)
	var rows [][]string
	for _, x := range list {
		app, version := x.App, id(x.Version)
		if ofOneApp {
			app, version = "", ""
		}
		due := words.When(b, x.DueAt)
		if x.State != "pending" {
			due = ""
		}
		rows = append(rows, []string{
			x.ID, x.Action, x.Reason, app, version, strconv.FormatUint(uint64(x.Index), 10), id(x.Instance), c.outcome(x.State),
			due, words.When(b, x.SentAt), words.When(b, x.EndedAt), x.Detail,
		})
	}
	return rows
}

func (c *cli) outcome(state string) string { return c.paint(words.OutcomeTone(state), state) }
