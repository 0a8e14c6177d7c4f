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
	"hm/commands"
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
	"hm/internal/tlsfiles"
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
	warnOfExposed(cfg, logger)
	n := &Node{version: o.Version, certificates: tlsfiles.NewWatcher(logger)}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	defer func() {
		if err != nil {
			_ = n.Close() // the first error says more
		}
	}()
	ended := reconcile.NewEndedCommands(reconcile.EndedKept)
	var totals api.CommandTotals
	var details api.CommandDetails
	times := metrics.NewTimes()
	n.hook = newRecorderHook(n, cfg)
	joining, err := clusterOptions(cfg, logger)
	if err != nil {
		return nil, err
	}
	if n.journal, err = journal.New(journal.Options{
		Path: filepath.Join(cfg.Node.DataDir, "journal.db"), Node: cfg.Node.ID, Entries: cfg.Commands.JournalEntries,
		Logger: logger, Now: func() app.Time { return n.cluster.Now() },
		Peers: journalPeers{func() *cluster.Node { return n.cluster }},
	}); err != nil {
		return nil, err
	}
	joining.TLSFiles = n.certificates
	joining.OnApply = func(a raftfsm.Applied) {
		n.journal.Applied(a)
		ended.Add(a.Result.Ended)
		totals.Applied(a)
		details.Applied(a)
		n.hook.applied(a)
	}
	joining.BeforeSnapshot, joining.Version = n.storeJournal, n.version
	joining.ObserveApply, joining.ObserveProposal = times.Apply.Observe, times.Proposal.Observe
	if n.cluster, err = cluster.Open(joining); err != nil {
		return nil, fmt.Errorf("joining the cluster: %w", err)
	}
	n.journal.Start()
	n.handover = &handover{
		cluster: n.cluster, logger: logger,
		decides: handsOver{id: cfg.Node.ID, window: cfg.Freshness(), period: cfg.Policy.HeartbeatPeriod},
	}
	link := linkOptions(cfg, "hm "+cfg.Node.ID, logger)
	link.TLSFiles = n.certificates
	if n.link, err = bus.Open(link); err != nil {
		return nil, fmt.Errorf("opening the NATS link: %w", err)
	}
	if n.source, err = OpenSource(cfg, n.link, logger); err != nil {
		return nil, err
	}
	publisher, err := n.commandPublisher(cfg, times, logger)
	if err != nil {
		return nil, err
	}
	n.events = newOwnEvents(cfg.Node.ID, n.journal.AddOwn, n.cluster)
	log := replicatedLog{n.cluster}
	clock := intakeLog{log, time.Now()}
	liveness := actual.NewLiveness(cfg.Policy.HeartbeatPeriod, cfg.HeartbeatTTL(), cfg.Freshness(), clock.Now())
	heard := notify.New() // by the intake, for the loop, which is made from the intake
	n.intake = reconcile.NewIntake(clock, liveness, heard.Notify)
	if err := n.measureLag(cfg); err != nil {
		return nil, fmt.Errorf("measuring the lag of the NATS link: %w", err)
	}
	options := loopOptions(cfg, logger)
	options.Times = timesOf(times)
	n.readTook.then, options.Times.ReadComplete = times.ReadComplete, &n.readTook
	options.StateDiffers, options.Peers = n.cluster.StateDiffers, peerHearing{cfg.Node.ID, n.cluster}
	options.NATSRefused = n.heartbeatsRefused
	if n.cc != nil {
		options.CCReachable = n.cc.Reachable
	}
	options.Node, options.Notes = cfg.Node.ID, func() bool { return n.cluster.Knows(raftfsm.KindNoted) }
	options.WhyLead = func() string { return n.events.why(n.cluster.LeaderContact()) }
	n.loop = reconcile.NewLoop(reconcile.LoopOptions{
		Options: options, Log: log, Leader: log, Publisher: publisher,
		Source: n.source, Intake: n.intake, Heard: heard, ReadTimeout: ReadTimeout(cfg),
		PeerReads: n.newestPeerRead, ReadRecorded: n.readRecorded, ReadEnded: n.hook.readEnded, AppReadEnded: n.hook.appReadEnded,
	}, ended)
	if n.feed, err = feed.Open(n.link, n.intake, cfg.Policy.HeartbeatPeriod, n.hook.Message, logger); err != nil {
		return nil, fmt.Errorf("listening to the DEAs: %w", err)
	}
	if err := n.takePosts(cfg, logger); err != nil {
		return nil, err
	}
	if err := n.hearOther(cfg, logger); err != nil {
		return nil, err
	}
	ports := n.apiPorts(apiOptions(cfg, logger), &totals, cfg.Commands.Protocol)
	ports.Details, ports.CC = &details, n.ccState
	ports.TLSFiles = n.certificates
	ports.Compare, ports.Times = n.compareOptions(cfg), times
	ports.Dashboard = func(c *api.Client) http.Handler { return dashboard.New(c, dashboard.Options{Sandbox: o.Sandbox}) }
	if err := n.openKeys(cfg, &ports, logger); err != nil {
		return nil, err
	}
	if n.api, err = api.Open(ports); err != nil {
		return nil, fmt.Errorf("serving the API: %w", err)
	}
	if n.other == nil { // in shadow mode the questions of the Cloud Controller belong to the other health manager
		if n.queries, err = api.ServeQueries(n.link, n.api); err != nil {
			return nil, fmt.Errorf("answering a Cloud Controller over NATS: %w", err)
		}
	}
	if err := n.openComponent(cfg, logger); err != nil {
		return nil, err
	}
	n.apiAddress = cfg.APIAddress(n.api.Addr())
	n.own(func() { n.loop.Run(ctx) })
	n.own(func() { n.watch(ctx) })
	n.own(func() { n.certificates.Run(ctx) })
	if n.cc != nil {
		n.own(func() { n.cc.Watch(ctx) })
	}
	n.own(func() { n.serveHistory(ctx, logger) })
	n.own(func() { n.nameCluster(ctx, logger) })
	n.own(func() { n.serveRelays(ctx, cfg, logger) })
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
		ID: cfg.Node.ID, DataDir: cfg.Node.DataDir, Listen: cfg.Raft.Listen, Advertise: cfg.Raft.Advertise, Peers: peers, Join: cfg.Raft.Join,
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

