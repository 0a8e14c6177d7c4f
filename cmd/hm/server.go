package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"hm/internal/config"
	"hm/internal/server"
	"hm/internal/systemd"
)

func newServerCommand(c *cli) *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "server --config FILE",
		Short: "Run a node of the health manager",
		Long: `Run a node of the health manager until SIGINT or SIGTERM.

The node joins the cluster that raft.peers names (or is a cluster of its own), listens to the DEAs over NATS, and,
while it leads, reads the desired state and sends commands. NATS, the Cloud Controller and the other nodes may come
later. Everything it does is logged to standard error.

A node ends with exit code 1 if its own record is damaged, or differs from that of a majority of its peers. When you
start it again, it sets the damaged files aside and copies the record from its peers.

A disk that is full or hangs does not end the node: the node waits, and takes part again when the disk works. If the
disk is full at the start, or fails, the node ends with exit code 1.

Certificates, keys and authorities are read again when their files change, within a few seconds, and at once on
SIGHUP. Connections that stand are not touched.

Started by systemd with Type=notify, the node says when it serves, what it does (systemctl status shows it), and, with
WatchdogSec, that its loops go on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := flags.load()
			if err != nil {
				return err
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP) // before the node opens, so that one which comes meanwhile does not end it
			defer signal.Stop(hangup)
			logger := newLogger(c.err, loaded.Log)
			limitMemory(logger)
			ctx, cancel := context.WithCancel(cmd.Context())
			var tuning sync.WaitGroup
			defer tuning.Wait()
			defer cancel()
			tuning.Go(func() { keepHeadroom(ctx) })
			for _, w := range flags.exposedSecrets(loaded) {
				logger.Warn("other users can read secrets of hm", "problem", w)
			}
			told, err := systemd.FromEnvironment()
			if err != nil {
				return err
			}
			n, err := server.Open(loaded.Config, server.Options{Version: readBuildInfo().Version, Logger: logger})
			if err != nil {
				return withRemedy(err)
			}
			serve(cmd.Context(), n, hangup, told, logger) // main ends it on SIGINT and SIGTERM
			logger.Info("hm is going down")
			failed := n.Err()
			closed := n.Close()
			if failed != nil {
				return withRemedy(fmt.Errorf("this node cannot go on: %w", failed))
			}
			if closed != nil {
				return fmt.Errorf("going down: %w", closed)
			}
			return nil
		},
	}
	flags.register(cmd)
	return cmd
}

// serve returns when ctx ends or the node cannot go on. A signal of hangup makes the node read its certificates again.
func serve(ctx context.Context, n *server.Node, hangup <-chan os.Signal, told *systemd.Notifier, logger *slog.Logger) {
	defer supervise(told, n, logger)()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.Failed():
			return
		case <-hangup:
			logger.Info("certificates are read again, because of SIGHUP")
			say(logger, told.Reloading())
			n.Reload()
			say(logger, told.Ready())
		}
	}
}

// withRemedy adds a hint to the error of a record that cannot be used.
func withRemedy(err error) error {
	var unusable interface{ Remedy() string }
	if errors.As(err, &unusable) {
		return withHint(err, unusable.Remedy())
	}
	return err
}

// newLogger makes the daemon's log as log.level and log.format say.
func newLogger(w io.Writer, cfg config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // the configuration was checked
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
