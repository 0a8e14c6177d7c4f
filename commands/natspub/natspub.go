// Package natspub publishes start and stop commands to the Cloud Controller over NATS.
package natspub

import (
	"context"
	"errors"
	"fmt"

	"hm/commands"
	"hm/internal/bus"
)

// The protocols, as commands.protocol names them.
const (
	ProtocolHM9000 = "hm9000" // hm9000.start and hm9000.stop (N21, N22)
	ProtocolHealth = "health" // health.start and health.stop (N17, N19)
)

// Publisher publishes commands on a link. It has no queue: a command is published within the call or not at all.
type Publisher struct {
	// Spell gives the letter case of the guids of a command; nil: small letters.
	Spell func(commands.Command) commands.Spelling
	// Running gives what runs of the app of each command, as it is recorded now. ProtocolHealth needs it, and sends
	// nothing without it.
	Running func([]commands.Command) []commands.Running

	link     *bus.Link
	protocol string
}

// New makes a Publisher for ProtocolHM9000 or ProtocolHealth.
func New(link *bus.Link, protocol string) (*Publisher, error) {
	if protocol != ProtocolHM9000 && protocol != ProtocolHealth {
		return nil, fmt.Errorf("commands.protocol %q cannot be published over nats: use %s or %s", protocol, ProtocolHM9000, ProtocolHealth)
	}
	return &Publisher{link: link, protocol: protocol}, nil
}

// Publish sends commands and waits until the server has confirmed them. It sends nothing after the link has had a gap
// since the given epoch began. It returns an error for each command: nil if it was sent; bus.ErrDown if it was not
// and will not be sent, with bus.ErrRefused if the server refuses it; bus.ErrUnknown if it may have been sent. It
// returns when ctx ends at the latest.
func (p *Publisher) Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error {
	errs := make([]error, len(cmds))
	outs, at := make([]bus.Out, 0, len(cmds)), make([]int, 0, len(cmds))
	var running []commands.Running
	if p.protocol == ProtocolHealth && p.Running != nil {
		running = p.Running(cmds)
	}
	for i, c := range cmds {
		subject, data, err := p.message(c, i, running)
		if err != nil {
			errs[i] = err
			continue
		}
		outs, at = append(outs, bus.Out{Subject: subject, Data: data}), append(at, i)
	}
	for k, err := range p.link.PublishBatchIn(ctx, epoch, outs) {
		if err != nil {
			c := cmds[at[k]]
			errs[at[k]] = fmt.Errorf("publish %s %s: %w", c.Action, c.ID.String(), err)
		}
	}
	return errs
}

// message gives the message of command i of a batch. running is that of the batch.
func (p *Publisher) message(c commands.Command, i int, running []commands.Running) (subject string, data []byte, err error) {
	var spelling commands.Spelling
	if p.Spell != nil {
		spelling = p.Spell(c)
	}
	switch {
	case p.protocol == ProtocolHM9000:
		return Message(c, spelling)
	case i >= len(running):
		return "", nil, refuse(c, errors.New("it is not known what runs of its app"))
	}
	return HealthMessage(c, spelling, running[i])
}

// Subject gives the subject on which a protocol publishes commands of an action; empty for None, and for a protocol that
// is not published over NATS.
func Subject(protocol string, a commands.Action) string {
	switch {
	case protocol == ProtocolHM9000 && a == commands.Start:
		return SubjectStart
	case protocol == ProtocolHM9000 && a == commands.Stop:
		return SubjectStop
	case protocol == ProtocolHealth && a == commands.Start:
		return SubjectHealthStart
	case protocol == ProtocolHealth && a == commands.Stop:
		return SubjectHealthStop
	}
	return ""
}

// Message gives the subject and body of a command of the protocol hm9000. It fails for a command that is neither a start
// nor a stop of an instance.
func Message(c commands.Command, s commands.Spelling) (subject string, data []byte, err error) {
	switch {
	case c.Action == commands.Start:
		return SubjectStart, EncodeStart(c, s), nil
	case c.Action == commands.Stop && !c.Instance.IsZero():
		return SubjectStop, EncodeStop(c, s), nil
	}
	// The Cloud Controller would read a stop without a guid as a stop of every instance of the app (N20, N29).
	return "", nil, refuse(c, errors.New("it is neither a start nor a stop of an instance"))
}

// refuse is the error of a command that no message can say.
func refuse(c commands.Command, why error) error {
	return fmt.Errorf("publish %s %s: %w: %w: %w", c.Action, c.ID.String(), why, bus.ErrRefused, bus.ErrDown)
}
