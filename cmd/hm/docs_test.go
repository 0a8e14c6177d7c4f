package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func allCommands() []*cobra.Command { return documented(newRoot(newCLI(nil, io.Discard, io.Discard))) }

func TestTheDocumentOfCommandsIsCurrent(t *testing.T) {
	have, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := cliMarkdown(newRoot(newCLI(nil, io.Discard, io.Discard))); string(have) != want {
		t.Error("docs/cli.md is not what the commands say: run go generate ./cmd/hm")
	}
}

// TestManPagesAreRoff: text never begins a line with a control character, and every page has its parts.
func TestManPagesAreRoff(t *testing.T) {
	macro := regexp.MustCompile(`^\.(TH|SH|B|TP|PP|nf|fi)\b`)
	for _, cmd := range allCommands() {
		page := manPage(cmd)
		for _, part := range []string{".TH ", ".SH NAME\n" + roff(manName(cmd)), ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH EXIT STATUS\n"} {
			if !strings.Contains(page, part) {
				t.Errorf("the page of %s has no %q", cmd.CommandPath(), part)
			}
		}
		for line := range strings.Lines(page) {
			if (line[0] == '.' || line[0] == '\'') && !macro.MatchString(line) {
				t.Errorf("%s: %q is read as a request", cmd.CommandPath(), line)
			}
		}
	}
}

// TestEveryFlagIsExplained: and every command that shows what a node answers has the same habits.
func TestEveryFlagIsExplained(t *testing.T) {
	for _, cmd := range allCommands() {
		for _, f := range flagsOf(cmd) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no help", cmd.CommandPath(), f.Name)
			}
		}
		if f := cmd.Flags().Lookup("no-headers"); f == nil {
			continue
		}
		if got := formatsOf(cmd); !slices.Equal(got, allFormats) {
			t.Errorf("%s has the formats %q", cmd.CommandPath(), got)
		}
		if cmd.Flags().Lookup("watch") == nil {
			t.Errorf("%s has no --watch", cmd.CommandPath())
		}
	}
}
