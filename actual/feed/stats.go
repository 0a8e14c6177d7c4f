package feed

import "sync/atomic"

// Counts is what came in on one subject since the Feed was opened. Received is the sum of Unchanged, Decoded,
// Malformed and TooLarge, when nothing is being handled.
type Counts struct {
	Received  uint64
	Bytes     uint64
	Unchanged uint64 // heartbeats recognised by their digest
	Decoded   uint64 // handed to the sink
	Malformed uint64 // refused: not what the subject demands
	TooLarge  uint64 // refused: beyond a limit
	Rejected  uint64 // entries left out of heartbeats that were decoded
	Unplaced  uint64 // of these, those that name an app
	// UnknownStates are entries that were not left out, in a state that hm does not know.
	UnknownStates uint64
}

// Stats is what came in, by subject.
type Stats struct {
	Heartbeats, Exits, Updates Counts
}

// Stats returns the counters.
func (f *Feed) Stats() Stats {
	return Stats{Heartbeats: f.heartbeats.read(), Exits: f.exits.read(), Updates: f.updates.read()}
}

type counters struct {
	received, bytes, unchanged, decoded, malformed, tooLarge, rejected, unplaced, unknownStates atomic.Uint64
}

func (c *counters) heard(data []byte) {
	c.received.Add(1)
	c.bytes.Add(uint64(len(data)))
}

func (c *counters) read() Counts {
	return Counts{
		Received: c.received.Load(), Bytes: c.bytes.Load(), Unchanged: c.unchanged.Load(), Decoded: c.decoded.Load(),
		Malformed: c.malformed.Load(), TooLarge: c.tooLarge.Load(), Rejected: c.rejected.Load(),
		Unplaced: c.unplaced.Load(), UnknownStates: c.unknownStates.Load(),
	}
}
