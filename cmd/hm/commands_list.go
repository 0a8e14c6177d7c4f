package main

import (
	"context"
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
	r := c.reads(cmd, allFormats...)
	list := c.listFlags(cmd, "commands")
	app := cmd.Flags().String("app", "", "only this app: a guid, or the beginning of one")
	completeFlag(cmd, "app", r.completeApps)
	return func(cmd *cobra.Command, _ []string) error {
		o, err := list.get()
		if err != nil {
			return err
		}
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			l := c.commandLister(list.wide)
			l.none = "no command is outstanding"
			return printPages(ctx, c, client.CommandPages(*app, o), l)
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
	r := c.reads(cmd, allFormats...)
	list := &listFlags{c: c, cmd: cmd}
	list.selection("commands")
	app := cmd.Flags().String("app", "", "only this app: a guid, or the beginning of one")
	completeFlag(cmd, "app", r.completeApps)
	cmd.Flags().BoolVar(&list.wide, "wide", false, "show every id in full, and all columns, as -o wide does")
	n := cmd.Flags().Int("limit", tableLimit, "show at most this many, from 1 to 10000")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkNewest(*n); err != nil {
			return err
		}
		newest, o := *n, list.options
		if o != (api.ListOptions{}) { // it selects from all that the node gives at once
			newest, o.Limit = 10_000, *n
		}
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			l := c.commandLister(list.wide)
			l.none = "no command has ended yet"
			return printPages(ctx, c, client.EndedPages(*app, newest, o), l)
		})
	}
	return cmd
}

// checkNewest checks --limit of a list of the newest of something.
func checkNewest(limit int) error {
	if limit < 1 || limit > 10_000 {
		return withHint(fmt.Errorf("--limit %d: want 1 to 10000", limit), "a node gives at most 10000 at once")
	}
	return nil
}

func newCommandsCancelCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "Drop a command that has not been sent",
		Long: `Drop a command that has not been sent. If its drift remains, hm schedules a new command with the
full grace period. To keep hm from sending commands, use hm pause or hm hold. The beginning of an id
is enough if only one outstanding command has it.`,
		Args: cobra.ExactArgs(1),
	}
	hasFormats(cmd, formatTable, formatJSON, formatYAML, formatName)
	r := c.remote(cmd)
	cmd.ValidArgsFunction = first(r.completeCommands)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(func(client *api.Client) error {
			id, err := wholeCommandID(cmd.Context(), client, args[0])
			if err != nil {
				return err
			}
			done, raw, err := client.Cancel(cmd.Context(), id)
			if err != nil {
				return err
			}
			return c.print(answer{raw: raw, names: []string{done.ID}, text: func() error {
				_, err := fmt.Fprintf(c.out, "%s %s of app %s, index %d: %s\n", done.State, done.Action, done.App, done.Index,
					done.Detail)
				return err
			}})
		})
	}
	return cmd
}

func (c *cli) commandLister(wide bool) lister[api.Command] {
	header := []string{"id", "action", "reason", "app", "version", "index", "instance", "state", "due", "sent", "ended", "detail"}
	if c.wide(wide) {
		header = append(header[:len(header)-1], "created", "priority", "waits for", "detail")
	}
	return lister[api.Command]{
		header: header, name: func(x api.Command) string { return x.ID },
		row: func(b api.Basis, x api.Command) row { return c.commandRow(b, x, wide) },
	}
}

func (c *cli) commandRow(b api.Basis, x api.Command, wide bool) row {
	id := words.IDs(c.wide(wide))
	due := words.When(b, x.DueAt)
	if x.State != "pending" {
		due = ""
	}
	r := cells(x.ID, x.Action, x.Reason, x.App, id(x.Version), x.Index, id(x.Instance), outcomeCell(x.State), due,
		words.When(b, x.SentAt), words.When(b, x.EndedAt))
	if c.wide(wide) {
		r = append(r, cells(words.When(b, x.CreatedAt), strconv.FormatFloat(x.Priority, 'g', 3, 64), x.WaitsFor)...)
	}
	return append(r, cells(x.Detail)...)
}

// outcomeCell shows a command's state.
func outcomeCell(state string) words.Piece {
	return words.Piece{Tone: words.OutcomeTone(state), Text: state}
}
