// Command hm is the health manager: the daemon (hm server), the drift-inspection CLI (hm drift, hm explain, ...)
// and the replay of recorded heartbeats (hm record, hm replay).
//
// Exit codes: 0 it ran; 1 any error, usage included; 2 and 3 only with --exit-code, see hm drift and hm replay.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run())
}

// run is main without the exit, so that deferred work is done before the process ends.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once: the first one restores the default behaviour.
	context.AfterFunc(ctx, stop)
	return newCLI(os.Stdin, os.Stdout, os.Stderr).run(ctx, os.Args[1:])
}

// untilHangup gives a context that ends when the terminal is closed, too, for commands that must end in good order then.
// Who asked for that to be ignored, as nohup does, is obeyed.
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return ctx, func() {}
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}
