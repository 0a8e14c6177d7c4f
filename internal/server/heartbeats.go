package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"hm/actual/feed"
	"hm/internal/api"
	"hm/internal/cluster"
	"hm/internal/config"
	"hm/internal/heartbeats"
)

// posts is what a node has to take heartbeats over HTTPS.
type posts struct {
	posted  *feed.Posts        // what DEAs post to this node
	relayed *feed.Posts        // what DEAs post to other nodes, and these pass on
	relay   *heartbeats.Relay  // nil: heartbeats.listen is empty
	server  *heartbeats.Server // nil: heartbeats.listen is empty
}

// takePosts opens the endpoint for heartbeats over HTTPS, if the configuration has one.
func (n *Node) takePosts(cfg config.Config, logger *slog.Logger) (err error) {
	p := &n.posts
	p.posted, p.relayed = n.feed.Posts(n.intake.HTTPS()), n.feed.Posts(n.intake.HTTPS())
	if cfg.Heartbeats.Listen == "" {
		return nil
	}
	p.relay = heartbeats.NewRelay(relayPeers{n.cluster}, heartbeats.Wait(cfg.Policy.HeartbeatPeriod), logger)
	o := postOptions(cfg, logger)
	o.Posts, o.Relay, o.TLSFiles = p.posted, p.relay, n.certificates
	if p.server, err = heartbeats.Open(o); err != nil {
		return fmt.Errorf("taking heartbeats over HTTPS: %w", err)
	}
	return nil
}

// postOptions gives the options of the endpoint that come from the configuration.
func postOptions(cfg config.Config, logger *slog.Logger) heartbeats.Options {
	return heartbeats.Options{
		Listen: cfg.Heartbeats.Listen, TLS: heartbeats.TLS(cfg.Heartbeats.TLS), Period: cfg.Policy.HeartbeatPeriod, Logger: logger,
	}
}

// close answers what is under way, and takes no more.
func (p *posts) close() (err error) {
	if p.server != nil {
		err = p.server.Close()
	}
	if p.relay != nil {
		p.relay.Close()
	}
	return err
}

// serveRelays takes the heartbeats that other nodes pass on, until ctx ends.
func (n *Node) serveRelays(ctx context.Context, cfg config.Config, logger *slog.Logger) {
	taker := heartbeats.Taker{Posts: n.posts.relayed, Bodies: n.hook.Active, Wait: heartbeats.Wait(cfg.Policy.HeartbeatPeriod)}
	servePeers(ctx, n.cluster.Relays(), func(conn net.Conn) {
		if err := taker.ServePeer(ctx, conn); err != nil && ctx.Err() == nil {
			logger.Debug("a connection over which a peer passes on heartbeats failed", "error", err)
		}
	})
}

// relayPeers reaches the other members.
type relayPeers struct{ cluster *cluster.Node }

// IDs gives the other members.
func (p relayPeers) IDs() []string { return p.cluster.Others() }

// Dial opens a connection to a node that takes heartbeats.
func (p relayPeers) Dial(ctx context.Context, id string) (net.Conn, error) {
	return p.cluster.DialRelay(ctx, id)
}

// feedStats gives what this node has heard of the DEAs, whichever way.
func (n *Node) feedStats() api.FeedStats {
	s := n.feed.Stats()
	posted, relayed := n.posts.posted.Counts(), n.posts.relayed.Counts()
	told := api.FeedStats{
		Posted: posted.Received, Relayed: relayed.Received,
		Exits: s.Exits.Received, ExitsRejected: s.Exits.Malformed + s.Exits.TooLarge, Updates: s.Updates.Received,
	}
	for _, way := range []feed.Counts{s.Heartbeats, posted, relayed} {
		told.Heartbeats += way.Received
		told.Unchanged += way.Unchanged
		told.Superseded += way.Superseded
		told.HeartbeatsRejected += way.Malformed + way.TooLarge
		told.InstancesRejected += way.Rejected
		told.InstancesUnplaced += way.Unplaced
		told.UnknownStates += way.UnknownStates
	}
	return told
}

// postStats gives what the endpoint for heartbeats over HTTPS has counted; nil if there is none.
func (n *Node) postStats() *api.PostStats {
	p := &n.posts
	if p.server == nil {
		return nil
	}
	s := &api.PostStats{Connections: p.server.Connections(), Refused: map[string]uint64{}}
	for _, r := range heartbeats.Reasons() {
		s.Refused[r.String()] = p.server.Refused(r)
	}
	if p.relay != nil {
		r := p.relay.Stats()
		s.Relayed = map[string]uint64{"told": r.Told, "refused": r.Refused, "late": r.Late, "unreached": r.Unreached}
		s.RelayedBytes = r.Bytes
	}
	return s
}
