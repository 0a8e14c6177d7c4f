package fleet

import (
	"container/heap"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/notify"
	"hm/internal/sim/wire"
)

const (
	batchSize  = 64      // messages taken at a time, which bounds how long Fleet.mu is held
	maxWaiting = 200_000 // exits and changes of routes that wait to be sent; more are dropped and counted
)

// connection is one NATS connection and the DEAs that share it. Two goroutines serve it: send and receive.
type connection struct {
	fleet     *Fleet
	partition string // as JSON
	nc        *nats.Conn
	in        chan *nats.Msg
	work      notify.Signal // there may be something to send, or to subscribe to
	ready     chan struct{} // closed when the first subscriptions are made
	greeting  string        // the subject on which routers answer router.greet
	greeted   uint64        // one more than the reconnections before the last greeting; used by send alone
	subs      map[string]*nats.Subscription

	// Guarded by Fleet.mu.
	timers  timers
	wanted  []*dea     // that are to heartbeat now
	waiting []outgoing // exits and changes of routes
	moves   []move
	routing routing
	batch   uint64 // the number of the last batch

	heartbeats, exits, routes, lost atomic.Uint64 // published; not published because NATS was away or too much waited
}

// outgoing is a message to publish.
type outgoing struct {
	wire.Message
	endpoint *endpoint // of router.register; nil otherwise
	dea      *dea      // of a heartbeat; nil otherwise
}

// move is a DEA that begins or ceases to receive start messages under an id.
type move struct {
	dea   *dea
	id    string
	begin bool
}

func newConnection(f *Fleet, inbox int) *connection {
	return &connection{fleet: f, partition: string(wire.MustJSON(f.opts.Partition)), in: make(chan *nats.Msg, inbox),
		work: notify.New(), ready: make(chan struct{}), subs: map[string]*nats.Subscription{},
		routing: routing{every: f.opts.RegisterInterval}}
}

// send publishes the heartbeats and exits of the connection's DEAs until ctx ends.
func (c *connection) send(ctx context.Context) {
	for _, subject := range []string{wire.SubjectDEAStop, wire.SubjectDEAFind} {
		if _, err := c.nc.ChanSubscribe(subject, c.in); err != nil {
			c.fleet.log.Error("DEAs cannot subscribe", "subject", subject, "error", err)
		}
	}
	c.subscribeToRouters()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var batch []outgoing
	for first := true; ; first = false {
		c.subscribe(ctx)
		if first {
			close(c.ready)
		}
		c.greet()
		var wait time.Duration
		batch, wait = c.nextBatch(time.Now(), batch[:0])
		for _, m := range batch {
			c.publish(ctx, m)
		}
		if ctx.Err() != nil {
			return
		}
		if wait <= 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-c.work.C():
		case <-timer.C:
		}
	}
}

func (c *connection) publish(ctx context.Context, m outgoing) {
	if m.dea != nil && m.dea.poster != nil {
		m.dea.poster.post(ctx, m.Data)
		if !c.fleet.opts.Post.AlsoNATS {
			return
		}
	}
	if !c.nc.IsConnected() || c.nc.Publish(m.Subject, m.Data) != nil {
		c.lost.Add(1)
		return
	}
	switch m.Subject {
	case subjectHeartbeat:
		c.heartbeats.Add(1)
	case wire.SubjectRouterRegister:
		c.routes.Add(1)
		m.endpoint.registered(time.Now(), c.fleet.opts.HeartbeatPeriod)
	case wire.SubjectRouterUnregister:
		c.routes.Add(1)
	default:
		c.exits.Add(1)
	}
}

