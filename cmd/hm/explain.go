package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/api"
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
	r := c.remote(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also show the indices that are as desired")
	cmd.Flags().BoolVar(&wide, "wide", false, "show every id in full")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(func(client *api.Client) error {
			t, err := named(args)
			if err != nil {
				return err
			}
			e, raw, err := client.Explain(cmd.Context(), t.GUID, t.Index)
			if err != nil {
				return t.Explain(err)
			}
			if c.json() {
				return c.printRaw(raw)
			}
			return c.printExplanation(e, t.Index, all, wide)
		})
	}
	return cmd
}

func (c *cli) printExplanation(e api.Explanation, index string, all, wide bool) error {
	var out strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	p("app       %s", e.App)
	for _, v := range e.Versions {
		p("version   %s", v.Version)
		p("desired   %s", describeDesired(v.Desired, v.DesiredVersion))
		verdict := c.paint(green, v.Verdict)
		if v.Verdict != "as desired" {
			verdict = c.paint(yellow, v.Verdict)
		}
		p("verdict   %s", verdict)
		if u := v.Unplaced; u != nil {
			p("unplaced  %s: listed without an index or an instance that can be read, first heard %s; hm deas shows by which DEA",
				c.paint(yellow, count(u.Entries, "instance")), ago(e.Basis, u.Oldest))
		}
		left := 0
		for _, x := range v.Indices {
			if index == "" && !all && x.AsDesired() {
				left++
				continue
			}
			c.explainIndex(p, e.Basis, x, wide)
		}
		if index != "" && len(v.Indices) == 0 {
			p("index %s   not desired, and nothing is recorded at it", index)
		}
		if left > 0 {
			p("%s as desired (--all shows them)", countIndices(left))
		}
		if v.Truncated {
			p("there are more indices: hm explain APP/INDEX explains one")
		}
		p("")
	}
	p("gate      %s", c.describeGate(e.Basis, e.Gate))
	failing := ""
	if e.Reads.Failing {
		failing = c.paint(yellow, "; the newest read failed: ") + e.Reads.Error
	}
	p("desired state read %s%s", ago(e.Basis, e.Reads.Began), failing)
	if _, err := fmt.Fprint(c.out, out.String()); err != nil {
		return err
	}
	return c.printBasis(e.Basis)
}

func countIndices(n int) string {
	if n == 1 {
		return "1 index is"
	}
	return fmt.Sprintf("%d indices are", n)
}

func (c *cli) explainIndex(p func(string, ...any), b api.Basis, x api.ExplainedIndex, wide bool) {
	id := ids(wide)
	p("")
	p("index %d", x.Index)
	for _, i := range x.Instances {
		p("  instance  %s %s on %s, heard %s", id(i.Instance), c.state(i.State), i.DEA, ago(b, i.LastHeard))
	}
	if x.Crash != nil {
		p("  crashes   %s", describeCrash(b, *x.Crash))
	}
	for _, k := range x.Commands {
		at := "due " + when(b, k.DueAt)
		if !k.SentAt.IsZero() {
			at = "sent " + when(b, k.SentAt)
		}
		p("  command   %s %s, %s, %s", k.Action, k.Reason, k.State, at)
		if k.Detail != "" {
			p("            %s", c.paint(red, k.Detail))
		}
	}
	for _, f := range x.Findings {
		subject := "index"
		if f.Instance != "" {
			subject = id(f.Instance)
		}
		col := map[string]colour{"keep": green, "start": red, "stop": red, "wait": yellow, "hold": yellow}[f.Bucket]
		p("  %s %s: %s", c.paint(col, fmt.Sprintf("%-9s", f.Bucket)), subject, f.Detail)
		if f.Rule != "" {
			p("            rule %s: %s", f.Rule, f.RuleText)
		}
		if len(f.HeldBy) > 0 && f.Bucket == "wait" {
			p("            when due it will be held, if these last: %s", strings.Join(f.HeldBy, ", "))
		}
	}
}
