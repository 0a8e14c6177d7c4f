package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"hm/internal/config"
)

// devOptions are the flags of hm dev.
type devOptions struct {
	deas, apps, instancesPerApp, nodes int

	heartbeat time.Duration
	seed      uint64
	ccPassive bool
	ccDB      string // empty: devCCDBName in the directory
	ccSchema  string
	desired   string // config.SourceBulk or config.SourceSQL
	api       string
	apiFixed  bool // asked for, not the default: no other port will do
	dataDir   string
	plain     bool
	duration  time.Duration // --for; 0: until a signal
	sets      []string

	given map[string]bool // flags that were set, by name
}

func newDevCommand(c *cli) *cobra.Command {
	o := devOptions{given: map[string]bool{}}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process: NATS, a simulated Cloud Foundry and a cluster of hm nodes",
		Long: `Run everything in one process, without set-up and without a network: an embedded NATS, a simulated Cloud Foundry
(Cloud Controller and DEAs), and a cluster of hm nodes over loopback. On a terminal it shows a live view, whose keys
kill DEAs, crash and scale apps, stop NATS, close the leader, and so on. From another terminal hm status, hm drift,
hm explain and the rest ask the same cluster.

Without a terminal, on a dumb one, or with --plain, it prints where everything listens and a line of totals at each
change (JSON lines with -o json); the nodes log to standard error. It ends on SIGINT or SIGTERM, or by itself after --for.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"api", "deas", "apps", "instances-per-app", "nodes", "heartbeat", "seed", "cc-passive", "desired"} {
				o.given[name] = cmd.Flags().Changed(name)
			}
			o.apiFixed = o.given["api"]
			o.plain = o.plain || c.json() || !c.terminal()
			return runDev(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.deas, "deas", 20, "DEAs at the start")
	f.IntVar(&o.apps, "apps", 50, "apps at the start")
	f.IntVar(&o.instancesPerApp, "instances-per-app", 2, "mean wanted instances an app")
	f.IntVar(&o.nodes, "nodes", 3, "hm nodes: 1, 3 or 5")
	f.DurationVar(&o.heartbeat, "heartbeat", time.Second, "heartbeat period; all of the policy scales with it")
	f.Uint64Var(&o.seed, "seed", 1, "same seed, same apps and DEAs")
	f.BoolVar(&o.ccPassive, "cc-passive", false, "the Cloud Controller starts and stops nothing by itself: hm does all the work")
	f.StringVar(&o.desired, "desired", config.SourceBulk, "where the nodes read the desired state: bulk, the Cloud Controller's bulk API, or sql, its database")
	addSimDBFlags(f, &o.ccDB, &o.ccSchema, "default: cc.db, an SQLite file in the data directory")
	f.StringVar(&o.api, "api", "127.0.0.1:5155", "address of the first node's API; if the default is taken, a free port")
	f.StringVar(&o.dataDir, "data-dir", "", "keep everything here; a later hm dev continues from it (default: a temporary directory, removed at the end)")
	f.BoolVar(&o.plain, "plain", false, "no live view: lines of totals, and the nodes' log on standard error")
	f.DurationVar(&o.duration, "for", 0, "end by itself after this time")
	f.StringArrayVar(&o.sets, "set", nil, "set one key of the nodes' configuration: policy.grace=5 (repeatable)")
	return cmd
}

// check names the first flag that cannot be. The simulation and the configuration check the rest.
func (o devOptions) check() error {
	if !slices.Contains([]int{1, 3, 5}, o.nodes) {
		return withHint(fmt.Errorf("--nodes %d: a cluster has 1, 3 or 5 nodes", o.nodes), "use --nodes 3")
	}
	if o.desired != config.SourceBulk && o.desired != config.SourceSQL {
		return withHint(fmt.Errorf("--desired %s: the desired state is not read there", o.desired), "use --desired bulk or sql")
	}
	if o.duration < 0 {
		return fmt.Errorf("--for %s: it must not be negative", o.duration)
	}
	return nil
}

// runDev runs hm dev until ctx ends, --for is over, or the person at the keys quits. When it returns, everything that
// it started has ended.
func runDev(ctx context.Context, c *cli, o devOptions) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	// A terminal that is closed must not leave the temporary directory behind.
	ctx, stop := untilHangup(ctx)
	defer stop()
	dir, err := openDevDir(o.dataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.close()) }()
	saved, err := dir.load()
	if err != nil {
		return err
	}
	if o, err = o.continuing(saved); err != nil {
		return err
	}
	var logs io.Writer = c.err
	if !o.plain {
		file, err := os.OpenFile(filepath.Join(dir.path, devLogName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return fmt.Errorf("opening the log: %w", err)
		}
		defer file.Close()
		logs = file
	}
	world, err := openDevWorld(ctx, o, dir, saved, func(cfg devLog) *slog.Logger { return newLogger(logs, cfg) })
	if err != nil {
		return err
	}
	stage := openDevStage(world)
	defer func() { err = errors.Join(err, stage.close(), world.close()) }()
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	if o.plain {
		return showPlain(ctx, c, stage)
	}
	return showDevLive(ctx, c, stage)
}
