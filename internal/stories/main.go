// Command stories writes the documents that are told with what the commands of hm really printed: docs/incident.md and
// docs/migration.md. It makes happen what a document tells, with real hm processes, a real NATS server and a simulated
// Cloud Foundry. A document takes two minutes, and everything that the command starts it ends.
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
	out := flag.String("o", "", "file to write (default docs/NAME.md)")
	keep := flag.Bool("keep", false, "keep the directory with the logs and the recording")
	flag.Parse()
	told, ok := stories[flag.Arg(0)]
	if !ok || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "stories: name the one to write: incident or migration")
		os.Exit(1)
	}
	if *out == "" {
		*out = "docs/" + flag.Arg(0) + ".md"
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, 10*time.Minute)
	defer stop()
	if err := run(ctx, told, *out, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "stories:", err)
		os.Exit(1)
	}
}

// story is a document: what happens, and the scene where it does.
type story struct {
	set  func(ctx context.Context, s *scene) error
	tell func(ctx context.Context, p *page)
}

var stories = map[string]story{
	"incident":  {setIncident, tellIncident},
	"migration": {setMigration, tellMigration},
}

func run(ctx context.Context, told story, out string, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "hm-story-")
	if err != nil {
		return err
	}
	s, err := start(ctx, dir)
	if err == nil {
		err = told.set(ctx, s)
	}
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
	if told.tell(ctx, p); p.err != nil {
		return p.err
	}
	return os.WriteFile(out, p.text.Bytes(), 0o644)
}
