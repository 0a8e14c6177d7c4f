// Package feed takes what DEAs and Cloud Controllers say off the wire: it decodes dea.heartbeat, droplet.exited
// and droplet.updated, and hands them on from NATS. Whatever comes in, it costs a count and now and then a line
// of log.
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
	"hm/internal/bus/sampled"
)

// The subjects that a Feed listens on.
const (
	SubjectHeartbeat = "dea.heartbeat"
	SubjectExited    = "droplet.exited"
	SubjectUpdated   = "droplet.updated"
)

// What may wait for a sink. At 10,000 DEAs with 23 KB every 10 s it is 11 s of heartbeats; beyond it the link
// counts a gap.
var (
	heartbeatLimits = bus.Limits{Messages: 65_536, Bytes: 256 << 20}
	eventLimits     = bus.Limits{Messages: 65_536, Bytes: 32 << 20, Spare: true}
)

const (
	logEvery   = time.Second
	quoteBytes = 200 // of a bad message, in the log
)

// Sink takes what was heard. Its methods are called by several goroutines, one for each subject, and must return
// soon: while one runs, what comes on its subject waits.
type Sink interface {
	// Unchanged reports whether the payload with this digest is the newest of its DEA. Then there is nothing new
	// in it but that the DEA is alive, which the sink notes; it is not decoded.
	Unchanged(Digest) bool
	// Heartbeat takes a heartbeat for which Unchanged was false.
	Heartbeat(actual.Heartbeat, Digest)
	// Garbled takes note that a message came which is no heartbeat, and why. dea is who probably sent it (Sender).
	Garbled(dea, why string)
	Exit(actual.Exit)
	Updated(app.GUID)
}

// Feed brings a link's messages to a Sink.
type Feed struct {
	sink   Sink
	heard  func(subject string, data []byte) // of everything, before it is looked at; nil: nobody wants to know
	digest Digester
	log    *sampled.Log

	heartbeats, exits, updates counters

	mu     sync.RWMutex // read-held while a message is handled
	closed bool
}

// Open subscribes to the three subjects and begins to call sink, and before it heard, if that is not nil, with each
// message as it came, which nobody changes afterwards. It fails only on a link that is closed.
func Open(link *bus.Link, sink Sink, heard func(subject string, data []byte), logger *slog.Logger) (*Feed, error) {
	f := &Feed{sink: sink, heard: heard, digest: NewDigester(), log: sampled.New(logger, logEvery)}
	for _, s := range []struct {
		subject string
		limits  bus.Limits
		fn      func([]byte)
	}{
		{SubjectHeartbeat, heartbeatLimits, f.onHeartbeat},
		{SubjectExited, eventLimits, f.onExit},
		{SubjectUpdated, eventLimits, f.onUpdated},
	} {
		if err := link.Subscribe(s.subject, s.limits, func(m bus.Msg) { f.handle(s.fn, m) }); err != nil {
			f.Close()
			return nil, fmt.Errorf("listen on %s: %w", s.subject, err)
		}
	}
	return f, nil
}

// Close waits for the sink's methods that run and calls none any more. The subscriptions end with the link.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

func (f *Feed) handle(fn func([]byte), m bus.Msg) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return
	}
	if f.heard != nil {
		f.heard(m.Subject, m.Data)
	}
	fn(m.Data)
}

func (f *Feed) onHeartbeat(data []byte) {
	f.heartbeats.heard(data)
	var d Digest
	if len(data) <= MaxHeartbeat {
		d = f.digest.Sum(data)
		if f.sink.Unchanged(d) {
			f.heartbeats.unchanged.Add(1)
			return
		}
	}
	hb, err := DecodeHeartbeat(data)
	if err != nil {
		dea := Sender(data)
		f.refuse(&f.heartbeats, SubjectHeartbeat, data, err, "dea", dea)
		if dea != "" {
			f.sink.Garbled(dea, err.Error())
		}
		return
	}
	f.heartbeats.decoded.Add(1)
	if hb.Odd() {
		f.odd(&hb, data)
	}
	f.sink.Heartbeat(hb, d)
}

// odd counts what of a heartbeat could not be read.
func (f *Feed) odd(hb *actual.Heartbeat, data []byte) {
	f.heartbeats.rejected.Add(uint64(hb.Rejected))
	f.heartbeats.unplaced.Add(uint64(len(hb.Unplaced)))
	f.heartbeats.unknownStates.Add(uint64(hb.UnknownStates))
	f.log.Warn("odd", "a heartbeat has entries that cannot be read, or whose state is not known",
		func() []any {
			return []any{
				"dea", hb.DEA, "instances", len(hb.Instances), "left_out", hb.Rejected, "unplaced", len(hb.Unplaced),
				"unknown_states", hb.UnknownStates, "why", hb.Why, "data", quote(data),
			}
		})
}

func (f *Feed) onExit(data []byte) {
	f.exits.heard(data)
	e, err := DecodeExit(data)
	if err != nil {
		f.refuse(&f.exits, SubjectExited, data, err)
		return
	}
	f.exits.decoded.Add(1)
	f.sink.Exit(e)
}

func (f *Feed) onUpdated(data []byte) {
	f.updates.heard(data)
	g, err := DecodeUpdated(data)
	if err != nil {
		f.refuse(&f.updates, SubjectUpdated, data, err)
		return
	}
	f.updates.decoded.Add(1)
	f.sink.Updated(g)
}

// refuse counts a message that cannot be used.
func (f *Feed) refuse(c *counters, subject string, data []byte, err error, attrs ...any) {
	kind := &c.malformed
	if errors.Is(err, ErrTooLarge) {
		kind = &c.tooLarge
	}
	kind.Add(1)
	f.log.Warn(subject, "a message cannot be used and is dropped",
		func() []any {
			return append(attrs, "subject", subject, "bytes", len(data), "error", err, "data", quote(data))
		})
}

// quote gives the beginning of a message, safe to print.
func quote(data []byte) string {
	return strconv.QuoteToASCII(string(data[:min(len(data), quoteBytes)]))
}
