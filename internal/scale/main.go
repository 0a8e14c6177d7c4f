// Command scale measures what hm costs at a size: it runs a simulated fleet, a NATS server, a bare NATS subscriber that
// throws the same messages away, and hm, each in its own process, lets things happen to the fleet, and prints one table.
// The bare subscriber is what no program that hears all heartbeats can do without, so the ratio to it says more than
// seconds do, which depend on the machine. It needs Linux.
//
//	go run ./internal/scale -instances 1000000
//
// With -model it measures nothing, and says what a model of the parts says.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// size says what is measured.
type size struct {
	instances, perApp, perDEA int
	nodes                     int
	period                    time.Duration // of the heartbeats
	window                    time.Duration // over which what lasts is measured
	restarts                  int           // of the leader, in the scenario restart
	change, crash             float64       // shares of the instances, each heartbeat
	profiles                  string        // a directory for profiles of the leader in each scenario; empty: none
}

func (s size) deas() int { return max(s.instances/s.perDEA, 2) }
func (s size) apps() int { return max(s.instances/s.perApp, 1) }

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	var s size
	var only, program string
	flag.IntVar(&s.instances, "instances", 100_000, "instances at the start")
	flag.IntVar(&s.perApp, "per-app", 2, "instances of an app, on average")
	flag.IntVar(&s.perDEA, "per-dea", 100, "instances on a DEA")
	flag.IntVar(&s.nodes, "nodes", 1, "nodes of hm: 1 or 3")
	flag.DurationVar(&s.period, "heartbeat", 10*time.Second, "heartbeat period")
	flag.DurationVar(&s.window, "window", 60*time.Second, "how long what lasts is measured")
	flag.IntVar(&s.restarts, "restarts", 1, "how often the leader is killed, in the scenario restart")
	flag.Float64Var(&s.change, "change", 0.05, "share of the instances that each heartbeat shows in another state, in the scenario change")
	flag.Float64Var(&s.crash, "crash", 0.05, "share of the instances that crash between two heartbeats, in the scenario crash")
	flag.StringVar(&s.profiles, "profiles", "", "directory for a processor and a memory profile of the leader in each scenario")
	flag.StringVar(&only, "only", "", "comma-separated scenarios: "+strings.Join(names(), ", ")+" (default: all)")
	flag.StringVar(&program, "hm", "", "the program hm to measure (default: built from ./cmd/hm)")
	paper := flag.Bool("model", false, "measure nothing: say what the model of docs/scale.md says of the size")
	flag.Parse()
	if *paper {
		if err := showModel(os.Stdout, s); err != nil {
			fmt.Fprintln(os.Stderr, "scale:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	chosen := names()
	if only != "" {
		chosen = strings.Split(only, ",")
	}
	if err := measure(ctx, s, chosen, program); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// scenario is something that happens to the fleet or to hm, and what is measured meanwhile. They run in order, each on
// what the one before it left.
type scenario struct {
	name string
	run  func(context.Context, *bench) error
}

func scenarios() []scenario {
	return []scenario{
		{"cold", cold}, {"steady", steady}, {"restart", restart}, {"change", changes}, {"crash", crashes}, {"loss", loss},
	}
}

func names() (all []string) {
	for _, s := range scenarios() {
		all = append(all, s.name)
	}
	return all
}

// measure runs the chosen scenarios and prints the table. "cold" always runs: it brings hm up.
func measure(ctx context.Context, s size, chosen []string, program string) error {
	for _, name := range chosen {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("there is no scenario %q: there are %s", name, strings.Join(names(), ", "))
		}
	}
	if s.nodes != 1 && s.nodes != 3 {
		return errors.New("-nodes must be 1 or 3")
	}
	b, err := newBench(ctx, s, program)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Printf("%d instances of %d apps on %d DEAs, a heartbeat each %v, hm on %d node(s); %d processors\n\n",
		s.instances, s.apps(), s.deas(), s.period, s.nodes, processors())
	for _, sc := range scenarios() {
		if sc.name != "cold" && !slices.Contains(chosen, sc.name) {
			continue
		}
		if err := sc.run(ctx, b); err != nil {
			b.showLogs()
			return fmt.Errorf("scenario %s: %w", sc.name, err)
		}
	}
	return nil
}
