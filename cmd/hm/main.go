// Command hm is the health manager: the daemon (hm server), the drift-inspection CLI (hm drift, hm explain, ...)
// and the replay of recorded heartbeats (hm record, hm replay).
//
// Exit codes: 0 success; 1 error, usage errors included; 2 and 3 only if a flag asks for them: see hm drift and hm
// replay.
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

// run is main without the exit, so that deferred calls run before the process ends.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once: the first one restores the default behaviour.
	context.AfterFunc(ctx, stop)
	return newCLI(os.Stdin, os.Stdout, os.Stderr).run(ctx, os.Args[1:])
}

// untilHangup returns a context that also ends when the terminal closes (SIGHUP), for commands that must clean up. It
// respects nohup, which ignores SIGHUP.
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return ctx, func() {}
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}
