package cluster

import (
	"sync/atomic"
)

// Stats are running totals since Open.
type Stats struct {
	Proposals    uint64 // calls of Propose that were let in
	Entries      uint64 // entries that they became, on this node as leader
	EntryBytes   uint64
	Refused      uint64 // connections on the cluster port that were closed for what they sent or did not send
	PeerMessages uint64 // messages of peers taken in
	BadMessages  uint64 // messages of peers that were refused
	BadNumbers   uint64 // numbers in messages of peers that were passed over, as they cannot be true
}

// Stats gives the running totals.
func (n *Node) Stats() Stats {
	return Stats{
		Proposals: n.stats.proposals.Load(), Entries: n.stats.entries.Load(), EntryBytes: n.stats.bytes.Load(),
		Refused: n.port.refused.Load(), PeerMessages: n.stats.messages.Load(), BadMessages: n.stats.badMessages.Load(),
		BadNumbers: n.stats.badNumbers.Load(),
	}
}

type counters struct{ proposals, entries, bytes, messages, badMessages, badNumbers atomic.Uint64 }
