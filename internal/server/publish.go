package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hm/commands"
	"hm/internal/bus"
	"hm/internal/config"
	"hm/internal/reconcile"
)

// publisher publishes commands, over NATS or HTTP, within a timeout. It translates errors into those that the reconcile
// loop knows.
type publisher struct {
	to      reconcile.Publisher
	timeout time.Duration // of a batch
}

func publisherOf(cfg config.Config, to reconcile.Publisher) publisher {
	return publisher{to, cfg.PublishTimeout()}
}

// Publish publishes the commands and gives one error for each of them, or nil.
func (p publisher) Publish(ctx context.Context, epoch uint64, cmds []commands.Command) []error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	errs := p.to.Publish(ctx, epoch, cmds)
	for i, err := range errs {
		switch {
		case errors.Is(err, bus.ErrRefused):
			errs[i] = fmt.Errorf("%w: %w", reconcile.ErrRefused, err)
		case errors.Is(err, bus.ErrDown):
			errs[i] = fmt.Errorf("%w: %w", reconcile.ErrNotSent, err)
		default:
			errs[i] = ccError(err)
		}
	}
	return errs
}
