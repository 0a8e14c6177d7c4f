package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hm/internal/api"
)

// guidHelp explains how to name an app.
const guidHelp = `The beginning of a guid is enough if only one app has it. For a guid that ends in a slash and a
number, use --index. Write -- before a guid that begins with a hyphen.`

// indexUsage is the help of --index.
const indexUsage = "only this index, or all; APP is then the guid as it is, even if it ends in a slash and a number"

// parseTarget parses APP or APP/INDEX, and the value of --index.
func parseTarget(arg, index string) (api.Target, error) {
	t, err := api.ParseTarget(arg, index)
	if err != nil {
		return t, withHint(fmt.Errorf("--index %w", err), "give a number, or all")
	}
	return t, nil
}

// targetFlag adds --index to a command that takes one APP. The function that it returns parses the arguments. An app
// whose guid begins with a hyphen must follow --. After --, cobra takes --index as an argument; targetFlag still
// takes it as the flag, since the command takes no other argument.
func targetFlag(cmd *cobra.Command) func(args []string) (api.Target, error) {
	index := cmd.Flags().String("index", "", indexUsage)
	split := func(args []string) (app []string, value string) {
		switch n := len(args); {
		case cmd.ArgsLenAtDash() != 0:
		case n == 3 && args[1] == "--index":
			return args[:1], args[2]
		case n == 2 && strings.HasPrefix(args[1], "--index="):
			return args[:1], strings.TrimPrefix(args[1], "--index=")
		}
		return args, *index
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		app, _ := split(args)
		return cobra.ExactArgs(1)(cmd, app)
	}
	return func(args []string) (api.Target, error) {
		app, index := split(args)
		return parseTarget(app[0], index)
	}
}
