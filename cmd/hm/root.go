package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// defaultAddr is where a daemon with the default configuration serves its API.
const defaultAddr = "http://127.0.0.1:5155"

// cli is what all commands share: the streams and the flags of the root. Cobra sets the flags when it parses the
// command line, so commands must read them when they run.
type cli struct {
	in  io.Reader
	out io.Writer
	err io.Writer

	output    string // -o: one of the formats
	addr      string // --addr, or HM_ADDR: base URL of any node's API
	noHeaders bool   // --no-headers
	colours   string // --color: one of the colourings

	commandLine string // the command and its arguments, without flags
	painted     bool   // out keeps what a terminal with colours is going to show
}

func newCLI(in io.Reader, out, err io.Writer) *cli {
	return &cli{in: in, out: out, err: err}
}

// newRoot makes the hm command with all its sub-commands.
func newRoot(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "hm",
		Short: "Health manager for Cloud Foundry's DEAs, replicated over Raft",
		Long: `hm records what should run (from the Cloud Controller) and what does run (from the DEAs'
heartbeats), computes the drift between the two, and sends start and stop commands until they agree.`,
		SilenceErrors: true, // run prints them with their hints
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			c.commandLine = strings.Join(append([]string{cmd.CommandPath()}, args...), " ")
			if err := c.checkColor(); err != nil {
				return err
			}
			return c.checkOutput(cmd)
		},
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	// A command with another meaning of -o declares its own flag "output".
	root.PersistentFlags().StringVarP(&c.output, "output", "o", formatTable, "output format: table, wide, json, yaml or name, as far as the command has it")
	completeFlag(root, "output", completeFormats)
	root.PersistentFlags().StringVar(&c.addr, "addr", addrFromEnv(), "base URL of any node's API; also HM_ADDR")
	c.colorFlag(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(err, "see "+cmd.CommandPath()+" --help")
	})
	for _, construct := range commandConstructors {
		root.AddCommand(construct(c))
	}
	refuseStrayArguments(root)
	return root
}

// refuseStrayArguments makes a command that only groups others fail on an unknown sub-command. Cobra alone would print
// the help and report success.
func refuseStrayArguments(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		refuseStrayArguments(sub)
		if !sub.HasSubCommands() || sub.Runnable() {
			continue
		}
		sub.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		}
		sub.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

func addrFromEnv() string {
	if addr := os.Getenv("HM_ADDR"); addr != "" {
		return addr
	}
	return defaultAddr
}

// terminal reports whether the output is a terminal, and not a dumb one.
func (c *cli) terminal() bool {
	f, ok := c.out.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// run parses args, runs the command, prints its error, and returns the exit code.
func (c *cli) run(ctx context.Context, args []string) int {
	root := newRoot(c)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	fmt.Fprintf(c.err, "hm: %s\n", strings.TrimRight(err.Error(), "\n"))
	fmt.Fprintf(c.err, "hint: %s\n", hintOf(cmd, err))
	return 1
}

// exitCode is an error that ends the program with a code and without a message.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
