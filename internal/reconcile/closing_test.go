package reconcile

import (
	"context"
	"errors"
	"testing"

	"hm/commands"
)

// closesMidway is a publisher during whose work the node closes.
type closesMidway struct {
	*simCF
	close context.CancelFunc
}

func (p closesMidway) Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error {
	p.close()
	return p.simCF.Publish(ctx, epoch, cmds)
}

// TestI2WhatIsSentWhileANodeClosesIsRecorded: the record says that a command was sent, although the node that sent it closed
// before it could say so.
func TestI2WhatIsSentWhileANodeClosesIsRecorded(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	ctx, cancel := context.WithCancel(t.Context())
	cf.core = NewCore(cf.opts, cf, closesMidway{cf, cancel}, cf.intake, cf.endedCommands)
	cf.core.Learn(cf.now, cf.now)
	cf.tolerant, cf.stepping = true, ctx
	cf.lose(1)
	sent := len(cf.sent)
	cf.run(20 * hb)
	if len(cf.sent) != sent+1 || !errors.Is(ctx.Err(), context.Canceled) {
		t.Fatalf("%d commands were sent", len(cf.sent)-sent)
	}
	if got := cf.View().Counts().SentStarts; got != 1 {
		t.Errorf("%d starts are recorded as sent, want 1", got)
	}
}
