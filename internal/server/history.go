package server

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"hm/internal/cluster"
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

// journalPeers reaches the journals of the other members.
type journalPeers struct{ of func() *cluster.Node }

// IDs gives the other members.
func (p journalPeers) IDs() []string { return p.of().Others() }

// Dial opens a connection to a peer's journal.
func (p journalPeers) Dial(ctx context.Context, id string) (net.Conn, error) {
	return p.of().DialHistory(ctx, id)
}

// serveHistory answers peers that ask for events, until ctx ends.
func (n *Node) serveHistory(ctx context.Context, logger *slog.Logger) {
	servePeers(ctx, n.cluster.Histories(), func(conn net.Conn) {
		if err := n.journal.ServePeer(ctx, conn); err != nil && ctx.Err() == nil {
			logger.Debug("a peer's request for events failed", "error", err)
		}
	})
}

// servePeers calls serve with each connection of a peer, in a goroutine of its own, until ctx ends. It then waits for
// them.
func servePeers(ctx context.Context, l net.Listener, serve func(net.Conn)) {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return // the listener is closed: the node ends
		}
		serving.Go(func() { serve(conn) })
	}
}
