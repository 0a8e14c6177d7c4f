package sim

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
)

const (
	batchSize = 64      // messages taken at a time, which bounds how long fleet.mu is held
	maxPosts  = 200_000 // exits that wait to be sent; more are dropped and counted
)

// lane is one NATS connection and the DEAs that share it. Two goroutines serve it: run sends, listen hears.
type lane struct {
	fleet     *fleet
	partition string // as JSON
	nc        *nats.Conn
	in        chan *nats.Msg
	wake      chan struct{}
	ready     chan struct{} // closed when the first subscriptions are made
	subs      map[string]*nats.Subscription

	// Guarded by fleet.mu.
	timers timers
	wanted []*dea
	posts  []post
	moves  []move

	beats, exits, lost atomic.Uint64 // published; not published because NATS was away or too much waited
}

// post is a message to publish.
type post struct {
	subject string
	data    []byte
}

// move is a DEA that begins or ceases to hear start messages under an id.
type move struct {
	dea   *dea
	id    string
	enter bool
}

func newLane(f *fleet, inbox int) *lane {
	return &lane{fleet: f, partition: string(mustJSON(f.opts.Partition)), in: make(chan *nats.Msg, inbox),
		wake: make(chan struct{}, 1), ready: make(chan struct{}), subs: map[string]*nats.Subscription{}}
}

