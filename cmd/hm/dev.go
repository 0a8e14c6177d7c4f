//go:build !lean

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hm/internal/config"
	"hm/internal/liveview"
	"hm/internal/sandbox"
)

// devFlags are the flags of hm dev.
type devFlags struct {
	sandbox  sandbox.Options
	plain    bool
	open     bool          // open the dashboard in a browser
	duration time.Duration // --for; 0: until a signal
}

func newDevCommand(c *cli) *cobra.Command {
	var d devFlags
	o := &d.sandbox
	o.Given = map[string]bool{}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process: NATS, a simulated Cloud Foundry and a cluster of hm nodes",
		Long: `Run everything in one process, without set-up and without a network: NATS, a simulated Cloud Foundry
(Cloud Controller, DEAs, a router and its users), and a cluster of hm nodes over loopback. On a
terminal it shows a live view. Its keys kill DEAs, crash and scale apps, stop NATS, close the leader,
and more. From another terminal, hm status, hm drift, hm explain and the other commands ask the same
cluster.

The first line is the address of the dashboard: pages for a browser, with a panel that does what the
keys do. --open opens it.

Without a terminal, on a dumb one, or with --plain, it prints the addresses of all parts, and a line
of totals at each change (JSON lines with -o json). The nodes then log to standard error. It ends on
SIGINT or SIGTERM, or after --for.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.Flags().Visit(func(f *pflag.Flag) { o.Given[f.Name] = true })
			d.plain = d.plain || c.json() || !c.terminal()
			return runDev(cmd.Context(), c, d)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.DEAs, "deas", 20, "DEAs at the start")
	f.IntVar(&o.Apps, "apps", 50, "apps at the start")
	f.IntVar(&o.InstancesPerApp, "instances-per-app", 2, "mean number of wanted instances of an app")
	f.IntVar(&o.Nodes, "nodes", 3, "hm nodes: 1, 3 or 5")
	f.DurationVar(&o.Heartbeat, "heartbeat", time.Second, "heartbeat period; all of the policy scales with it")
	f.Uint64Var(&o.Seed, "seed", 1, "the same seed gives the same apps and DEAs")
	f.IntVar(&o.Requests, "requests", 50,
		"requests a second that users send to all apps through a router; 0 for no router")
	f.BoolVar(&o.CCPassive, "cc-passive", false,
		"the Cloud Controller starts and stops nothing by itself: hm does all the work")
	f.StringVar(&o.Desired, "desired", config.SourceBulk,
		"where the nodes read the desired state: bulk, the Cloud Controller's bulk API, or sql, its database")
	addSimDBFlags(f, &o.CCDB, &o.CCSchema, "default: cc.db, an SQLite file in the data directory")
	f.StringVar(&o.API, "api", "127.0.0.1:5155", "address of the first node's API; if the default is taken, a free port")
	f.StringVar(&o.DataDir, "data-dir", "",
		"keep everything here; a later hm dev continues from it (default: a temporary directory, removed at "+
			"the end)")
	f.BoolVar(&d.plain, "plain", false, "no live view: lines of totals, and the nodes' log on standard error")
	f.BoolVar(&d.open, "open", false, "open the dashboard in a browser")
	f.DurationVar(&d.duration, "for", 0, "end after this time")
	f.StringArrayVar(&o.Sets, "set", nil, "set one key of the nodes' configuration: policy.grace=5 (repeatable)")
	return cmd
}

// runDev runs hm dev until ctx ends, --for is over, or the user quits. When it returns, everything that it started has
// ended.
func runDev(ctx context.Context, c *cli, d devFlags) (err error) {
	if d.duration < 0 {
		return fmt.Errorf("--for %s: it must not be negative", d.duration)
	}
	// A hangup must not leave the temporary directory behind.
	ctx, stop := untilHangup(ctx)
	defer stop()
	s, err := openSandbox(ctx, c, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if d.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.duration)
		defer cancel()
	}
	if d.open {
		defer openBrowser(s.DashboardURL(), c.err)()
	}
	if d.plain {
		return s.View().Follow(ctx, c.printDevLine)
	}
	return showDevLive(ctx, c, s)
}

func openSandbox(ctx context.Context, c *cli, d devFlags) (*sandbox.Sandbox, error) {
	o := d.sandbox
	if d.plain {
		o.Log = c.err
	}
	o.NewLogger = newLogger
	o.Configure = func(sets []string) (config.Config, error) {
		l, err := (&configFlags{sets: sets}).load()
		return l.Config, err
	}
	o.Version = readBuildInfo().Version
	return sandbox.Open(ctx, o)
}

// showDevLive draws the live view until ctx ends or a key quits.
func showDevLive(ctx context.Context, c *cli, s *sandbox.Sandbox) error {
	if err := liveview.Show(ctx, c.liveTerminal(), s.View()); err != nil {
		return err
	}
	f := s.View().Frame()
	_, err := fmt.Fprintf(c.out, "hm dev ran for %s: %s\n", f.Up.Round(time.Second), liveview.TotalsOf(f))
	if dir, kept := s.DataDir(); err == nil && kept {
		_, err = fmt.Fprintf(c.out, "kept in %s\n", dir)
	}
	return err
}

// printDevLine prints a line of hm dev without a live view.
func (c *cli) printDevLine(l sandbox.Line) error {
	var err error
	at := l.At.Format("15:04:05.000")
	switch {
	case c.json():
		err = json.NewEncoder(c.out).Encode(l)
	case l.Type == "listen":
		for _, p := range l.Places {
			_, err = fmt.Fprintf(c.out, "%-9s %s\n", p.Name, p.Address)
		}
	case l.Type == "totals":
		_, err = fmt.Fprintf(c.out, "%s %s\n", at, l.Totals)
	default:
		_, err = fmt.Fprintf(c.out, "%s %s\n", at, l.Text)
	}
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
