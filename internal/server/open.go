package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"hm/actual"
	"hm/actual/feed"
	"hm/commands/natspub"
	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/config"
	"hm/internal/dashboard"
	"hm/internal/journal"
	"hm/internal/metrics"
	"hm/internal/notify"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// Open starts a node. It returns once the node's parts run; NATS, the Cloud Controller and the other nodes may still
// be away. The caller must close the node.
func Open(cfg config.Config, o Options) (_ *Node, err error) {
	if err := Check(cfg); err != nil {
		return nil, err
	}
	logger := o.Logger.With("node", cfg.Node.ID)
	for _, w := range cfg.Warnings() {
		logger.Warn("a configuration key is probably not as you want it", "key", w.Key, "value", w.Value, "want", w.Want)
	}
	n := &Node{version: o.Version}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	defer func() {
		if err != nil {
			_ = n.Close() // the first error says more
		}
	}()
	ended := reconcile.NewEndedCommands(reconcile.EndedKept)
	var totals api.CommandTotals
	times := metrics.NewTimes()
	n.hook = newRecorderHook(n, cfg)
	joining, err := clusterOptions(cfg, logger)
	if err != nil {
		return nil, err
	}
	if n.journal, err = journal.New(journal.Options{
		Path: filepath.Join(cfg.Node.DataDir, "journal.db"), Node: cfg.Node.ID, Entries: cfg.Commands.JournalEntries,
		Logger: logger, Now: func() app.Time { return n.cluster.Now() },
		Peers: newJournalPeers(cfg, func() *cluster.Node { return n.cluster }),
	}); err != nil {
		return nil, err
	}
	joining.OnApply = func(a raftfsm.Applied) {
		n.journal.Applied(a)
		ended.Add(a.Result.Ended)
		totals.Applied(a)
		n.hook.applied(a)
	}
	joining.BeforeSnapshot = n.storeJournal
	joining.ObserveApply, joining.ObserveProposal = times.Apply.Observe, times.Proposal.Observe
	if n.cluster, err = cluster.Open(joining); err != nil {
		return nil, fmt.Errorf("joining the cluster: %w", err)
	}
	n.journal.Start()
	n.handover = &handover{
		cluster: n.cluster, logger: logger,
		decides: handsOver{id: cfg.Node.ID, window: cfg.Freshness(), period: cfg.Policy.HeartbeatPeriod},
	}
	if n.link, err = OpenLink(cfg, "hm "+cfg.Node.ID, logger); err != nil {
		return nil, err
	}
	if n.source, err = OpenSource(cfg, n.link, logger); err != nil {
		return nil, err
	}
	publisher, err := n.commandPublisher(cfg)
	if err != nil {
		return nil, err
	}
	n.events = newOwnEvents(cfg.Node.ID, n.journal.AddOwn, n.cluster.Now)
	log := replicatedLog{n.cluster}
	clock := intakeLog{log, time.Now()}
	liveness := actual.NewLiveness(cfg.Policy.HeartbeatPeriod, cfg.HeartbeatTTL(), cfg.Freshness(), clock.Now())
	wake := notify.New() // the intake wakes the loop, which is made from the intake
	n.intake = reconcile.NewIntake(clock, liveness, wake.Notify)
	if err := n.measureLag(cfg); err != nil {
		return nil, fmt.Errorf("measuring the lag of the NATS link: %w", err)
	}
	options := loopOptions(cfg, logger)
	options.Times = timesOf(times)
	options.StateDiffers, options.Peers = n.cluster.StateDiffers, peerHearing{cfg.Node.ID, n.cluster}
	options.NATSRefused = n.heartbeatsRefused
	options.Node, options.Notes = cfg.Node.ID, func() bool { return n.cluster.Knows(raftfsm.KindNoted) }
	options.WhyLead = func() string { return n.events.why(n.cluster.LeaderContact()) }
	n.loop = reconcile.NewLoop(reconcile.LoopOptions{
		Options: options, Log: log, Leader: log, Publisher: publisher,
		Source: n.source, Intake: n.intake, ReadTimeout: ReadTimeout(cfg), PeerReads: n.newestPeerRead, ReadRecorded: n.readRecorded,
		ReadEnded: n.hook.readEnded, AppReadEnded: n.hook.appReadEnded,
	}, ended)
	if n.feed, err = feed.Open(n.link, n.intake, n.hook.Message, logger); err != nil {
		return nil, fmt.Errorf("listening to the DEAs: %w", err)
	}
	if err := n.hearOther(cfg, logger); err != nil {
		return nil, err
	}
	ports := n.apiPorts(apiOptions(cfg, logger), &totals)
	ports.Compare, ports.Times = n.compareOptions(cfg), times
	ports.Dashboard = func(c *api.Client) http.Handler { return dashboard.New(c, dashboard.Options{Sandbox: o.Sandbox}) }
	if n.api, err = api.Open(ports); err != nil {
		return nil, fmt.Errorf("serving the API: %w", err)
	}
	if n.other == nil { // in shadow mode the questions of the Cloud Controller belong to the other health manager
		if n.queries, err = api.ServeQueries(n.link, n.api); err != nil {
			return nil, fmt.Errorf("answering app.state over NATS: %w", err)
		}
	}
	n.apiAddress = cfg.APIAddress(n.api.Addr())
	n.own(func() { n.loop.Run(ctx) })
	n.own(func() { n.watch(ctx, wake.C()) })
	n.own(func() { n.serveHistory(ctx, logger) })
	logger.Info("hm is up",
		"version", n.version, "api", n.api.Addr(), "raft", cfg.Raft.Listen, "data_dir", cfg.Node.DataDir)
	return n, nil
}

