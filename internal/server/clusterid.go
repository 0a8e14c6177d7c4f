package server

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"hm/raftfsm"
)

// nameCluster gives the cluster its id, if it has none, as soon as this node leads and every voter knows how to record
// one. It returns when the cluster has an id, or ctx ends.
func (n *Node) nameCluster(ctx context.Context, logger *slog.Logger) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for n.cluster.View().ClusterID().IsZero() {
		if n.cluster.Leadership().Leader && n.cluster.Knows(raftfsm.KindClusterNamed) {
			if _, err := n.cluster.Propose(ctx, raftfsm.ClusterNamed{ID: newClusterID()}); err != nil {
				logger.Debug("the cluster could not be given an id yet; it will be tried again", "error", err)
			} else {
				logger.Info("the cluster has an id now", "cluster", n.cluster.View().ClusterID())
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// newClusterID draws an id at random, as a UUID of version 4. It is drawn here and not where the record is made: that must
// be the same on every node.
func newClusterID() (id raftfsm.ClusterID) {
	_, _ = rand.Read(id[:]) // it never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
