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

// cli is what every command shares: the streams and the flags of the root. The flags are set once cobra has
// parsed the command line, so commands read them when they run, not when they are made.
type cli struct {
	in  io.Reader
	out io.Writer
	err io.Writer

	output string // -o: table or json
	addr   string // --addr, or HM_ADDR: base URL of any node's API
}

func newCLI(in io.Reader, out, err io.Writer) *cli {
	return &cli{in: in, out: out, err: err}
}

// newRoot makes the hm command with all its sub-commands.
func newRoot(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use:   "hm",
		Short: "Health manager for Cloud Foundry's DEAs, replicated over Raft",
		Long: `hm records what should run (from the Cloud Controller) and what does run (from the DEAs' heartbeats),
computes the drift between the two, and issues start and stop commands until they agree.`,
		SilenceErrors: true, // run prints them, with their hints
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return c.checkOutput(cmd)
		},
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	// A command whose -o means something else (a file, other formats) declares its own flag named "output".
	root.PersistentFlags().StringVarP(&c.output, "output", "o", "table", "output format: table or json")
	root.PersistentFlags().StringVar(&c.addr, "addr", addrFromEnv(), "base URL of any node's API; also HM_ADDR")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(err, "see "+cmd.CommandPath()+" --help")
	})
	for _, construct := range commandConstructors {
		root.AddCommand(construct(c))
	}
	refuseStrayArguments(root)
	return root
}

// refuseStrayArguments makes a command that only groups others fail on a sub-command it does not have. Cobra
// alone would print the help and report success.
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

func (c *cli) checkOutput(cmd *cobra.Command) error {
	flag := cmd.Flags().Lookup("output")
	if flag == nil || flag != cmd.Root().PersistentFlags().Lookup("output") {
		return nil // the command has an -o of its own
	}
	if c.output != "table" && c.output != "json" {
		return withHint(fmt.Errorf("output format %q is not known", c.output), "use -o table or -o json")
	}
	return nil
}

// json reports whether the output is to be JSON.
func (c *cli) json() bool { return c.output == "json" }

// color reports whether out may be coloured: it is a terminal that can do more than print, and NO_COLOR does not forbid it.
func (c *cli) color() bool { return os.Getenv("NO_COLOR") == "" && c.terminal() }

// terminal reports whether out is a terminal that can do more than print, which a dumb TERM says it cannot.
func (c *cli) terminal() bool {
	f, ok := c.out.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// run parses args, runs the command they name, reports its error, and returns the exit code.
func (c *cli) run(ctx context.Context, args []string) int {
	root := newRoot(c)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	fmt.Fprintf(c.err, "hm: %s\n", strings.TrimRight(err.Error(), "\n"))
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		fmt.Fprintf(c.err, "hint: %s\n", hinted.Hint())
	}
	return 1
}

// exitCode ends the program with a code and without a message: what --exit-code asks for.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

func (e *hintedError) Hint() string { return e.hint }

// withHint adds to err what the user can do about it. It is printed on a line of its own.
func withHint(err error, hint string) error { return &hintedError{err, hint} }
