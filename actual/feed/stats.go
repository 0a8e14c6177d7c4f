package feed

import "sync/atomic"

// Counts are the counters of one subject since the Feed was opened. While no message waits or is being handled, Received
// is the sum of Unchanged, Decoded, Malformed, TooLarge and Superseded.
type Counts struct {
	Received  uint64
	Bytes     uint64
	Unchanged uint64 // heartbeats recognised by their digest
	Decoded   uint64 // passed to the sink
	Malformed uint64 // refused: not the form of the subject
	TooLarge  uint64 // refused: beyond a limit
	// Superseded counts heartbeats that were not looked at, because the DEA's next one came while they waited.
	Superseded uint64
	Rejected   uint64 // entries that were left out of decoded heartbeats
	Unplaced   uint64 // rejected entries that name an app

	UnknownStates uint64 // entries that were kept although their state is unknown
}

// Stats are the counters of all subjects.
type Stats struct {
	Heartbeats, Exits, Updates Counts
}

// Stats returns the counters.
func (f *Feed) Stats() Stats {
	return Stats{Heartbeats: f.heartbeats.read(), Exits: f.exits.read(), Updates: f.updates.read()}
}

type counters struct {
	received, bytes, unchanged, decoded, malformed, tooLarge, superseded, rejected, unplaced, unknownStates atomic.Uint64
}

// count counts a received message.
func (c *counters) count(data []byte) {
	c.received.Add(1)
	c.bytes.Add(uint64(len(data)))
}

func (c *counters) read() Counts {
	return Counts{
		Received: c.received.Load(), Bytes: c.bytes.Load(), Unchanged: c.unchanged.Load(), Decoded: c.decoded.Load(),
		Malformed: c.malformed.Load(), TooLarge: c.tooLarge.Load(), Superseded: c.superseded.Load(),
		Rejected: c.rejected.Load(), Unplaced: c.unplaced.Load(), UnknownStates: c.unknownStates.Load(),
	}
}
