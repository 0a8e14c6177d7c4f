package server

import (
	"context"
	"fmt"
	"log/slog"

	"hm/commands"
	"hm/commands/natspub"
	"hm/commands/otherhm"
	"hm/internal/api"
	"hm/internal/config"
	"hm/internal/metrics"
	"hm/internal/reconcile"
	"hm/internal/shadow"
)

// otherHM is what a node in shadow mode has besides: it hears another health manager, and keeps its commands in the
// journal.
type otherHM struct {
	listener *otherhm.Listener
	kept     *shadow.Others
}

// hearOther begins to hear another health manager, if the node is in shadow mode.
func (n *Node) hearOther(cfg config.Config, logger *slog.Logger) (err error) {
	if cfg.Commands.Mode != config.ModeShadow {
		return nil
	}
	kept := shadow.NewOthers(n.journal.AddOwn, n.cluster.Now)
	listener, err := otherhm.Open(n.link, cfg.Commands.Protocol, n.published, kept.Take, logger)
	if err != nil {
		return fmt.Errorf("listening to another health manager: %w", err)
	}
	n.other = &otherHM{listener, kept}
	return nil
}

// published reports whether a message has the id of a command that this cluster has on record: a node that is not in
// shadow mode sent it.
func (n *Node) published(messageID string) bool {
	id, err := commands.ParseID(messageID)
	if err != nil {
		return false
	}
	_, ours := n.cluster.View().Command(id)
	return ours
}

// followOther tells the journal whether the other can be heard. The watch loop calls it often.
func (n *Node) followOther() {
	if n.other == nil {
		return
	}
	s, why := n.link.State(), ""
	if !n.cluster.KnowsTime() { // what it hears would be kept with a time that has passed
		why = shadow.NoLeader
	}
	if !s.Up {
		why = shadow.NATSDown
	}
	for _, subject := range n.other.listener.Subjects() {
		if s.Up && n.link.Refused(subject) {
			why = shadow.NATSRefused
		}
	}
	n.other.kept.Follow(why == "", why, s.DroppedAside)
}

// close ends the listening. No goroutine may call followOther any more.
func (o *otherHM) close() {
	o.listener.Close()
	o.kept.Follow(false, shadow.Closed, 0)
}

func (n *Node) compareOptions(cfg config.Config) api.CompareOptions {
	o := api.CompareOptions{Journal: n.journal, Kept: cfg.Commands.JournalEntries}
	if n.other != nil {
		o.Hearing = n.other.kept.Hearing
		o.Messages = func() (heard, rejected uint64) {
			s := n.other.listener.Stats()
			return s.Received, s.Malformed
		}
	}
	return o
}

// commandPublisher gives what publishes commands. In shadow mode nothing can: not even a mistake in the loop sends one.
func (n *Node) commandPublisher(cfg config.Config, times *metrics.Times, logger *slog.Logger) (reconcile.Publisher, error) {
	if cfg.Commands.Mode == config.ModeShadow {
		return silent{}, nil
	}
	protocol, overHTTP := cfg.Commands.Protocol, cfg.Commands.Protocol == config.ProtocolHTTP
	if overHTTP {
		protocol = natspub.ProtocolHM9000
	}
	nats, err := natspub.New(n.link, protocol)
	if err != nil {
		return nil, fmt.Errorf("commands.protocol: %w", err)
	}
	nats.Spell = func(c commands.Command) commands.Spelling { return n.intake.Spelling(n.cluster.View(), c) }
	nats.Running = func(cmds []commands.Command) []commands.Running { return reconcile.Running(n.cluster.View(), cmds) }
	if overHTTP {
		return n.overHTTP(cfg, nats, times, logger)
	}
	return publisherOf(cfg, nats), nil
}

// silent publishes nothing.
type silent struct{}

// Publish refuses every command.
func (silent) Publish(_ context.Context, _ uint64, cmds []commands.Command) []error {
	errs := make([]error, len(cmds))
	for i := range errs {
		errs[i] = fmt.Errorf("%w: commands.mode is shadow", reconcile.ErrRefused)
	}
	return errs
}
