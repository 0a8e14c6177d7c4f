package component

import (
	"context"
	"time"

	"hm/internal/bus"
)

// The subjects on which components and collectors find each other (N47).
const (
	subjectAnnounce = "vcap.component.announce"
	subjectDiscover = "vcap.component.discover"
)

// Limits on questions that wait for an answer: those that the link holds, and those that are queued. A collector asks
// once a minute or less.
const (
	maxDiscoverHeld  = 4096
	maxDiscoverBytes = 8 << 20
	maxDiscover      = 64
)

const announceTimeout = 10 * time.Second

// connections tells the first sight of a connection to NATS from later ones.
type connections struct {
	seen   bool
	number uint64 // of the connection that was seen last
}

// begun reports whether a link is up over a connection that was not seen before.
func (c *connections) begun(s bus.State) bool {
	number := s.Outages + s.Moves
	if !s.Up || c.seen && number == c.number {
		return false
	}
	c.seen, c.number = true, number
	return true
}

// Follow takes the state of the link. At the start of each connection the component announces itself.
func (c *Component) Follow(s bus.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.connections.begun(s) {
		c.announce.Notify()
	}
}

// announceAtConnections announces the component whenever a connection begins. An announcement that fails is not
// repeated before the next connection: collectors also ask.
func (c *Component) announceAtConnections() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.announce.C():
		}
		ctx, cancel := context.WithTimeout(c.ctx, announceTimeout)
		err := c.opts.Link.Publish(ctx, subjectAnnounce, c.message())
		cancel()
		if err == nil {
			c.counts.announced.Add(1)
		} else if c.ctx.Err() == nil {
			c.counts.failed.Add(1)
			c.log.Warn("announce", "the component could not be announced to collectors",
				func() []any { return []any{"subject", subjectAnnounce, "error", err} })
		}
	}
}

func (c *Component) message() []byte { return c.self.after(time.Since(c.began)).message() }

// takeDiscover queues a question, or ignores it if too many wait. It never waits.
func (c *Component) takeDiscover(m bus.Msg) {
	if m.Reply == "" {
		return // nobody hears the answer
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	select {
	case c.discover <- bus.Msg{Subject: m.Subject, Reply: m.Reply}: // what it says does not matter
	default:
		c.counts.ignored.Add(1)
	}
}

func (c *Component) answerDiscover() {
	for m := range c.discover {
		if c.ctx.Err() != nil {
			return
		}
		if err := c.opts.Link.Answer(m, c.message()); err != nil {
			c.counts.failed.Add(1)
			c.opts.Logger.Debug("a collector was not answered", "subject", m.Subject, "error", err)
			continue
		}
		c.counts.answered.Add(1)
	}
}
