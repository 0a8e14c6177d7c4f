package server

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"hm/internal/cluster"
	"hm/internal/config"
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

// journalPeers reaches the journals of the nodes in raft.peers.
type journalPeers struct {
	ids []string
	of  func() *cluster.Node
}

func newJournalPeers(cfg config.Config, of func() *cluster.Node) journalPeers {
	p := journalPeers{of: of}
	list, _ := cfg.Raft.PeerList() // it is checked before
	for _, peer := range list {
		if peer.ID != cfg.Node.ID {
			p.ids = append(p.ids, peer.ID)
		}
	}
	return p
}

// IDs gives the other nodes.
func (p journalPeers) IDs() []string { return p.ids }

// Dial opens a connection to a peer's journal.
func (p journalPeers) Dial(ctx context.Context, id string) (net.Conn, error) {
	return p.of().DialHistory(ctx, id)
}

// serveHistory answers peers that ask for events, until ctx ends.
func (n *Node) serveHistory(ctx context.Context, logger *slog.Logger) {
	l := n.cluster.Histories()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return // the listener is closed: the node ends
		}
		serving.Go(func() {
			if err := n.journal.ServePeer(ctx, conn); err != nil && ctx.Err() == nil {
				logger.Debug("a peer's request for events failed", "error", err)
			}
		})
	}
}
