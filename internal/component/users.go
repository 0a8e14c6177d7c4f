package component

import (
	"context"
	"sync/atomic"
	"time"
)

// users is how many users the Cloud Controller has, as far as known.
type users struct{ newest atomic.Pointer[int] }

// known gives the newest number; nil: none is known.
func (u *users) known() *int { return u.newest.Load() }

// keepUsers asks for the number of users until the component is closed. If a question fails, the number stays.
func (c *Component) keepUsers() {
	tick := time.NewTicker(c.opts.UsersEvery)
	defer tick.Stop()
	for {
		c.askUsers(c.ctx)
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *Component) askUsers(ctx context.Context) {
	n, err := c.opts.Users(ctx)
	switch {
	case err == nil:
		c.users.newest.Store(&n)
	case ctx.Err() == nil:
		c.log.Warn("users", "the number of users for /varz is not known; the last one stays", func() []any { return []any{"error", err} })
	}
}
