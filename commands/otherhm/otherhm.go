// Package otherhm hears the start and stop commands that another health manager publishes over NATS, for shadow mode. It
// decides nothing. A message that cannot be read is counted and sometimes logged, and does nothing else.
package otherhm

import (
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"hm/commands/compare"
	"hm/commands/natspub"
	"hm/internal/bus"
	"hm/internal/sampled"
)

// The protocols, as commands.protocol names them.
const (
	ProtocolHM9000 = natspub.ProtocolHM9000
	ProtocolHealth = natspub.ProtocolHealth
)

// limits bound what waits to be handled. No decision of hm depends on it.
var limits = bus.Limits{Messages: 65_536, Bytes: 64 << 20, Aside: true}

const (
	logEvery   = 10 * time.Second
	quoteBytes = 200 // bytes of a bad message in the log
)

// Stats has running totals.
type Stats struct {
	Received  uint64 // messages
	Malformed uint64 // of these, those that could not be read
	Own       uint64 // of these, those that this cluster published itself
	Commands  uint64 // that the other messages asked for
}

// Listener passes the commands of another health manager to a sink.
type Listener struct {
	subjects []string
	own      func(messageID string) bool
	sink     func(compare.Other)
	log      *sampled.Log

	received, malformed, ownSent, commands atomic.Uint64

	mu     sync.RWMutex // read-held while a message is handled
	closed bool
}

type decoder func([]byte) ([]compare.Other, error)

// Open subscribes to the subjects of a protocol and begins to call sink, from several goroutines. It passes on no message
// for whose id own returns true: this cluster published it. Sink must return soon. The time of a command is not set. Open
// fails if the protocol has no subjects, or if the link is closed. A subject that the server refuses is in
// bus.Link.Refusals.
func Open(link *bus.Link, protocol string, own func(messageID string) bool, sink func(compare.Other), logger *slog.Logger) (*Listener, error) {
	decoders := map[string]decoder{}
	l := &Listener{own: own, sink: sink, log: sampled.New(logger, logEvery, 1)}
	switch protocol {
	case ProtocolHM9000:
		l.subjects = []string{natspub.SubjectStart, natspub.SubjectStop}
		decoders[natspub.SubjectStart], decoders[natspub.SubjectStop] = DecodeStart, DecodeStop
	case ProtocolHealth:
		l.subjects = []string{natspub.SubjectHealthStart, natspub.SubjectHealthStop}
		decoders[natspub.SubjectHealthStart], decoders[natspub.SubjectHealthStop] = DecodeHealthStart, DecodeHealthStop
	default:
		return nil, fmt.Errorf("commands.protocol %q is not published over nats: no other health manager can be heard", protocol)
	}
	for _, subject := range l.subjects {
		decode := decoders[subject]
		if err := link.Subscribe(subject, limits, func(m bus.Msg) { l.handle(decode, m) }); err != nil {
			l.Close()
			return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	return l, nil
}

// Subjects gives the subjects that the listener needs. Nobody may change them.
func (l *Listener) Subjects() []string { return l.subjects }

// Close waits until sink does not run; after that it is not called. The subscriptions end with the link.
func (l *Listener) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// Stats gives the running totals.
func (l *Listener) Stats() Stats {
	return Stats{
		Received: l.received.Load(), Malformed: l.malformed.Load(), Own: l.ownSent.Load(), Commands: l.commands.Load(),
	}
}

func (l *Listener) handle(decode decoder, m bus.Msg) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return
	}
	l.received.Add(1)
	list, err := decode(m.Data)
	if err != nil {
		l.malformed.Add(1)
		l.log.Warn(m.Subject, "a command of another health manager cannot be read, and is not compared", func() []any {
			data := m.Data[:min(len(m.Data), quoteBytes)]
			return []any{"subject", m.Subject, "bytes", len(m.Data), "error", err, "data", strconv.QuoteToASCII(string(data))}
		})
		return
	}
	if len(list) > 0 && list[0].MessageID != "" && l.own(list[0].MessageID) {
		l.ownSent.Add(1)
		l.log.Warn("own", "another node of this cluster sends commands: set commands.mode to the same value on every node", func() []any {
			return []any{"subject", m.Subject, "command", list[0].MessageID}
		})
		return
	}
	for _, c := range list {
		l.commands.Add(1)
		l.sink(c)
	}
}
