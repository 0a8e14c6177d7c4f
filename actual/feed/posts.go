package feed

import "errors"

// ErrClosed says that the Feed is closed: it takes no heartbeat any more.
var ErrClosed = errors.New("the feed is closed")

// Posts takes heartbeats that reach this node in another way than over its NATS link. They go the same way as messages
// on SubjectHeartbeat, and are counted apart. Its methods are safe for concurrent use; heartbeats of one DEA must come one
// after the other.
type Posts struct {
	feed     *Feed
	sink     HeartbeatSink
	counters counters
}

// Posts makes a further way in. The heartbeats go to sink, which must know the same digests as the Feed's own.
func (f *Feed) Posts(sink HeartbeatSink) *Posts { return &Posts{feed: f, sink: sink} }

// Take handles the body of a heartbeat. The caller must not change it afterwards. The error says why it cannot be read.
func (p *Posts) Take(body []byte) error {
	f := p.feed
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return ErrClosed
	}
	if f.onMessage != nil {
		f.onMessage(SubjectHeartbeat, body)
	}
	p.counters.count(body)
	return f.heartbeat(p.sink, &p.counters, body)
}

// Repeats reports whether the heartbeat with this digest, made with Key, repeats the newest one of its DEA. If so, the
// DEA counts as heard, and Take need not get the body.
func (p *Posts) Repeats(d Digest) bool {
	f := p.feed
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed || !p.sink.Unchanged(d) {
		return false
	}
	p.counters.received.Add(1)
	p.counters.unchanged.Add(1)
	return true
}

// Key is the key of the digests that Repeats takes.
func (p *Posts) Key() DigesterKey { return p.feed.digest.key }

// Counts returns the counters of this way in.
func (p *Posts) Counts() Counts { return p.counters.read() }