// postsAtOnce is how many commands are claimed together if each is a request to the Cloud Controller. A Cloud Controller
// that answers slowly takes no more within commands.claim_lease; what is claimed and not posted is decided anew.
const postsAtOnce = 500

func loopOptions(cfg config.Config, logger *slog.Logger) reconcile.Options {
	atOnce := 0
	if cfg.Commands.Protocol == config.ProtocolHTTP {
		atOnce = postsAtOnce
	}
	return reconcile.Options{
		Policy: cfg.DiffPolicy(),
		Guard: reconcile.Guard{
			DesiredShrink: cfg.Guard.DesiredShrink, MinApps: cfg.Guard.MinApps, ConfirmReads: cfg.Guard.ConfirmReads,
			MassLoss: cfg.Guard.MassLoss, MinDEAs: cfg.Guard.MinDEAs, MassLossHold: cfg.MassLossHold(),
			Ways: cfg.Heartbeats.Listen != "",
		},
		StartLimit: cfg.Policy.StartLimit, StopLimit: cfg.Policy.StopLimit,
		DesiredTTL: cfg.DesiredTTL(), PollInterval: cfg.PollInterval(), ClaimLease: cfg.ClaimLease(),
		LeaseHolds: cfg.LeaseHolds(), ClaimsAtOnce: atOnce,
		Filter: cfg.Desired.Filter.String(),
		Logger: logger,
	}
}

// apiOptions gives the options of the API that come from the configuration; apiPorts adds the rest.
func apiOptions(cfg config.Config, logger *slog.Logger) api.Options {
	return api.Options{
		ID: cfg.Node.ID, Listen: cfg.API.Listen,
		Username: cfg.API.Username, Password: cfg.API.Password, ReadUsername: cfg.API.ReadUsername, ReadPassword: cfg.API.ReadPassword,
		AdminToken: cfg.API.AdminToken, ReadToken: cfg.API.ReadToken, JWT: jwtOptions(cfg.API.JWT),
		TLS: api.TLS(cfg.API.TLS), Pprof: cfg.API.Pprof,
		ClusterTLS: cfg.Raft.TLS != (config.MutualTLS{}),
		Policy:     cfg.DiffPolicy(), HeartbeatTTL: cfg.HeartbeatTTL(), AppStateDesired: cfg.Compat.AppStateDesired, SpoolDir: cfg.Node.DataDir, Freshness: cfg.Freshness(), Logger: logger,
	}
}

func (n *Node) apiPorts(o api.Options, totals *api.CommandTotals, protocol string) api.Options {
	subject := func(a commands.Action) string {
		if protocol == config.ProtocolHTTP && a == commands.Stop {
			return natspub.SubjectStop // of an app that the Cloud Controller does not know (W01)
		}
		return natspub.Subject(protocol, a)
	}
	o.Version, o.JournalStats = n.version, n.journal.Stats
	o.Node, o.Loop, o.Link, o.Lag, o.Proved, o.Feed = n.cluster, n.loop, n.link, n.marker.Lag, n.linkProved, n.feedStats
	o.Ended, o.Transfers, o.KnowsLess, o.Subject = totals, n.handover.totals, n.knowsLess, subject
	o.Journal, o.Component, o.Posts = n.journal, n.componentStats, n.postStats
	o.Record, o.RecordState, o.Restore = n.hook.record, n.hook.InsertState, n.cluster.Restore
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
