package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"hm/internal/sim"
)

// devWorld is all that hm dev runs: NATS, the simulated Cloud Foundry, and the nodes.
type devWorld struct {
	opts   devOptions
	dir    devDir
	logger *slog.Logger
	nats   *sim.NATS
	sim    *sim.Sim
	nodes  []*devNode
	notice string // what the person should know about the start, or empty
}

// openDevWorld starts everything. If a part cannot start, those that have are closed.
func openDevWorld(ctx context.Context, o devOptions, dir devDir, saved devSaved, newLog func(devLog) *slog.Logger) (_ *devWorld, err error) {
	w := &devWorld{opts: o, dir: dir}
	defer func() {
		if err != nil {
			_ = w.close() // the first error tells more
		}
	}()
	peers := saved.Nodes
	if len(peers) == 0 {
		if peers, err = newDevPeers(o.nodes); err != nil {
			return nil, err
		}
	}
	for _, p := range saved.Nodes {
		if err := taken(p.Raft); err != nil {
			return nil, withHint(fmt.Errorf("node %s of %s must listen where it did before: %w", p.ID, dir.path, err), "is another hm dev running on this directory?")
		}
	}
	first, err := w.firstAPI()
	if err != nil {
		return nil, err
	}
	// A mistake in --set must not wait for the ports of what is not started yet.
	cfg, err := o.config(peers[0], peers, first, dir.path, "nats://127.0.0.1:4222", devCCAhead)
	if err != nil {
		return nil, err
	}
	w.logger = newLog(cfg.Log)
	if w.nats, err = sim.StartNATS(sim.NATSOptions{}); err != nil {
		return nil, err
	}
	db := o.ccDB
	if db == "" {
		db = "sqlite:" + filepath.Join(dir.path, devCCDBName)
	}
	w.sim, err = sim.Start(context.WithoutCancel(ctx), sim.Options{ // close ends it, after the nodes
		NATS: []string{w.nats.URL()}, Apps: o.apps, InstancesPerApp: o.instancesPerApp, DEAs: o.deas, Seed: o.seed,
		HeartbeatPeriod: o.heartbeat, Partition: cfg.Desired.Partition, Passive: o.ccPassive, DB: db, DBSchema: o.ccSchema, Logger: w.logger.With("part", "simulation"),
	})
	if err != nil {
		return nil, err
	}
	// Before the first node: once it has begun, it is found under this address only.
	if err := dir.save(o.saved(peers)); err != nil {
		return nil, err
	}
	cc := devCC{url: w.sim.CCURL()}
	cc.driver, cc.dsn, _ = w.sim.CC.DB()
	for i, p := range peers {
		api := first
		if i > 0 {
			api = "127.0.0.1:0"
		}
		cfg, err := o.config(p, peers, api, dir.path, w.nats.URL(), cc)
		if err != nil {
			return nil, err
		}
		n, err := openDevNode(cfg, w.logger)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", p.ID, err)
		}
		w.nodes = append(w.nodes, n)
	}
	return w, nil
}

// firstAPI gives the address for the first API: the one asked for, or a free one if only the default is taken.
func (w *devWorld) firstAPI() (string, error) {
	err := taken(w.opts.api)
	switch {
	case err == nil:
		return w.opts.api, nil
	case w.opts.apiFixed:
		return "", withHint(fmt.Errorf("--api: %w", err), "use another address, or leave --api out for any free port")
	}
	w.notice = w.opts.api + " is taken: the first API is on a free port; set HM_ADDR for the other hm commands"
	return "127.0.0.1:0", nil
}

// close ends everything, the nodes first, and waits for it.
func (w *devWorld) close() error {
	errs := make([]error, len(w.nodes))
	var closing sync.WaitGroup
	for i, n := range w.nodes {
		closing.Go(func() { errs[i] = n.close() })
	}
	closing.Wait()
	if w.sim != nil {
		w.sim.Close()
	}
	if w.nats != nil {
		w.nats.Stop()
	}
	return errors.Join(errs...)
}