// nextBatch appends what is to be sent now to batch, about batchSize messages, and says when the next message is due: 0
// if there is more to send.
func (c *connection) nextBatch(now time.Time, batch []outgoing) ([]outgoing, time.Duration) {
	f := c.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	c.batch++
	n := min(batchSize, len(c.waiting))
	batch = append(batch, c.waiting[:n]...)
	if c.waiting = c.waiting[n:]; len(c.waiting) == 0 {
		c.waiting = nil
	}
	for len(c.wanted) > 0 && len(batch) < batchSize {
		d := c.wanted[0]
		c.wanted = c.wanted[1:]
		d.wanted = false
		if d.connected() {
			batch = append(batch, c.heartbeat(d))
		}
	}
	batch, wait := c.nextHeartbeats(now, batch)
	batch, waitRoutes := c.nextRoutes(now, batch)
	return batch, min(wait, waitRoutes)
}

func (c *connection) heartbeat(d *dea) outgoing {
	return outgoing{Message: wire.Message{Subject: subjectHeartbeat, Data: c.encode(d)}, dea: d}
}

// nextHeartbeats appends the heartbeats whose timer is due, and says when the next one is. Fleet.mu is held.
func (c *connection) nextHeartbeats(now time.Time, batch []outgoing) ([]outgoing, time.Duration) {
	for len(batch) < batchSize {
		if len(c.timers) == 0 {
			return batch, time.Hour
		}
		d := c.timers[0]
		if wait := d.due.Sub(now); wait > 0 {
			return batch, wait
		}
		d.due = c.nextDue(d, now)
		heap.Fix(&c.timers, 0)
		if c.fleet.tick(d, now) {
			batch = append(batch, c.heartbeat(d))
		}
	}
	return batch, 0
}

// nextDue keeps a DEA's heartbeats in phase: a whole number of periods after the last one, in the future.
func (c *connection) nextDue(d *dea, now time.Time) time.Time {
	period := c.fleet.opts.HeartbeatPeriod
	if d.status == evacuating {
		period /= 2
	}
	next := d.due.Add(period)
	if late := now.Sub(next); late >= 0 {
		next = next.Add((late/period + 1) * period)
	}
	return next
}

// encode gives the DEA's heartbeat: the bytes of the last one unless something has changed since.
func (c *connection) encode(d *dea) []byte {
	if d.stale {
		if d.poster != nil || d.encoded == c.batch {
			d.payload = nil // it may be under way, or waits in this batch
		}
		d.encoded = c.batch
		const entry = 272 // bytes, about, so that the buffer is large enough at first
		d.payload = slices.Grow(d.payload[:0], entry*len(d.instances)+64)
		d.payload = appendHeartbeat(d.payload[:0], c.partition, d.id, d.instances)
		d.stale = false
	}
	return d.payload
}

// The rest is called with Fleet.mu held, except subscribe, receive and handle.

// heartbeatNow has the DEA heartbeat without waiting for its timer. Several calls before it is sent make one heartbeat.
func (c *connection) heartbeatNow(d *dea) {
	if !d.wanted {
		d.wanted = true
		c.wanted = append(c.wanted, d)
		c.work.Notify()
	}
}

// announceExit publishes a droplet.exited, unless the instance's DEA is cut off.
func (c *connection) announceExit(in *instance, reason actual.ExitReason, why string) {
	if in.dea.connected() {
		c.enqueue(outgoing{Message: wire.Message{Subject: subjectExited,
			Data: encodeExit(c.fleet.opts.Partition, in, reason, why)}})
	}
}

func (c *connection) announceShutdown(d *dea) {
	c.enqueue(outgoing{Message: wire.Message{Subject: subjectDEAShutdown, Data: encodeDEAShutdown(d)}})
}

func (c *connection) enqueue(m outgoing) {
	if len(c.waiting) >= maxWaiting {
		c.lost.Add(1)
		return
	}
	c.waiting = append(c.waiting, m)
	c.work.Notify()
}

// join has a DEA heartbeat by its timer, register its routes and receive start messages.
func (c *connection) join(d *dea) {
	c.routing.deas = append(c.routing.deas, d)
	heap.Push(&c.timers, d)
	c.moves = append(c.moves, move{d, d.id, true})
	c.work.Notify()
}

