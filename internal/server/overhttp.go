package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"hm/commands"
	"hm/commands/ccpub"
	"hm/commands/natspub"
	"hm/internal/api"
	"hm/internal/config"
	"hm/internal/metrics"
	"hm/internal/reconcile"
	"hm/internal/tlsfiles"
)

// overHTTP gives what posts commands to the Cloud Controller. Stops of apps that it does not know go over NATS.
func (n *Node) overHTTP(cfg config.Config, nats *natspub.Publisher, times *metrics.Times, logger *slog.Logger) (reconcile.Publisher, error) {
	o, err := ccOptions(cfg, n.certificates, logger)
	if err != nil {
		return nil, err
	}
	o.Spell, o.Allowed = nats.Spell, n.mayPost
	o.Unknown = func(ctx context.Context, epoch uint64, c commands.Command) error {
		return nats.Publish(ctx, epoch, []commands.Command{c})[0]
	}
	o.Observe = func(action commands.Action, status int, took time.Duration) {
		times.Post(action.String(), status).Observe(took.Seconds())
	}
	o.Changed = func() { n.loop.Wake() }
	if n.cc, err = ccpub.New(o); err != nil {
		return nil, err
	}
	return publisherOf(cfg, n.cc), nil
}

// ccOptions gives the options of the publisher over HTTP that come from the configuration. w reads the files again.
func ccOptions(cfg config.Config, w *tlsfiles.Watcher, logger *slog.Logger) (ccpub.Options, error) {
	o := ccpub.Options{
		URL: cfg.Commands.CCURL, Username: cfg.Commands.CCUsername, Password: cfg.Commands.CCPassword,
		Period: cfg.Policy.HeartbeatPeriod, Timeout: cfg.PublishTimeout(), Logger: logger,
	}
	var err error
	o.TLS, err = w.Client("commands.cc_ca", tlsfiles.File{Key: "commands.cc_ca", Path: cfg.Commands.CCCA}, tlsfiles.File{}, tlsfiles.File{})
	return o, err
}

// checkCC reports why commands could not be posted to the Cloud Controller.
func checkCC(cfg config.Config, logger *slog.Logger) error {
	if cfg.Commands.Protocol != config.ProtocolHTTP {
		return nil
	}
	o, err := ccOptions(cfg, nil, logger)
	if err == nil {
		_, err = ccpub.New(o)
	}
	return err
}

// mayPost gives the question that is asked before each post of a batch (I1): whether the link has had no gap since the
// epoch began, and this node still leads in the term in which the batch began.
func (n *Node) mayPost(epoch uint64) func() error {
	log := replicatedLog{n.cluster}
	term := n.cluster.Leadership().Term
	return func() error {
		switch s := n.hearing(); {
		case !s.Up || s.Epoch != epoch:
			return errors.New("the link to NATS has had a gap since the commands were decided")
		case !log.Leading(term):
			return errors.New("this node leads no more")
		}
		return nil
	}
}

// followCC tells what posts commands whether this node leads. The watch loop calls it often.
func (n *Node) followCC() {
	if n.cc == nil {
		return
	}
	term := uint64(0)
	if lead := n.cluster.Leadership(); lead.Leader {
		term = lead.Term
	}
	n.cc.Lead(term)
}

// ccState gives what the API tells of the Cloud Controller; nil if commands go over NATS.
func (n *Node) ccState() *api.CC {
	if n.cc == nil {
		return nil
	}
	s := n.cc.State()
	told := &api.CC{URL: s.URL, Error: s.Error, Refused: []api.CCRefusal{}}
	if s.Known {
		told.Reachable, told.Since = &s.Reachable, api.Timestamp{Time: s.Since}
	}
	for _, r := range n.cc.Refusals() {
		told.Refused = append(told.Refused, api.CCRefusal{
			Action: r.Action.String(), Error: r.Error, Count: r.Count,
			Since: api.Timestamp{Time: r.Since}, Last: api.Timestamp{Time: r.Last},
		})
	}
	return told
}

// ccError translates an error of the publisher over HTTP into one that the reconcile loop knows.
func ccError(err error) error {
	for _, t := range []struct{ from, to error }{
		{ccpub.ErrRefused, reconcile.ErrRefused}, {ccpub.ErrNotSent, reconcile.ErrNotSent}, {ccpub.ErrNoEffect, reconcile.ErrNoEffect},
	} {
		if errors.Is(err, t.from) {
			return fmt.Errorf("%w: %w", t.to, err)
		}
	}
	return err
}
