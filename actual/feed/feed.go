// Package feed decodes the messages of DEAs and Cloud Controllers: dea.heartbeat, droplet.exited and droplet.updated.
// It reads them from NATS and passes them to a Sink. Heartbeats may also arrive in other ways: see Posts. A message that
// cannot be read is counted and sometimes logged, and does nothing else.
package feed

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/sampled"
)

// The NATS subjects that a Feed subscribes to.
const (
	SubjectHeartbeat = "dea.heartbeat"
	SubjectExited    = "droplet.exited"
	SubjectUpdated   = "droplet.updated"
)

// How much may wait for the Sink. With 10,000 DEAs that send 23 KB every 10 s this is 11 s of heartbeats. If more
// waits, messages are dropped and the link counts a gap. Of a DEA's heartbeats that wait, mostly only the newest is kept.
var (
	heartbeatLimits = bus.Limits{Messages: 65_536, Bytes: 256 << 20}
	eventLimits     = bus.Limits{Messages: 65_536, Bytes: 32 << 20, Spare: true}
)

const (
	logEvery   = time.Second
	quoteBytes = 200 // bytes of a bad message in the log
)

// HeartbeatSink takes decoded heartbeats.
type HeartbeatSink interface {
	// Unchanged reports whether the payload with this digest is equal to the newest one of its DEA. If so, the Sink notes
	// that the DEA is alive, and the payload is not decoded.
	Unchanged(Digest) bool
	// Heartbeat takes a heartbeat for which Unchanged returned false.
	Heartbeat(actual.Heartbeat, Digest)
	// Garbled is called for a message that should be a heartbeat and is none. dea probably sent it (see Sender); why says
	// what is wrong with it.
	Garbled(dea, why string)
}

// Sink takes decoded messages. Its methods are called by several goroutines, one a subject. They must return soon:
// while one runs, the next messages on its subject wait.
type Sink interface {
	HeartbeatSink
	Exit(actual.Exit)
	Updated(app.GUID)
}

// Feed passes the messages of a NATS link to a Sink.
type Feed struct {
	sink      Sink
	onMessage func(subject string, data []byte) // called with each message before it is decoded; may be nil
	digest    Digester
	log       *sampled.Log

	heartbeats, exits, updates counters

	mu     sync.RWMutex // read-held while a message is handled
	closed bool
}

// Open subscribes to the three subjects and begins to call sink. Before that, onMessage is called with each message as
// it was received, if it is not nil; nobody changes the data afterwards. period is the DEAs' heartbeat period. Open fails
// only if the link is closed.
func Open(
	link *bus.Link, sink Sink, period time.Duration, onMessage func(subject string, data []byte), logger *slog.Logger,
) (*Feed, error) {
	f := &Feed{sink: sink, onMessage: onMessage, digest: NewDigester(), log: sampled.New(logger, logEvery, 1)}
	heartbeats := heartbeatLimits
	heartbeats.Newest = f.newestHeartbeats(period)
	for _, s := range []struct {
		subject string
		limits  bus.Limits
		arrived func(bus.Msg) // nil: limits call it
		fn      func([]byte)
	}{
		{SubjectHeartbeat, heartbeats, nil, f.onHeartbeat},
		{SubjectExited, eventLimits, f.arrived(&f.exits), f.onExit},
		{SubjectUpdated, eventLimits, f.arrived(&f.updates), f.onUpdated},
	} {
		if err := link.Subscribe(s.subject, s.limits, func(m bus.Msg) { f.handle(s.arrived, s.fn, m) }); err != nil {
			f.Close()
			return nil, fmt.Errorf("subscribe to %s: %w", s.subject, err)
		}
	}
	return f, nil
}

// Close waits until no method of the Sink runs; after that none is called. The subscriptions end with the link.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

func (f *Feed) handle(arrived func(bus.Msg), fn func([]byte), m bus.Msg) {
	if arrived != nil {
		arrived(m)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if !f.closed {
		fn(m.Data)
	}
}

// arrived counts a message in c and shows it to onMessage.
func (f *Feed) arrived(c *counters) func(bus.Msg) {
	return func(m bus.Msg) {
		f.mu.RLock()
		defer f.mu.RUnlock()
		if f.closed {
			return
		}
		c.count(m.Data)
		if f.onMessage != nil {
			f.onMessage(m.Subject, m.Data)
		}
	}
}

func (f *Feed) onHeartbeat(data []byte) {
	_ = f.heartbeat(f.sink, &f.heartbeats, data) // it is counted and logged
}

// heartbeat passes a heartbeat to sink and counts in c what it is. The error says why it cannot be read.
func (f *Feed) heartbeat(sink HeartbeatSink, c *counters, data []byte) error {
	var d Digest
	if len(data) <= MaxHeartbeat {
		d = f.digest.Sum(data)
		if sink.Unchanged(d) {
			c.unchanged.Add(1)
			return nil
		}
	}
	hb, err := DecodeHeartbeat(data)
	if err != nil {
		dea := Sender(data)
		f.refuse(c, SubjectHeartbeat, data, err, "dea", dea)
		if dea != "" {
			sink.Garbled(dea, err.Error())
		}
		return err
	}
	c.decoded.Add(1)
	if hb.HasUnreadable() {
		f.countUnreadable(c, &hb, data)
	}
	sink.Heartbeat(hb, d)
	return nil
}

// countUnreadable counts and logs the entries of a heartbeat that cannot be read.
func (f *Feed) countUnreadable(c *counters, hb *actual.Heartbeat, data []byte) {
	c.rejected.Add(uint64(hb.Rejected))
	c.unplaced.Add(uint64(len(hb.Unplaced)))
	c.unknownStates.Add(uint64(hb.UnknownStates))
	f.log.Warn("unreadable", "a heartbeat has entries that cannot be read or have an unknown state",
		func() []any {
			return []any{
				"dea", hb.DEA, "instances", len(hb.Instances), "left_out", hb.Rejected, "unplaced", len(hb.Unplaced),
				"unknown_states", hb.UnknownStates, "why", hb.Why, "data", quote(data),
			}
		})
}

func (f *Feed) onExit(data []byte) {
	e, err := DecodeExit(data)
	if err != nil {
		f.refuse(&f.exits, SubjectExited, data, err)
		return
	}
	f.exits.decoded.Add(1)
	f.sink.Exit(e)
}

func (f *Feed) onUpdated(data []byte) {
	g, err := DecodeUpdated(data)
	if err != nil {
		f.refuse(&f.updates, SubjectUpdated, data, err)
		return
	}
	f.updates.decoded.Add(1)
	f.sink.Updated(g)
}

// refuse counts and logs a message that cannot be used.
func (f *Feed) refuse(c *counters, subject string, data []byte, err error, attrs ...any) {
	kind := &c.malformed
	if errors.Is(err, ErrTooLarge) {
		kind = &c.tooLarge
	}
	kind.Add(1)
	f.log.Warn(subject, "a message cannot be read and is dropped",
		func() []any {
			return append(attrs, "subject", subject, "bytes", len(data), "error", err, "data", quote(data))
		})
}

// quote returns the beginning of a message, safe to print.
func quote(data []byte) string {
	return strconv.QuoteToASCII(string(data[:min(len(data), quoteBytes)]))
}
