package server

import (
	"context"
	"time"
)

// journalWait is how long a snapshot waits for the journal. Entries may leave the log after it: what the journal has not
// stored by then would be lost if the node is killed.
const journalWait = 5 * time.Second

// storeJournal waits until the journal has stored the events up to an entry, or cannot.
func (n *Node) storeJournal(index uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), journalWait)
	defer cancel()
	_ = n.journal.AwaitStored(ctx, index) // the journal logs what is wrong, and asks the peers for what it lacks
}
