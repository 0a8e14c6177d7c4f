//go:build hm_future

// See raftfsm/future.go: the build tag hm_future makes a version from the future, for tests.

package cluster

import (
	"context"
	"os"
	"time"

	"hm/raftfsm"
)

// futureMessage is what messages between peers have in the future.
type futureMessage struct {
	Mood map[string]int `json:"mood,omitempty"`
}

var fromFuture = futureMessage{map[string]int{"of the sender": 7}}

const (
	futureEvery = 100 * time.Millisecond
	// futureVariable is the environment variable that lets a leader record what older versions do not know.
	futureVariable = "HM_TEST_FUTURE"
)

// startFuture makes the leader propose records of the kinds of the future. It proposes the kind that every voter must know
// only if futureVariable is set.
func (n *Node) startFuture() {
	n.wg.Go(func() {
		ticker := time.NewTicker(futureEvery)
		defer ticker.Stop()
		for {
			select {
			case <-n.closing:
				return
			case <-n.halted:
				return
			case <-ticker.C:
			}
			if !n.Leadership().Leader {
				continue
			}
			recs := []raftfsm.Record{raftfsm.FutureNoted{Text: "hello"}}
			if os.Getenv(futureVariable) != "" && n.Knows(raftfsm.KindFutureCounted) {
				recs = append(recs, raftfsm.FutureCounted{N: 1})
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, _ = n.Propose(ctx, recs...) // another leader, or another time, will do
			cancel()
		}
	})
}
