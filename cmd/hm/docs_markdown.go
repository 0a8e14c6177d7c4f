package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/api"
)

// cliMarkdown returns docs/cli.md.
func cliMarkdown(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(`# Commands

<!-- go generate writes this file from the commands in cmd/hm. -->

` + "`make man`" + ` writes the same as man pages. Each command has ` + "`--help`" + `.

## What all commands have in common

| habit | how |
|---|---|
| which node | ` + "`--addr`" + ` or ` + "`HM_ADDR`" + ` names any node; ` + "`HM_USERNAME`, `HM_PASSWORD`, `HM_TOKEN`, `HM_CA`, `HM_CERT`, `HM_KEY`" + ` have the credentials |
| format | ` + "`-o table`, `wide`, `json`, `yaml`, `name`" + `: ` + "`yaml`" + ` has the keys of ` + "`json`" + `, ` + "`name`" + ` has one id a line |
| watch | ` + "`--watch` (`-w`), `--interval`" + `: redraws a terminal, appends to anything else, goes on over errors |
| scripts | ` + "`--no-headers`" + ` gives the rows alone, with a ` + "`-`" + ` for an empty cell |
| select and sort | ` + "`--prefix`, `--filter`, `--sort-by`, `--limit`" + ` on lists; the node does the work |
| ids | the beginning of an id is enough, if only one has it; an error lists the candidates |
| completion | ` + "`hm completion bash`, `zsh` or `fish`" + ` prints a script; it completes apps, DEAs, holds, commands, kinds and fields |
| exit codes | 0 success; 1 error, usage errors included; 2 and 3 only if a flag such as ` + "`--exit-code`" + ` asks for them |
| errors | one line on standard error, and a hint what to do |

## Fields of lists

A filter is one or more conditions with commas between them; all must hold. A condition is a field,
an operator and a value. Texts have ` + "`=` and `!=`" + `, with ` + "`|`" + ` between alternatives, and ` + "`*`" + ` at the end for any
text that begins so. Numbers and durations also have ` + "`<`, `<=`, `>` and `>=`" + `.
`)
	for _, list := range []string{"apps", "drift", "deas", "commands", "holds"} {
		fmt.Fprintf(&b, "\n### hm %s\n\n| field | meaning | sorts |\n|---|---|---|\n", list)
		for _, f := range api.ListFields(list) {
			about, sorts := f.About, ""
			if len(f.Words) > 0 {
				about += ": " + strings.Join(f.Words, ", ")
			}
			if f.Duration {
				about += "; a duration like 30s"
			}
			if f.Sorts {
				sorts = "yes"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, about, sorts)
		}
	}
	for _, cmd := range documented(root) {
		markdownCommand(&b, cmd)
	}
	return b.String()
}

func markdownCommand(b *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n```\n%s\n```\n", cmd.CommandPath(), longText(cmd), useLine(cmd))
	if cmd.Example != "" {
		fmt.Fprintf(b, "\nExamples:\n\n```\n%s\n```\n", strings.TrimRight(cmd.Example, "\n"))
	}
	flags, asks := own(cmd)
	if len(flags) > 0 {
		b.WriteString("\n| flag | meaning |\n|---|---|\n")
	}
	for _, f := range flags {
		name, about := flagText(f)
		fmt.Fprintf(b, "| `%s` | %s |\n", name, strings.ReplaceAll(about, "|", `\|`))
	}
	if text := formatsText(cmd); text != "" && asks {
		fmt.Fprintf(b, "\n%s\n", text)
	}
}

// longText returns the long help of a command, or the short one.
func longText(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return strings.TrimRight(cmd.Long, "\n")
	}
	return cmd.Short + "."
}
