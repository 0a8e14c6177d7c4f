// Package sandbox runs everything in one process: NATS, a simulated Cloud Foundry and a cluster of hm nodes. Its View
// shows them and injects faults. hm dev is its program.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"hm/internal/sim"
)

// Sandbox is a running sandbox.
type Sandbox struct {
	opts    Options
	dir     dataDir
	logger  *slog.Logger
	logFile *os.File // nil if Options.Log is set
	nats    *sim.NATS
	sim     *sim.Sim
	nodes   []*node
	notice  string // what the user should know about the start, or empty
	view    *View
	panel   panel // of the dashboards of the nodes
}

// Open starts everything in the order NATS, simulation, nodes, view. The caller must close the sandbox. If a part
// cannot start, Open closes those that have started.
func Open(ctx context.Context, o Options) (_ *Sandbox, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Sandbox{}
	defer func() {
		if err != nil {
			_ = s.Close() // the first error says more
		}
	}()
	if s.dir, err = openDataDir(o.DataDir); err != nil {
		return nil, err
	}
	saved, err := s.dir.load()
	if err != nil {
		return nil, err
	}
	if s.opts, err = o.continuing(saved); err != nil {
		return nil, err
	}
	if s.opts.Log == nil {
		s.logFile, err = os.OpenFile(filepath.Join(s.dir.path, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening the log: %w", err)
		}
		s.opts.Log = s.logFile
	}
	if err := s.start(ctx, saved.Nodes); err != nil {
		return nil, err
	}
	s.view = openView(s)
	s.panel.view.Store(s.view)
	return s, nil
}

// start starts the parts. peers are the nodes of an earlier sandbox in the same directory, or empty.
func (s *Sandbox) start(ctx context.Context, peers []peer) (err error) {
	for _, p := range peers {
		if err := probe(p.Raft); err != nil {
			return withHint(fmt.Errorf("node %s of %s must listen on the same address as before: %w", p.ID, s.dir.path, err),
				"is another hm dev running on this directory?")
		}
	}
	if len(peers) == 0 {
		if peers, err = newPeers(s.opts.Nodes, s.opts.listen); err != nil {
			return err
		}
	}
	firstAPI, err := s.firstAPI()
	if err != nil {
		return err
	}
	// Check the configuration before anything starts.
	cfg, err := s.opts.config(peers[0], peers, firstAPI, s.dir.path, "nats://127.0.0.1:4222", ccPlaceholder)
	if err != nil {
		return err
	}
	s.logger = s.opts.NewLogger(s.opts.Log, cfg.Log)
	if s.nats, err = sim.StartNATS(sim.NATSOptions{}); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // Close ends the simulation
	if s.sim, err = sim.Start(ctx, s.simOptions(cfg.Desired.Partition)); err != nil {
		return err
	}
	// Save before the first node starts: from then on its peers know it under this address only.
	if err := s.dir.save(s.opts.saved(peers)); err != nil {
		return err
	}
	return s.startNodes(peers, firstAPI)
}

func (s *Sandbox) simOptions(partition string) sim.Options {
	o, db := s.opts, s.opts.CCDB
	if db == "" {
		db = "sqlite:" + filepath.Join(s.dir.path, ccDBName)
	}
	router, requests := o.router()
	return sim.Options{
		NATS: []string{s.nats.URL()}, Apps: o.Apps, InstancesPerApp: o.InstancesPerApp, DEAs: o.DEAs, Seed: o.Seed,
		HeartbeatPeriod: o.Heartbeat, Partition: partition, Passive: o.CCPassive, DB: db, DBSchema: o.CCSchema,
		RouterListen: router, Requests: requests,
		Logger: s.logger.With("part", "simulation"),
	}
}

func (s *Sandbox) startNodes(peers []peer, firstAPI string) error {
	cc := ccAddress{url: s.sim.CCURL()}
	cc.driver, cc.dsn, _ = s.sim.CC.DB()
	for i, p := range peers {
		api := firstAPI
		if i > 0 {
			api = anyPort
		}
		cfg, err := s.opts.config(p, peers, api, s.dir.path, s.nats.URL(), cc)
		if err != nil {
			return err
		}
		n, err := openNode(cfg, s.opts.Version, &s.panel, s.logger)
		if err != nil {
			return fmt.Errorf("node %s: %w", p.ID, err)
		}
		s.nodes = append(s.nodes, n)
	}
	return nil
}

// anyPort is an address on loopback with a free port.
const anyPort = "127.0.0.1:0"

// firstAPI returns the address for the first node's API: the one in the options, or a free port if only the default
// address is taken.
func (s *Sandbox) firstAPI() (string, error) {
	err := probe(s.opts.API)
	switch {
	case err == nil:
		return s.opts.API, nil
	case s.opts.Given["api"]:
		return "", withHint(fmt.Errorf("--api: %w", err), "use another address, or leave --api out for any free port")
	}
	s.notice = s.opts.API + " is taken: the first API is on a free port; set HM_ADDR for the other hm commands"
	return anyPort, nil
}

// View returns the view model of the sandbox. Close closes it.
func (s *Sandbox) View() *View { return s.view }

// Simulation returns the simulated Cloud Foundry.
func (s *Sandbox) Simulation() *sim.Sim { return s.sim }

// DataDir returns the data directory, and whether it is kept after Close.
func (s *Sandbox) DataDir() (path string, kept bool) { return s.dir.path, !s.dir.temporary }

// Close closes the view, the nodes, the simulation and NATS, and waits for them. It removes a temporary data directory.
func (s *Sandbox) Close() error {
	if s.view != nil {
		s.view.close()
	}
	errs := make([]error, len(s.nodes))
	var closing sync.WaitGroup
	for i, n := range s.nodes {
		closing.Go(func() { errs[i] = n.close() })
	}
	closing.Wait()
	if s.sim != nil {
		s.sim.Close()
	}
	if s.nats != nil {
		s.nats.Stop()
	}
	if s.logFile != nil {
		errs = append(errs, s.logFile.Close())
	}
	return errors.Join(append(errs, s.dir.close())...)
}
