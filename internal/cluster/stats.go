package cluster

import (
	"sync/atomic"
)

// Stats are running totals since Open.
type Stats struct {
	Proposals    uint64 // calls of Propose that were accepted
	Entries      uint64 // entries made from them, on this node as leader
	EntryBytes   uint64
	Refused      uint64 // connections on the cluster port that were closed for what they sent or did not send
	PeerMessages uint64 // accepted messages of peers
	BadMessages  uint64 // refused messages of peers
	BadNumbers   uint64 // ignored numbers in messages of peers, because they cannot be true

	// These are no totals, but the newest entry that is known to be committed, that is stored here, and that the newest
	// snapshot has.
	CommitIndex, LastIndex, SnapshotIndex uint64
}

// Stats gives the running totals.
func (n *Node) Stats() Stats {
	return Stats{
		Proposals: n.stats.proposals.Load(), Entries: n.stats.entries.Load(), EntryBytes: n.stats.bytes.Load(),
		Refused: n.port.refused.Load(), PeerMessages: n.stats.messages.Load(), BadMessages: n.stats.badMessages.Load(),
		BadNumbers:  n.stats.badNumbers.Load(),
		CommitIndex: n.raft.CommitIndex(), LastIndex: n.raft.LastIndex(), SnapshotIndex: positionOf(n.raft.Stats(), "last_snapshot").Index,
	}
}

type counters struct{ proposals, entries, bytes, messages, badMessages, badNumbers atomic.Uint64 }
