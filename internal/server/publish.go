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

// publisher publishes commands on NATS within a timeout. It translates the link's errors into those that the
// reconcile loop knows.
type publisher struct {
	nats    reconcile.Publisher
	timeout time.Duration // of a batch
}

func publisherOf(cfg config.Config, nats reconcile.Publisher) publisher {
	return publisher{nats, cfg.PublishTimeout()}
}

// Publish publishes the commands and gives one error for each of them, or nil.
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
