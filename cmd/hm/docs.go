package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go run . docs markdown ../../docs/cli.md

// newDocsCommand writes what people read about the commands. All of it comes from the commands themselves.
func newDocsCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "docs", Short: "Write docs/cli.md or the man pages", Hidden: true}
	cmd.AddCommand(&cobra.Command{
		Use: "markdown FILE", Short: "Write docs/cli.md", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return os.WriteFile(args[0], []byte(cliMarkdown(cmd.Root())), 0o644)
		},
	}, &cobra.Command{
		Use: "man DIRECTORY", Short: "Write a man page for each command", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			for _, x := range documented(cmd.Root()) {
				file := filepath.Join(args[0], manName(x)+".1")
				if err := os.WriteFile(file, []byte(manPage(x)), 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return cmd
}

// documented returns a command and all that are below it, without hidden ones and those that cobra adds.
func documented(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "help" && sub.Name() != "completion" {
			all = append(all, documented(sub)...)
		}
	}
	return all
}

// useLine is how a command is called.
func useLine(cmd *cobra.Command) string {
	line := cmd.CommandPath()
	if _, args, ok := strings.Cut(cmd.Use, " "); ok {
		line += " " + args
	}
	if len(flagsOf(cmd)) > 0 {
		line += " [flags]"
	}
	return line
}

// flagsOf returns the flags of a command itself, sorted by name: not those that all commands have.
func flagsOf(cmd *cobra.Command) []*pflag.Flag {
	var flags []*pflag.Flag
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" && f.Name != "version" {
			flags = append(flags, f)
		}
	})
	slices.SortFunc(flags, func(a, b *pflag.Flag) int { return cmp.Compare(a.Name, b.Name) })
	return flags
}

// flagText returns a flag with its value, its help, and its default if it has one.
func flagText(f *pflag.Flag) (name, about string) {
	kind, about := pflag.UnquoteUsage(f)
	name = "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if kind != "" {
		name += " " + strings.ToUpper(kind)
	}
	switch value := f.DefValue; {
	case f.Name == "addr":
		about += " (default " + defaultAddr + ")" // not what HM_ADDR says here
	case value != "" && value != "false" && value != "0" && value != "0s" && value != "[]":
		about += " (default " + value + ")"
	}
	return name, about
}

// connectionFlags are the flags of every command that asks a node. The documents describe them once.
var connectionFlags = []string{"username", "password", "ca", "cert", "key", "timeout"}

// own returns the flags of a command without those that are described once, and whether it has these.
func own(cmd *cobra.Command) (flags []*pflag.Flag, asks bool) {
	flags = flagsOf(cmd)
	asks = cmd.Flags().Lookup("ca") != nil
	if asks {
		flags = slices.DeleteFunc(flags, func(f *pflag.Flag) bool { return slices.Contains(connectionFlags, f.Name) })
	}
	return flags, asks
}

// formatsText says which formats of -o a command has; it is empty if it has an -o of its own.
func formatsText(cmd *cobra.Command) string {
	if !cmd.Runnable() || cmd.Flags().Lookup("output") != nil && cmd.NonInheritedFlags().Lookup("output") != nil {
		return ""
	}
	return fmt.Sprintf("Output formats (-o): %s.", strings.Join(formatsOf(cmd), ", "))
}
