package server

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"hm/internal/api"
	"hm/internal/component"
	"hm/internal/config"
	"hm/internal/reconcile"
)

// userCounter is a source of the desired state that also knows how many users there are: the bulk API.
type userCounter interface {
	Users(context.Context) (int, error)
}

// openComponent shows the node to collectors, if the configuration asks for it. It does so in shadow mode as well.
func (n *Node) openComponent(cfg config.Config, logger *slog.Logger) error {
	if cfg.Compat.Component == "" {
		return nil
	}
	o := component.Options{
		Type: cfg.Compat.Component, Index: cfg.ComponentIndex(),
		Listen: cfg.Compat.Varz.Listen, Username: cfg.Compat.Varz.Username, Password: cfg.Compat.Varz.Password,
		Address: cfg.VarzAddress, Link: n.link, Figures: n.api.Figures, ReadTook: n.readTook.newest, Logger: logger,
	}
	if source, ok := n.source.(userCounter); ok && o.Type == component.HealthManager { // HM9000 did not show it
		o.Users, o.UsersEvery = source.Users, cfg.PollInterval()
	}
	c, err := component.Open(o)
	if err != nil {
		return fmt.Errorf("showing the node to collectors: %w", err)
	}
	n.component.Store(c)
	logger.Info("the node is a component for collectors", "type", o.Type, "varz", c.Addr())
	return nil
}

// followComponent tells the component of the link. The watch loop calls it often.
func (n *Node) followComponent() {
	if c := n.component.Load(); c != nil {
		c.Follow(n.link.State())
	}
}

func (n *Node) componentStats() (api.ComponentStats, bool) {
	c := n.component.Load()
	if c == nil {
		return api.ComponentStats{}, false
	}
	return c.Stats(), true
}

// readTook keeps how long the newest complete read took, and passes it on.
type readTook struct {
	seconds atomic.Uint64 // bits of a float64
	then    reconcile.Observer
}

// Observe takes how long a read took, in seconds.
func (r *readTook) Observe(seconds float64) {
	r.seconds.Store(math.Float64bits(seconds))
	r.then.Observe(seconds)
}

// newest gives how long the newest complete read by this node took; 0: there was none.
func (r *readTook) newest() time.Duration {
	return time.Duration(math.Float64frombits(r.seconds.Load()) * float64(time.Second))
}