// run sends what the lane's DEAs have to say until ctx ends.
func (l *lane) run(ctx context.Context) {
	if _, err := l.nc.ChanSubscribe(subjectDEAStop, l.in); err != nil {
		l.fleet.log.Error("DEAs cannot subscribe", "subject", subjectDEAStop, "error", err)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var batch []post
	for first := true; ; first = false {
		l.follow(ctx)
		if first {
			close(l.ready)
		}
		var wait time.Duration
		batch, wait = l.collect(time.Now(), batch[:0])
		for _, p := range batch {
			l.publish(p)
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
		case <-l.wake:
		case <-timer.C:
		}
	}
}

func (l *lane) publish(p post) {
	counter := &l.exits
	if p.subject == subjectHeartbeat {
		counter = &l.beats
	}
	if !l.nc.IsConnected() || l.nc.Publish(p.subject, p.data) != nil {
		counter = &l.lost
	}
	counter.Add(1)
}

// collect takes up to a batch of what is to be said now, and says when the next beat is due: 0 if there is more.
func (l *lane) collect(now time.Time, batch []post) ([]post, time.Duration) {
	f := l.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(batchSize, len(l.posts))
	batch = append(batch, l.posts[:n]...)
	if l.posts = l.posts[n:]; len(l.posts) == 0 {
		l.posts = nil
	}
	for len(l.wanted) > 0 && len(batch) < batchSize {
		d := l.wanted[0]
		l.wanted = l.wanted[1:]
		d.wanted = false
		if d.speaks() {
			batch = append(batch, post{subjectHeartbeat, l.encode(d)})
		}
	}
	for len(batch) < batchSize {
		if len(l.timers) == 0 {
			return batch, time.Hour
		}
		d := l.timers[0]
		if wait := d.due.Sub(now); wait > 0 {
			return batch, wait
		}
		d.due = l.nextBeat(d, now)
		heap.Fix(&l.timers, 0)
		if f.tick(d, now) {
			batch = append(batch, post{subjectHeartbeat, l.encode(d)})
		}
	}
	return batch, 0
}

// nextBeat keeps a DEA's beats in phase: a whole number of periods after the last one, in the future.
func (l *lane) nextBeat(d *dea, now time.Time) time.Time {
	period := l.fleet.opts.HeartbeatPeriod
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
func (l *lane) encode(d *dea) []byte {
	if d.stale {
		const entry = 272 // bytes, about, so that the buffer is right at the first time
		d.payload = slices.Grow(d.payload[:0], entry*len(d.instances)+64)
		d.payload = appendHeartbeat(d.payload[:0], l.partition, d.id, d.instances)
		d.stale = false
	}
	return d.payload
}

// The rest is called with fleet.mu held, but for follow and listen.

func (l *lane) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// wantBeat has the DEA heartbeat now. Several wishes that meet before it is sent make one heartbeat.
func (l *lane) wantBeat(d *dea) {
	if !d.wanted {
		d.wanted = true
		l.wanted = append(l.wanted, d)
		l.rouse()
	}
}

// announce publishes a droplet.exited, unless the instance's DEA is cut off.
func (l *lane) announce(in *instance, reason actual.ExitReason, why string) {
	if in.dea.speaks() {
		l.post(post{subjectExited, encodeExit(l.fleet.opts.Partition, in, reason, why)})
	}
}

func (l *lane) announceShutdown(d *dea) {
	l.post(post{subjectDEAShutdown, encodeDEAShutdown(d)})
}

func (l *lane) post(p post) {
	if len(l.posts) >= maxPosts {
		l.lost.Add(1)
		return
	}
	l.posts = append(l.posts, p)
	l.rouse()
}

// enter lets a DEA beat by its timer and hear start messages.
func (l *lane) enter(d *dea) {
	heap.Push(&l.timers, d)
	l.moves = append(l.moves, move{d, d.id, true})
	l.rouse()
}

// quit undoes enter.
func (l *lane) quit(d *dea) {
	if d.dueAt >= 0 {
		heap.Remove(&l.timers, d.dueAt)
	}
	l.moves = append(l.moves, move{d, d.id, false})
	l.rouse()
}

func (l *lane) setDue(d *dea, due time.Time) {
	d.due = due
	if d.dueAt >= 0 {
		heap.Fix(&l.timers, d.dueAt)
	}
	l.rouse()
}

// follow subscribes for DEAs that entered and unsubscribes for those that quit. A DEA takes new instances once it
// surely hears of them.
func (l *lane) follow(ctx context.Context) {
	f := l.fleet
	f.mu.Lock()
	moves := l.moves
	l.moves = nil
	f.mu.Unlock()
	if len(moves) == 0 {
		return
	}
	for _, m := range moves {
		if !m.enter {
			if sub := l.subs[m.id]; sub != nil {
				_ = sub.Unsubscribe() // fails only when the connection is closed for good
				delete(l.subs, m.id)
			}
			continue
		}
		sub, err := l.nc.ChanSubscribe(subjectDEAStart(m.id), l.in)
		if err != nil {
			f.log.Error("a DEA cannot subscribe to its starts", "dea", m.id, "error", err)
			continue
		}
		l.subs[m.id] = sub
	}
	if l.nc.IsConnected() {
		flush, cancel := context.WithTimeout(ctx, time.Second)
		_ = l.nc.FlushWithContext(flush) // without an answer the DEA is in the pool a little early, no more
		cancel()
	}
	f.mu.Lock()
	for _, m := range moves {
		if m.enter && m.dea.id == m.id && m.dea.status == serving && !m.dea.paused {
			f.pool.add(&m.dea.seat)
		}
	}
	f.mu.Unlock()
}

// listen carries out the start and stop messages of the Cloud Controller until ctx ends.
func (l *lane) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-l.in:
			l.hear(m.Subject, m.Data)
		}
	}
}

func (l *lane) hear(subject string, data []byte) {
	f := l.fleet
	if subject == subjectDEAStop {
		// instance_ids is an older name of instances.
		var s struct {
			stopFilter
			IDs []app.GUID `json:"instance_ids"`
		}
		if err := json.Unmarshal(data, &s); err != nil || s.Droplet.IsZero() {
			f.log.Warn("a stop that DEAs cannot read", "error", err)
			return
		}
		s.Instances = append(s.Instances, s.IDs...)
		f.mu.Lock()
		f.stop(l, s.stopFilter)
		f.mu.Unlock()
		return
	}
	id := strings.TrimSuffix(strings.TrimPrefix(subject, "dea."), ".start")
	var s deaStart
	if err := json.Unmarshal(data, &s); err != nil || s.Droplet.IsZero() || s.Version.IsZero() || s.Index > actual.MaxIndex {
		f.log.Warn("a start that a DEA cannot read", "dea", id, "error", err)
		return
	}
	f.mu.Lock()
	if d := f.byID[id]; d != nil && d.status == serving && !d.paused {
		f.begin(d, app.Key{Droplet: s.Droplet, Version: s.Version}, s.Index)
	}
	f.mu.Unlock()
}

// timers implements heap.Interface: the DEA whose beat is due first.
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
