package cluster

import (
	"sync/atomic"

	"hm/internal/boltfile"
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
	Compactions  uint64 // times that raft.db was replaced by a copy without free pages

	// These are no totals, but the newest entry that is known to be committed, that is stored here, and that the newest
	// snapshot has.
	CommitIndex, LastIndex, SnapshotIndex uint64

	// OfMembers, OfOthers and Unsaid count the connections that others opened on the cluster port and that are open now: of
	// members, of others, and those that have not said yet what they are for.
	OfMembers, OfOthers, Unsaid int

	// File is the use of raft.db; zero if it is not known.
	File boltfile.Use
}

// Stats gives the running totals.
func (n *Node) Stats() Stats {
	file, _ := n.stores.file.use()
	s := Stats{
		Proposals: n.stats.proposals.Load(), Entries: n.stats.entries.Load(), EntryBytes: n.stats.bytes.Load(),
		Refused: n.port.refused.Load(), PeerMessages: n.stats.messages.Load(), BadMessages: n.stats.badMessages.Load(),
		BadNumbers:  n.stats.badNumbers.Load(),
		Compactions: n.stats.compactions.Load(), File: file,
		CommitIndex: n.raft.CommitIndex(), LastIndex: n.raft.LastIndex(), SnapshotIndex: positionOf(n.raft.Stats(), "last_snapshot").Index,
	}
	s.OfMembers, s.OfOthers, s.Unsaid = n.port.inbound()
	return s
}

type counters struct{ proposals, entries, bytes, messages, badMessages, badNumbers, compactions atomic.Uint64 }