// quit undoes join.
func (c *connection) quit(d *dea) {
	if d.dueAt >= 0 {
		heap.Remove(&c.timers, d.dueAt)
	}
	c.routing.deas = slices.DeleteFunc(c.routing.deas, func(o *dea) bool { return o == d })
	c.moves = append(c.moves, move{d, d.id, false})
	c.work.Notify()
}

func (c *connection) setDue(d *dea, due time.Time) {
	d.due = due
	if d.dueAt >= 0 {
		heap.Fix(&c.timers, d.dueAt)
	}
	c.work.Notify()
}

// subscribe subscribes for DEAs that joined and unsubscribes for those that quit. A DEA takes new instances once its
// subscription is known to the server.
func (c *connection) subscribe(ctx context.Context) {
	f := c.fleet
	f.mu.Lock()
	moves := c.moves
	c.moves = nil
	f.mu.Unlock()
	if len(moves) == 0 {
		return
	}
	for _, m := range moves {
		if !m.begin {
			if sub := c.subs[m.id]; sub != nil {
				_ = sub.Unsubscribe() // fails only when the connection is closed for good
				delete(c.subs, m.id)
			}
			continue
		}
		sub, err := c.nc.ChanSubscribe(wire.SubjectDEAStart(m.id), c.in)
		if err != nil {
			f.log.Error("a DEA cannot subscribe to its starts", "dea", m.id, "error", err)
			continue
		}
		c.subs[m.id] = sub
	}
	if c.nc.IsConnected() {
		flush, cancel := context.WithTimeout(ctx, time.Second)
		_ = c.nc.FlushWithContext(flush) // without an answer the DEA is in the pool a little early, no more
		cancel()
	}
	f.mu.Lock()
	for _, m := range moves {
		if m.begin && m.dea.id == m.id && m.dea.status == serving && !m.dea.paused {
			f.pool.add(&m.dea.inPool)
		}
	}
	f.mu.Unlock()
}

// receive carries out the start and stop messages of the Cloud Controller until ctx ends.
func (c *connection) receive(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-c.in:
			switch m.Subject {
			case wire.SubjectRouterStart, c.greeting:
				c.routerStarted(m.Data)
			case wire.SubjectDEAFind:
				c.find(m)
			default:
				c.handle(m.Subject, m.Data)
			}
		}
	}
}

func (c *connection) handle(subject string, data []byte) {
	f := c.fleet
	if subject == wire.SubjectDEAStop {
		// instance_ids is an older name of instances.
		var s struct {
			wire.Stop
			IDs []app.GUID `json:"instance_ids"`
		}
		if err := json.Unmarshal(data, &s); err != nil || s.Droplet.IsZero() {
			f.log.Warn("unreadable stop message for DEAs", "error", err)
			return
		}
		s.Instances = append(s.Instances, s.IDs...)
		f.mu.Lock()
		f.stop(c, s.Stop)
		f.mu.Unlock()
		return
	}
	id := strings.TrimSuffix(strings.TrimPrefix(subject, "dea."), ".start")
	var s wire.Start
	if err := json.Unmarshal(data, &s); err != nil || s.Droplet.IsZero() || s.Version.IsZero() ||
		s.Index > actual.MaxIndex {
		f.log.Warn("unreadable start message for a DEA", "dea", id, "error", err)
		return
	}
	f.mu.Lock()
	if d := f.byID[id]; d != nil && d.status == serving && !d.paused {
		f.start(d, app.Key{Droplet: s.Droplet, Version: s.Version}, s.Index, s.URIs)
	}
	f.mu.Unlock()
}

// timers implements heap.Interface: the DEA whose heartbeat is due first.
type timers []*dea

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].dueAt, h[j].dueAt = i, j
}
func (h *timers) Push(x any) {
	d := x.(*dea)
	d.dueAt = len(*h)
	*h = append(*h, d)
}
func (h *timers) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	d.dueAt = -1
	return d
}
