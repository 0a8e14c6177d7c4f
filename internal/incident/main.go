// Command incident writes docs/incident.md: an incident with real hm processes, a real NATS server and a simulated Cloud
// Foundry, told with what the commands of hm really printed. It takes two minutes, and everything that it starts it ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	out := flag.String("o", "docs/incident.md", "file to write")
	keep := flag.Bool("keep", false, "keep the directory with the logs and the recording")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, 10*time.Minute)
	defer stop()
	if err := run(ctx, *out, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "incident:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "hm-incident-")
	if err != nil {
		return err
	}
	s, err := start(ctx, dir)
	defer func() {
		s.close()
		if keep || err != nil {
			fmt.Fprintln(os.Stderr, "the logs and the recording are in", dir)
		} else {
			_ = os.RemoveAll(dir)
		}
	}()
	if err != nil {
		return err
	}
	p := &page{scene: s}
	if tell(ctx, p); p.err != nil {
		return p.err
	}
	return os.WriteFile(out, p.text.Bytes(), 0o644)
}
