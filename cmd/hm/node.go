package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hm/actual"
	"hm/actual/feed"
	"hm/commands"
	"hm/commands/natspub"
	"hm/desired/bulk"
	"hm/desired/sqldb"
	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/cluster"
	"hm/internal/config"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// node is one hm daemon, wired together: hm server runs one, hm dev three.
type node struct {
	cluster *cluster.Node
	link    *bus.Link
	marker  *bus.Marker // how late the link is
	feed    *feed.Feed
	source  source
	intake  *reconcile.Intake
	loop    *reconcile.Loop
	api     *api.Server
	queries *api.Queries // app.state and app.state.bulk over NATS
	tap     *nodeTap     // for recordings
	yields  *yielder

	readEnded atomic.Int64 // hm time at which this node recorded a complete read last

	address string // under which others find the API, if they can at all
	cancel  context.CancelFunc
	owned   sync.WaitGroup // goroutines that close waits for
	once    sync.Once
	failed  error // of close
}

// openNode starts a daemon. It returns once its parts run; NATS, the Cloud Controller and the other nodes may be
// away. The caller must close it.
func openNode(cfg config.Config, logger *slog.Logger) (_ *node, err error) {
	logger = logger.With("node", cfg.Node.ID)
	n := &node{}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	defer func() {
		if err != nil {
			_ = n.close() // the first error tells more
		}
	}()
	journal := reconcile.NewJournal(cfg.Commands.JournalEntries)
	var totals api.CommandTotals
	n.tap = newNodeTap(n, cfg)
	list, err := cfg.Raft.PeerList()
	if err != nil {
		return nil, fmt.Errorf("raft.peers: want %w", err)
	}
	peers := make([]cluster.Peer, len(list))
	for i, p := range list {
		peers[i] = cluster.Peer(p)
	}
	n.cluster, err = cluster.Open(cluster.Options{
		ID: cfg.Node.ID, DataDir: cfg.Node.DataDir, Listen: cfg.Raft.Listen, Advertise: cfg.Raft.Advertise, Peers: peers,
		TLS:              cluster.TLS(cfg.Raft.TLS),
		Insecure:         cfg.Raft.Insecure,
		HeartbeatTimeout: cfg.Raft.HeartbeatTimeout, ElectionTimeout: cfg.Raft.ElectionTimeout, LeaseTimeout: cfg.Raft.LeaseTimeout,
		SnapshotInterval: cfg.Raft.SnapshotInterval, SnapshotThreshold: uint64(cfg.Raft.SnapshotThreshold),
		OnApply: func(a raftfsm.Applied) {
			journal.Add(a.Result.Ended)
			totals.Applied(a)
			n.tap.applied(a)
		},
		Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("joining the cluster: %w", err)
	}
	n.yields = &yielder{id: cfg.Node.ID, window: cfg.Freshness(), period: cfg.Policy.HeartbeatPeriod, cluster: n.cluster, logger: logger}
	n.link, err = bus.Open(bus.Options{
		Servers: cfg.NATS.Servers, Username: cfg.NATS.Username, Password: cfg.NATS.Password, Token: cfg.NATS.Token, Creds: cfg.NATS.Creds,
		TLS: bus.TLS(cfg.NATS.TLS), PingInterval: cfg.PingInterval(), Name: "hm " + cfg.Node.ID, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the NATS link: %w", err)
	}
	n.source, err = openSource(cfg, n.link, logger)
	if err != nil {
		n.source = nil // a nil pointer in an interface is none
		return nil, fmt.Errorf("preparing to read the desired state: %w", err)
	}
	nats, err := natspub.New(n.link, cfg.Commands.Protocol)
	if err != nil {
		return nil, fmt.Errorf("commands.protocol: %w", err)
	}
	log := recordLog{n.cluster}
	heard := heardLog{log, time.Now()}
	liveness := actual.NewLiveness(cfg.Policy.HeartbeatPeriod, cfg.HeartbeatTTL(), cfg.Freshness(), heard.Now())
	wake := make(chan struct{}, 1) // the loop is made of the intake, which wakes the loop
	n.intake = reconcile.NewIntake(heard, liveness, func() { poke(wake) })
	if err := n.listenInTime(cfg); err != nil {
		return nil, fmt.Errorf("measuring the lag of the NATS link: %w", err)
	}
	nats.Spell = func(c commands.Command) commands.Spelling { return n.intake.Spelling(n.cluster.View(), c) }
	options := loopOptions(cfg, logger)
	options.StateDiffers, options.Peers = n.cluster.StateDiffers, peerHearing{cfg.Node.ID, n.cluster}
	options.NATSRefused = n.heartbeatsRefused
	n.loop = reconcile.NewLoop(reconcile.LoopOptions{
		Options: options, Log: log, Leader: log, Publisher: publisherOf(cfg, nats),
		Source: n.source, Intake: n.intake, ReadTimeout: readTimeout(cfg), PeerReads: n.peerReads, Told: n.told,
		ReadEnded: n.tap.readEnded, AppReadEnded: n.tap.appReadEnded,
	}, journal)
	n.feed, err = feed.Open(n.link, n.intake, n.tap.Message, logger)
	if err != nil {
		return nil, fmt.Errorf("listening to the DEAs: %w", err)
	}
	n.api, err = api.Open(api.Options{
		ID: cfg.Node.ID, Version: readBuildInfo().Version, Listen: cfg.API.Listen, Username: cfg.API.Username, Password: cfg.API.Password, TLS: api.TLS(cfg.API.TLS),
		Node: n.cluster, Loop: n.loop, Link: n.link, Lag: n.marker.Lag, Feed: n.feedStats, Ended: &totals, Transfers: n.yields.transfers, Policy: cfg.DiffPolicy(), HeartbeatTTL: cfg.HeartbeatTTL(), Record: n.tap.record, RecordState: n.tap.InsertState, Logger: logger,
		KnowsLess: n.knowsLess, Subject: natspub.Subject,
	})
	if err != nil {
		return nil, fmt.Errorf("serving the API: %w", err)
	}
	n.queries, err = api.ServeQueries(n.link, n.api)
	if err != nil {
		return nil, fmt.Errorf("answering app.state over NATS: %w", err)
	}
	n.address = cfg.APIAddress(n.api.Addr())
	n.own(func() { n.loop.Run(ctx) })
	n.own(func() { n.watch(ctx, wake) })
	logger.Info("hm is up", "version", readBuildInfo().Version, "api", n.api.Addr(), "raft", cfg.Raft.Listen, "data_dir", cfg.Node.DataDir)
	return n, nil
}

// close ends everything, the newest part first, and waits for it.
func (n *node) close() error {
	n.once.Do(func() {
		n.cancel()
		var errs []error
		if n.queries != nil {
			n.queries.Close()
		}
		if n.api != nil {
			errs = append(errs, n.api.Close())
		}
		if n.feed != nil {
			n.feed.Close()
		}
		n.owned.Wait()
		if n.link != nil {
			errs = append(errs, n.link.Close())
		}
		if n.source != nil {
			n.source.Close()
		}
		if n.cluster != nil {
			errs = append(errs, n.cluster.Close())
		}
		n.failed = errors.Join(errs...)
	})
	return n.failed
}

func (n *node) own(f func()) {
	n.owned.Add(1)
	go func() {
		defer n.owned.Done()
		f()
	}()
}

// source is where the desired state is read.
type source interface {
	reconcile.Source
	Close()
}

func openSource(cfg config.Config, link *bus.Link, logger *slog.Logger) (source, error) {
	if cfg.Desired.Source == config.SourceSQL {
		return sqldb.New(sqldb.Options{
			Driver: cfg.Desired.SQL.Driver, DSN: cfg.Desired.SQL.DSN, Schema: cfg.Desired.SQL.Schema, BatchSize: cfg.Desired.SQL.BatchSize,
			Timeout: readTimeout(cfg), Logger: logger,
		})
	}
	return bulk.New(bulk.Options{
		URL: cfg.Desired.Bulk.URL, Username: cfg.Desired.Bulk.Username, Password: cfg.Desired.Bulk.Password,
		BatchSize: cfg.Desired.Bulk.BatchSize, Timeout: cfg.Desired.Bulk.Timeout,
		Credentials: bulkCredentials(link, cfg.Desired.Partition), Logger: logger,
	})
}

// tellEvery is how often a node's word to its peers is brought up to date when nothing else asks for it.
const tellEvery = 250 * time.Millisecond

// watch carries what the parts notice to those that need it: link changes to the intake, leadership changes to the
// loop, and this node's state to its peers. It has a leader that hears too little hand over.
func (n *node) watch(ctx context.Context, wake <-chan struct{}) {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	var last bus.State
	differs := false
	for {
		if d := n.cluster.StateDiffers(); d != differs {
			differs = d
			n.loop.Wake()
		}
		s := n.hearing()
		if s.Epoch != last.Epoch || s.Up != last.Up {
			n.tap.linkChanged(last, s)
			n.intake.Link(s.Up, s.Epoch)
			last = s
		}
		n.yields.consider(ctx, s, n.loop.Overview(), n.intake.Hearing().DEAs, n.own)
		n.tap.follow()
		n.tell()
		select {
		case <-ctx.Done():
			return
		case <-n.link.Changed():
		case <-n.cluster.LeadershipChanged():
			n.loop.Wake()
		case <-n.cluster.PeerReads():
			n.loop.Wake()
		case <-n.tap.appliedRead:
		case <-wake:
			n.loop.Wake()
		case <-ticker.C:
		}
	}
}

// hearing is the link's state as far as hearing the DEAs goes: a link on which the server refuses the heartbeats is like
// one that is down. Nobody is silent meanwhile, and nothing expires.
func (n *node) hearing() bus.State {
	s := n.link.State()
	s.Up = s.Up && !n.heartbeatsRefused()
	return s
}

// heartbeatsRefused reports whether the link is up, and the server refuses the subscription to the heartbeats.
func (n *node) heartbeatsRefused() bool { return n.link.Refused(feed.SubjectHeartbeat) }

// knowsLess reports whether this node knows less of what runs than its peers do.
func (n *node) knowsLess() bool {
	heard := n.loop.Heard()
	return !heard.Fresh || heard.Behind || !n.hearing().Up
}

func (n *node) tell() {
	o := n.loop.Overview()
	gate := "open"
	if !o.GateOpen {
		gate = strings.Join(o.GateReasons, ", ")
	}
	hears := n.intake.Hearing()
	n.cluster.SetInfo(cluster.PeerInfo{
		API: n.address, NATSUp: n.link.State().Up, AppliedIndex: n.cluster.View().Index(), Kinds: uint32(raftfsm.MaxKind),
		DesiredReadBegan: o.Reads.Began, DesiredReadEnded: app.Time(n.readEnded.Load()),
		DesiredReadError: o.ReadError[:min(len(o.ReadError), 500)], Gate: gate, Version: readBuildInfo().Version,
		HeardDEAs: min(hears.DEAs, math.MaxInt32), HearingComplete: hears.Fresh,
		Answers: n.api.Answers(), NATSRefused: api.RefusalText(n.link.Refusals()),
	})
}

// told is called after a complete read: the peers learn of it at once.
func (n *node) told(app.Time, int) {
	n.readEnded.Store(int64(n.cluster.Now()))
	n.tell()
}

// peerReads is when the newest complete read that any node has told of was begun.
func (n *node) peerReads() (began app.Time) {
	for _, m := range n.cluster.Members() {
		if m.HasInfo {
			began = max(began, m.Info.DesiredReadBegan)
		}
	}
	return began
}

func (n *node) feedStats() api.FeedStats {
	s := n.feed.Stats()
	return api.FeedStats{
		Heartbeats: s.Heartbeats.Received, Unchanged: s.Heartbeats.Unchanged, HeartbeatsRejected: s.Heartbeats.Malformed + s.Heartbeats.TooLarge,
		InstancesRejected: s.Heartbeats.Rejected, InstancesUnplaced: s.Heartbeats.Unplaced, UnknownStates: s.Heartbeats.UnknownStates,
		Exits: s.Exits.Received, ExitsRejected: s.Exits.Malformed + s.Exits.TooLarge, Updates: s.Updates.Received,
	}
}

// recordLog is the replicated log as the reconcile loop sees it.
type recordLog struct{ *cluster.Node }

func (l recordLog) Leading(term uint64) bool {
	lead := l.Leadership()
	return lead.Leader && lead.Term == term && !l.StateDiffers()
}

func (l recordLog) VerifyLease(ctx context.Context, term uint64) error {
	if err := l.Node.VerifyLease(ctx); err != nil {
		return err
	}
	if !l.Leading(term) {
		return cluster.ErrNotLeader
	}
	return nil
}

func (l recordLog) Lead() reconcile.Lead {
	lead := l.Leadership()
	return reconcile.Lead{Leader: lead.Leader, Term: lead.Term, Known: lead.LeaderID != ""}
}

// heardLog is the log as the intake sees it: with a clock that runs from the start of the process and jumps with
// nothing, neither the wall clock nor the log.
type heardLog struct {
	recordLog
	start time.Time
}

func (l heardLog) Now() app.Time { return app.TimeOf(l.start).Add(time.Since(l.start)) }

// publisher tells the loop what it needs to know of a failed publish.
type publisher struct {
	nats    reconcile.Publisher
	timeout time.Duration // of a batch
}

func publisherOf(cfg config.Config, nats reconcile.Publisher) publisher {
	return publisher{nats, cfg.PublishTimeout()}
}

func (p publisher) Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	errs := p.nats.Publish(ctx, epoch, cmds)
	for i, err := range errs {
		switch {
		case errors.Is(err, bus.ErrRefused):
			errs[i] = fmt.Errorf("%w: %w", reconcile.ErrRefused, err)
		case errors.Is(err, bus.ErrDown):
			errs[i] = fmt.Errorf("%w: %w", reconcile.ErrNotSent, err)
		}
	}
	return errs
}

// bulkCredentials asks the Cloud Controller for the credentials of its bulk API (N45).
func bulkCredentials(link *bus.Link, partition string) func(context.Context) (string, string, error) {
	return func(ctx context.Context) (user, password string, err error) {
		subject := "cloudcontroller.bulk.credentials." + partition
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		reply, err := link.Request(ctx, subject, nil)
		if err != nil {
			return "", "", fmt.Errorf("asking for the bulk API's credentials on %s (set desired.bulk.username and desired.bulk.password to do without): %w", subject, err)
		}
		return bulk.ParseCredentials(reply)
	}
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
		Shadow: cfg.Commands.Mode == config.ModeShadow, Logger: logger,
	}
}

// readTimeout bounds a complete read of the desired state: it must end before the read before it grows stale, and a
// page always gets its own time.
func readTimeout(cfg config.Config) time.Duration {
	return max(cfg.DesiredTTL()-cfg.PollInterval(), cfg.Desired.Bulk.Timeout)
}

// poke leaves word in a channel that holds one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