func clusterOptions(cfg config.Config, logger *slog.Logger) (cluster.Options, error) {
	list, err := cfg.Raft.PeerList()
	if err != nil {
		return cluster.Options{}, fmt.Errorf("raft.peers: want %w", err)
	}
	peers := make([]cluster.Peer, len(list))
	for i, p := range list {
		peers[i] = cluster.Peer(p)
	}
	return cluster.Options{
		ID: cfg.Node.ID, DataDir: cfg.Node.DataDir, Listen: cfg.Raft.Listen, Advertise: cfg.Raft.Advertise, Peers: peers,
		TLS: cluster.TLS(cfg.Raft.TLS), Insecure: cfg.Raft.Insecure,
		HeartbeatTimeout: cfg.Raft.HeartbeatTimeout, ElectionTimeout: cfg.Raft.ElectionTimeout,
		LeaseTimeout:     cfg.Raft.LeaseTimeout,
		SnapshotInterval: cfg.Raft.SnapshotInterval, SnapshotThreshold: uint64(cfg.Raft.SnapshotThreshold),
		Logger: logger,
	}, nil
}

func linkOptions(cfg config.Config, name string, logger *slog.Logger) bus.Options {
	return bus.Options{
		Servers:  cfg.NATS.Servers,
		Username: cfg.NATS.Username, Password: cfg.NATS.Password, Token: cfg.NATS.Token, Creds: cfg.NATS.Creds,
		TLS: bus.TLS(cfg.NATS.TLS), PingInterval: cfg.PingInterval(), Name: name, Logger: logger,
	}
}

// OpenLink opens the link to NATS that the configuration describes. name is shown by the NATS server. The caller must
// close the link.
func OpenLink(cfg config.Config, name string, logger *slog.Logger) (*bus.Link, error) {
	link, err := bus.Open(linkOptions(cfg, name, logger))
	if err != nil {
		return nil, fmt.Errorf("opening the NATS link: %w", err)
	}
	return link, nil
}

func loopOptions(cfg config.Config, logger *slog.Logger) reconcile.Options {
	return reconcile.Options{
		Policy: cfg.DiffPolicy(),
		Guard: reconcile.Guard{
			DesiredShrink: cfg.Guard.DesiredShrink, MinApps: cfg.Guard.MinApps, ConfirmReads: cfg.Guard.ConfirmReads,
			MassLoss: cfg.Guard.MassLoss, MinDEAs: cfg.Guard.MinDEAs, MassLossHold: cfg.MassLossHold(),
		},
		StartLimit: cfg.Policy.StartLimit, StopLimit: cfg.Policy.StopLimit,
		DesiredTTL: cfg.DesiredTTL(), PollInterval: cfg.PollInterval(), ClaimLease: cfg.ClaimLease(),
		LeaseHolds: cfg.LeaseHolds(),
		Logger:     logger,
	}
}

// apiOptions gives the options of the API that come from the configuration; apiPorts adds the rest.
func apiOptions(cfg config.Config, logger *slog.Logger) api.Options {
	return api.Options{
		ID: cfg.Node.ID, Listen: cfg.API.Listen,
		Username: cfg.API.Username, Password: cfg.API.Password, TLS: api.TLS(cfg.API.TLS), Pprof: cfg.API.Pprof,
		Policy: cfg.DiffPolicy(), HeartbeatTTL: cfg.HeartbeatTTL(), Logger: logger,
	}
}

func (n *Node) apiPorts(o api.Options, totals *api.CommandTotals) api.Options {
	o.Version, o.JournalStats = n.version, n.journal.Stats
	o.Node, o.Loop, o.Link, o.Lag, o.Proved, o.Feed = n.cluster, n.loop, n.link, n.marker.Lag, n.linkProved, n.feedStats
	o.Ended, o.Transfers, o.KnowsLess, o.Subject = totals, n.handover.totals, n.knowsLess, natspub.Subject
	o.Journal = n.journal
	o.Record, o.RecordState = n.hook.record, n.hook.InsertState
	return o
}

func timesOf(t *metrics.Times) reconcile.Times {
	return reconcile.Times{
		HeartbeatRecorded: t.HeartbeatRecorded, ExitRecorded: t.ExitRecorded,
		StartPublished: t.StartPublished, StopPublished: t.StopPublished,
		StartConfirmed: t.StartConfirmed, StopConfirmed: t.StopConfirmed,
		Step: t.Step, ReadComplete: t.ReadComplete, ReadFailed: t.ReadFailed,
	}
}

func (n *Node) feedStats() api.FeedStats {
	s := n.feed.Stats()
	return api.FeedStats{
		Heartbeats: s.Heartbeats.Received, Unchanged: s.Heartbeats.Unchanged,
		HeartbeatsRejected: s.Heartbeats.Malformed + s.Heartbeats.TooLarge,
		InstancesRejected:  s.Heartbeats.Rejected,
		InstancesUnplaced:  s.Heartbeats.Unplaced, UnknownStates: s.Heartbeats.UnknownStates,
		Exits: s.Exits.Received, ExitsRejected: s.Exits.Malformed + s.Exits.TooLarge, Updates: s.Updates.Received,
	}
}
