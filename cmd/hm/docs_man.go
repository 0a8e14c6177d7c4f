package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// manName is the name of the man page of a command.
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage returns the man page of a command, for section 1. It has no date, so that the same program gives the same page.
func manPage(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %q 1 \"\" \"hm\" \"hm commands\"\n", strings.ToUpper(manName(cmd)))
	section := func(name string) { b.WriteString(".SH " + name + "\n") }
	section("NAME")
	fmt.Fprintf(&b, "%s \\- %s\n", roff(manName(cmd)), roff(cmd.Short))
	section("SYNOPSIS")
	fmt.Fprintf(&b, ".B %s\n", roff(useLine(cmd)))
	section("DESCRIPTION")
	paragraphs(&b, longText(cmd))
	flags, asks := own(cmd)
	if len(flags) > 0 {
		section("OPTIONS")
	}
	for _, f := range flags {
		name, about := flagText(f)
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(name), roff(about))
	}
	if text := formatsText(cmd); text != "" && asks {
		fmt.Fprintf(&b, ".PP\n%s\n", roff(text))
	}
	if asks {
		section("ENVIRONMENT")
		paragraphs(&b, "HM_ADDR names the node to ask, as --addr does. HM_USERNAME, HM_PASSWORD, HM_TOKEN, HM_CA, HM_CERT and HM_KEY "+
			"stand for --username, --password, --ca, --cert and --key.")
	}
	if cmd.Example != "" {
		section("EXAMPLES")
		b.WriteString(".nf\n" + roffLines(cmd.Example) + ".fi\n")
	}
	section("EXIT STATUS")
	paragraphs(&b, "0 success; 1 error, usage errors included. Other codes only if a flag asks for them: see above.")
	var also []string
	if cmd.HasParent() {
		also = append(also, manName(cmd.Parent()))
	}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "help" && sub.Name() != "completion" {
			also = append(also, manName(sub))
		}
	}
	if len(also) > 0 {
		section("SEE ALSO")
		fmt.Fprintf(&b, "%s(1)\n", roff(strings.Join(also, "(1), ")))
	}
	return b.String()
}

// paragraphs writes a text whose paragraphs have empty lines between them.
func paragraphs(b *strings.Builder, text string) {
	for i, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(roffLines(p))
	}
}

func roffLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(roff(strings.TrimRight(line, "\n")) + "\n")
	}
	return b.String()
}

// roff escapes a line for a man page.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}
