package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/api"
	"hm/internal/words"
)

func newCommandsCompareCommand(c *cli) *cobra.Command {
	var since, class string
	var limit int
	var wantCode, wide bool
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Compare hm's decisions in shadow mode with another health manager's commands",
		Long: `Compare what hm decides in shadow mode (commands.mode) with the commands that another health
manager publishes on the same subjects. Each row is one decision: issued by both, only by hm, only
by the other, or by the other first (hindsight): before hm could know what it knows by now. Commands
that only one side issued so recently that the other may follow are open. They are unknown if the
node that answers missed commands of the other at that time. delay is the time from hm's command to
the other's; it is negative if the other was first.

Exit codes: 0 success; 1 error. With --exit-code: 2 if one side issued a command that the other did
not; 3 if the node did not hear the other all the time, so that nothing is certain.`,
		Example: `  hm commands compare --since 1h
  hm commands compare --class only-other -o json | jq -r '.items[].why'
  hm commands compare --since 24h --exit-code > /dev/null && echo they agree`,
		Args: cobra.NoArgs,
	}
	r := c.reads(cmd, allFormats...)
	f := cmd.Flags()
	f.StringVar(&since, "since", "24h", "compare from then on: a duration before now, or a time like 2026-01-31T12:00:00Z")
	f.StringVar(&class, "class", "", "list only this class: both, only-hm, only-other, hindsight, open or unknown")
	f.IntVar(&limit, "limit", tableLimit, "list at most this many, the newest, from 1 to 10000; as JSON 10000 by default")
	f.BoolVar(&wantCode, "exit-code", false, "exit with 2 if the two disagree, with 3 if that is not certain")
	f.BoolVar(&wide, "wide", false, "show every id in full, as -o wide does")
	completeFlag(cmd, "class", only("both", "only-hm", "only-other", "hindsight", "open", "unknown"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkNewest(limit); err != nil {
			return err
		}
		if c.forPrograms() && !f.Changed("limit") {
			limit = 10_000
		}
		return r.show(cmd, func(ctx context.Context, client *api.Client) error {
			v, raw, err := client.Compare(ctx, since, class, limit)
			if err != nil {
				return err
			}
			err = c.print(answer{raw: raw, names: comparedNames(v), text: func() error { return c.printComparison(v, c.wide(wide)) }})
			if err != nil || !wantCode {
				return err
			}
			return codeOf(!v.Summary.Agree, !v.Told())
		})
	}
	return cmd
}

var comparisonHeader = []string{"issued by", "at", "delay", "action", "reason", "rule", "app", "version", "index", "instance", "hm's", "repeats", "why"}

func (c *cli) printComparison(v api.Comparison, wide bool) error {
	if err := c.printTable(comparisonHeader, c.comparisonRows(v, wide)); err != nil {
		return err
	}
	if v.LeftOut > 0 {
		if _, err := fmt.Fprintf(c.out, "%d older ones are left out\n", v.LeftOut); err != nil {
			return err
		}
	}
	if l := v.Listening; !l.Shadow {
		if _, err := fmt.Fprintln(c.out, "this node does not listen to another health manager: commands.mode is not shadow"); err != nil {
			return err
		}
	} else if l.Now {
		if _, err := fmt.Fprintf(c.out, "listening to the other since %s\n", words.Ago(v.Basis, l.Since)); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(c.out, "%s: %s\n", c.paint(words.Bad, "the other is not heard"), l.Reason); err != nil {
		return err
	}
	if n := v.Listening.Unreadable; n > 0 {
		if _, err := fmt.Fprintf(c.out, "%s of the other could not be read: the log has an example\n", c.paint(words.Warn, words.Count(int(n), "message"))); err != nil {
			return err
		}
	}
	verdict := c.paint(words.Good, v.Verdict)
	switch {
	case !v.Summary.Agree:
		verdict = c.paint(words.Bad, v.Verdict)
	case !v.Told():
		verdict = c.paint(words.Warn, v.Verdict)
	}
	if _, err := fmt.Fprintln(c.out, verdict); err != nil {
		return err
	}
	return c.printBasis(v.Basis)
}

// comparedNames names the apps and indices of the decisions that are listed.
func comparedNames(v api.Comparison) []string {
	var names []string
	for _, x := range v.Items {
		name := x.App
		if x.Index >= 0 {
			name += "/" + strconv.Itoa(x.Index)
		}
		names = append(names, name)
	}
	return slices.Compact(names)
}

func (c *cli) comparisonRows(v api.Comparison, wide bool) []row {
	id := words.IDs(wide)
	names := map[string]words.Piece{
		"both": {Tone: words.Good, Text: "both"}, "only-hm": {Tone: words.Bad, Text: "only hm"},
		"only-other": {Tone: words.Bad, Text: "only the other"}, "hindsight": {Text: "the other first"},
	}
	var rows []row
	for _, x := range v.Items {
		name, delay, state, at := names[x.Class], "", "", api.Timestamp{}
		repeats := ""
		again := func(side *api.ComparedSide, who string) {
			if side != nil && side.Repeats > 0 {
				repeats += strconv.Itoa(side.Repeats) + " " + who + " "
			}
		}
		again(x.HM, "hm")
		again(x.Other, "other")
		switch {
		case x.HM == nil:
			at = x.Other.At
		case x.HM.At.IsZero():
			at, state = x.HM.DueAt, x.HM.State
		default:
			at, state = x.HM.At, x.HM.State
		}
		switch {
		case x.Class == "both":
			delay = api.Span(x.Other.At.Sub(at.Time))
		case name.Text == "" && x.HM == nil:
			name.Text = "other (" + x.Class + ")"
		case name.Text == "":
			name.Text = "hm (" + x.Class + ")"
		}
		index := ""
		if x.Index >= 0 {
			index = strconv.Itoa(x.Index)
		}
		rows = append(rows, cells(name, words.When(v.Basis, at), delay, x.Action, x.Reason, x.Rule, x.App, id(x.Version), index,
			id(x.Instance), outcomeCell(state), strings.TrimSpace(repeats), x.Why))
	}
	return rows
}
