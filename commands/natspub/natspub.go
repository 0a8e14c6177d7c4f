// Package natspub publishes start and stop commands to the Cloud Controller over NATS.
package natspub

import (
	"context"
	"fmt"

	"hm/commands"
	"hm/internal/bus"
)

// ProtocolHM9000 publishes hm9000.start and hm9000.stop (N21, N22).
const ProtocolHM9000 = "hm9000"

// Publisher publishes commands on a link. It has no queue: a command is published within the call or not at all.
type Publisher struct {
	// Spell gives the letter case of the guids of a command; nil: small letters.
	Spell func(commands.Command) commands.Spelling

	link *bus.Link
}

// New makes a Publisher for a protocol. The only one is ProtocolHM9000.
func New(link *bus.Link, protocol string) (*Publisher, error) {
	if protocol != ProtocolHM9000 {
		return nil, fmt.Errorf("commands.protocol %q cannot be published over nats: use %s", protocol, ProtocolHM9000)
	}
	return &Publisher{link: link}, nil
}

// Publish sends commands and waits until the server has confirmed them. It sends nothing after the link has had a gap
// since the given epoch began. It returns an error for each command: nil if it was sent; bus.ErrDown if it was not
// and will not be sent, with bus.ErrRefused if the server refuses it; bus.ErrUnknown if it may have been sent. It
// returns when ctx ends at the latest.
func (p *Publisher) Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error {
	errs := make([]error, len(cmds))
	outs, at := make([]bus.Out, 0, len(cmds)), make([]int, 0, len(cmds))
	for i, c := range cmds {
		var spelling commands.Spelling
		if p.Spell != nil {
			spelling = p.Spell(c)
		}
		subject, data, err := Message(c, spelling)
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

// Subject gives the subject on which commands of an action are published; empty for None.
func Subject(a commands.Action) string {
	switch a {
	case commands.Start:
		return SubjectStart
	case commands.Stop:
		return SubjectStop
	}
	return ""
}

// Message gives the subject and body of a command. It fails for a command that is neither a start nor a stop of an
// instance.
func Message(c commands.Command, s commands.Spelling) (subject string, data []byte, err error) {
	switch {
	case c.Action == commands.Start:
		return SubjectStart, EncodeStart(c, s), nil
	case c.Action == commands.Stop && !c.Instance.IsZero():
		return SubjectStop, EncodeStop(c, s), nil
	}
	// The Cloud Controller would read a stop without a guid as a stop of every instance of the app (N20, N29).
	return "", nil, fmt.Errorf("publish %s %s: it is neither a start nor a stop of an instance: %w: %w", c.Action, c.ID.String(), bus.ErrRefused, bus.ErrDown)
}
