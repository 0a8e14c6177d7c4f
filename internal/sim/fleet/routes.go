package fleet

import (
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/sim/wire"
)

// Each DEA registers the routes of its instances: when one begins to run, again and again at the interval that the
// routers ask for, and all at once when a router says that it has started. The DEAs of a connection take turns, so that
// an interval has no burst.

// routing is when the DEAs of one connection register their routes. It is guarded by Fleet.mu.
type routing struct {
	every time.Duration // the interval
	deas  []*dea        // that take turns
	turn  int           // whose turn is next
	due   time.Time     // of the next turn
	owed  int           // turns that are due at once
}

// nextRoutes appends the registrations that are due, and says when the next ones are. Fleet.mu is held.
func (c *connection) nextRoutes(now time.Time, batch []outgoing) ([]outgoing, time.Duration) {
	r := &c.routing
	if !c.fleet.opts.Serve || len(r.deas) == 0 {
		return batch, time.Hour
	}
	if late := now.Sub(r.due); late > r.every {
		r.due = now
	}
	for len(batch) < batchSize {
		if wait := r.due.Sub(now); r.owed == 0 && wait > 0 {
			return batch, wait
		}
		if r.owed > 0 {
			r.owed--
		} else {
			r.due = r.due.Add(max(r.every/time.Duration(len(r.deas)), time.Microsecond))
		}
		r.turn = (r.turn + 1) % len(r.deas)
		if d := r.deas[r.turn]; d.connected() {
			for _, in := range d.instances {
				if in.endpoint != nil {
					batch = append(batch, registration(in))
				}
			}
		}
	}
	return batch, 0
}

func registration(in *instance) outgoing {
	return outgoing{Message: wire.Message{Subject: wire.SubjectRouterRegister, Data: encodeRoute(in)}, endpoint: in.endpoint}
}

// register publishes the route of an instance that serves; its DEA must be able to send.
func (c *connection) register(in *instance) {
	if in.endpoint != nil && in.dea.connected() {
		c.enqueue(registration(in))
	}
}

// unregister says that an instance's route has ended.
func (c *connection) unregister(in *instance) {
	if in.endpoint != nil && in.dea.connected() {
		c.enqueue(outgoing{Message: wire.Message{Subject: wire.SubjectRouterUnregister, Data: encodeRoute(in)}})
	}
}

// routerStarted takes what a router says: the interval, and that it wants all routes now.
func (c *connection) routerStarted(data []byte) {
	every, err := wire.ParseRouterStart(data)
	if err != nil {
		c.fleet.log.Warn("unreadable message of a router", "error", err)
		return
	}
	c.fleet.mu.Lock()
	c.routing.every, c.routing.owed = every, len(c.routing.deas)
	c.fleet.mu.Unlock()
	c.work.Notify()
}

// greet asks the routers, once for each connection to NATS, for the interval.
func (c *connection) greet() {
	if !c.fleet.opts.Serve || !c.nc.IsConnected() {
		return
	}
	if number := c.nc.Stats().Reconnects + 1; number != c.greeted {
		c.greeted = number
		_ = c.nc.PublishRequest(wire.SubjectRouterGreet, c.greeting, nil) // lost only if NATS is away again
	}
}

// subscribeToRouters has the connection receive what routers say.
func (c *connection) subscribeToRouters() {
	if !c.fleet.opts.Serve {
		return
	}
	c.greeting = nats.NewInbox()
	for _, subject := range []string{wire.SubjectRouterStart, c.greeting} {
		if _, err := c.nc.ChanSubscribe(subject, c.in); err != nil {
			c.fleet.log.Error("DEAs cannot subscribe", "subject", subject, "error", err)
		}
	}
}

// encodeRoute gives router.register and router.unregister of an instance, which are the same.
func encodeRoute(in *instance) []byte {
	return wire.MustJSON(wire.Route{
		DEA: in.dea.id, App: in.app.droplet.String(), URIs: in.app.uris, Host: in.endpoint.host, Port: in.endpoint.port,
		Tags: map[string]string{}, Instance: in.guid.String(),
	})
}
