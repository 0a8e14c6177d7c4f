// Package hm9000 is a simulated HM9000, as it was in its last years on NATS: for trying hm beside it, in shadow mode,
// and for the tests that compare the two. Like the real one it knows the DEAs' heartbeats and the Cloud Controller's
// bulk API, and nothing else: it shares no code with hm, so that a mistake of hm is not repeated here. Comments name
// the facts and rules of HM9000 (N..., D..., R..., W...).
//
// It has HM9000's passes, delays, limits and checks. Instead of etcd it has a Store in memory, so that a write never
// fails, and it does in one process what HM9000 does in several.
package hm9000

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// HM9000's times, in heartbeats, and its limits.
const (
	passBeats       = 6  // from the start of one pass to the start of the next (C08)
	ttlBeats        = 3  // life of a DEA's presence (C02), and of the mark that the store is fresh (C03)
	graceBeats      = 3  // C04
	backoffBeats    = 3  // the first back-off of a crash restart (C31)
	maxBackoffBeats = 96 // the longest one (C32)

	crashesBeforeBackoff = 3 // C30
	defaultStartLimit    = 60
	syncsPerBeat         = 10 // C14: 1 s at a period of 10 s

	batchSize    = 500 // C16
	fetchTimeout = 10 * time.Second
	maxWaiting   = 65_536 // heartbeats
)

const (
	subjectHeartbeat = "dea.heartbeat"
	subjectExited    = "droplet.exited"
	subjectStart     = "hm9000.start"
	subjectStop      = "hm9000.stop"
)

// Options describe a simulated HM9000. Fields that are not named as optional must be set.
type Options struct {
	HeartbeatPeriod time.Duration
	CCURL           string // root of the Cloud Controller's bulk API
	User, Password  string // for it
	// Dial opens a connection to NATS that reconnects for ever and buffers nothing meanwhile.
	Dial       func(name string) (*nats.Conn, error)
	StartLimit int // starts in a pass; optional, default 60
	// Store is what an earlier HM9000, which was closed, has left; optional, default a new one.
	Store  *Store
	Faults Faults
	Logger *slog.Logger
}

// Faults are weaknesses of HM9000 that the simulated one shows only if it is asked to.
type Faults struct {
	// IgnoreFreshness: it acts though its store is not fresh. After an outage of NATS everything looks missing to it.
	IgnoreFreshness bool `json:"ignore_freshness"`
	// EmptyReads: one record in its store cannot be read, and it takes that for an empty store: everything looks missing
	// to it (W07).
	EmptyReads bool `json:"empty_reads"`
}

// Stats has running totals.
type Stats struct {
	Heartbeats    uint64 `json:"heartbeats"` // taken
	Malformed     uint64 `json:"malformed"`  // messages that it could not read
	Passes        uint64 `json:"passes"`
	FetchesFailed uint64 `json:"fetches_failed"` // passes that ended because the desired state could not be read
	NotFresh      uint64 `json:"not_fresh"`      // passes that ended because the store was not fresh
	Starts        uint64 `json:"starts"`         // published
	Stops         uint64 `json:"stops"`          // published
	NotPublished  uint64 `json:"not_published"`  // attempts while NATS was away
}

// HM9000 is a running simulated HM9000. Its methods are safe for concurrent use.
type HM9000 struct {
	opts   Options
	nc     *nats.Conn
	client *http.Client
	in     chan *nats.Msg
	log    *slog.Logger

	mu   sync.Mutex // guards the model
	core *model

	cancel context.CancelFunc
	owned  sync.WaitGroup
}

// Start runs an HM9000 until ctx ends or Close is called. NATS and the Cloud Controller need not be up. Its first pass
// begins at once. The caller must close it.
func Start(ctx context.Context, o Options) (*HM9000, error) {
	if o.HeartbeatPeriod < time.Millisecond || o.CCURL == "" || o.Dial == nil {
		return nil, errors.New("simulated HM9000: it needs a heartbeat period of at least 1ms, a Cloud Controller and a connection")
	}
	if o.StartLimit <= 0 {
		o.StartLimit = defaultStartLimit
	}
	if o.Store == nil {
		o.Store = NewStore()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &HM9000{
		opts: o, client: &http.Client{Timeout: fetchTimeout, Transport: &http.Transport{}},
		in: make(chan *nats.Msg, maxWaiting), log: o.Logger,
	}
	h.core = newModel(o, h.publish)
	var err error
	if h.nc, err = o.Dial("hm-sim hm9000"); err != nil {
		return nil, err
	}
	for _, subject := range []string{subjectHeartbeat, subjectExited} {
		if _, err := h.nc.ChanSubscribe(subject, h.in); err != nil {
			h.nc.Close()
			return nil, err
		}
	}
	ctx, h.cancel = context.WithCancel(ctx)
	h.owned.Go(func() { h.listen(ctx) })
	h.owned.Go(func() { h.analyze(ctx) })
	return h, nil
}

// Close ends it and waits for its goroutines. What it has published stays published, and its Store stays as it is.
func (h *HM9000) Close() {
	h.cancel()
	h.owned.Wait()
	h.nc.Close()
	h.client.CloseIdleConnections()
}

// SetFaults replaces the present faults.
func (h *HM9000) SetFaults(f Faults) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.core.faults = f
}

// Faults gives the present faults.
func (h *HM9000) Faults() Faults {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.core.faults
}

// Stats gives the running totals.
func (h *HM9000) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.core.stats
}

// listen takes what DEAs send, and stores it ten times a heartbeat (N07).
func (h *HM9000) listen(ctx context.Context) {
	sync := time.NewTicker(max(h.opts.HeartbeatPeriod/syncsPerBeat, time.Millisecond))
	defer sync.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-h.in:
			h.mu.Lock()
			if m.Subject == subjectExited {
				h.core.exited(time.Now(), m.Data)
			} else {
				h.core.heartbeat(m.Data)
			}
			h.mu.Unlock()
		case <-sync.C:
			h.mu.Lock()
			h.core.sync(time.Now())
			h.mu.Unlock()
		}
	}
}

// analyze makes a pass every six heartbeats, from start to start.
func (h *HM9000) analyze(ctx context.Context) {
	pass := time.NewTicker(passBeats * h.opts.HeartbeatPeriod)
	defer pass.Stop()
	for {
		apps, err := h.fetch(ctx)
		h.mu.Lock()
		if err != nil && ctx.Err() == nil {
			h.log.Warn("the simulated HM9000 cannot read the desired state", "error", err)
		}
		h.core.pass(time.Now(), apps, err)
		h.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-pass.C:
		}
	}
}

// publish sends one command. It is called with mu held.
func (h *HM9000) publish(subject string, data []byte) error {
	if !h.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	return h.nc.Publish(subject, data)
}
