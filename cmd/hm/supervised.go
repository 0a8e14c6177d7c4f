package main

import (
	"context"
	"log/slog"
	"sync"

	"hm/internal/server"
	"hm/internal/systemd"
)

// supervise tells systemd that the node serves, and then how it is, until the returned function is called. A node
// serves from the moment it is open: one without a quorum, without NATS or behind its leader waits for others, and
// systemd must neither wait for that nor end the node for it.
func supervise(told *systemd.Notifier, n *server.Node, logger *slog.Logger) (end func()) {
	say(logger, told.Ready())
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { told.Watch(ctx, n, logger) })
	return func() {
		cancel()
		watching.Wait()
		say(logger, told.Stopping())
	}
}

// say logs that systemd could not be told something. The node goes on without it.
func say(logger *slog.Logger, err error) {
	if err != nil {
		logger.Warn("systemd could not be told how this node is", "error", err)
	}
}
