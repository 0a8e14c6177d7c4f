package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// drainingPipeline is raft's pipeline to a follower. It goes on to take replies after raft has stopped to do so.
//
// Raft stops at the first reply that is not a success, or is of a later term. Then raft's own pipeline cannot deliver
// the next reply and accepts no further request, and raft may wait for ever to send one. The node could then no longer
// replicate to the follower, and could not be closed.
type drainingPipeline struct {
	raft.AppendPipeline
	replies chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

// AppendEntriesPipeline opens a pipeline to a follower.
func (t *retryTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &drainingPipeline{AppendPipeline: inner, replies: make(chan raft.AppendFuture), closed: make(chan struct{})}
	p.wg.Go(p.forward)
	return p, nil

}

func (p *drainingPipeline) forward() {
	for listening := true; ; {
		select {
		case f := <-p.AppendPipeline.Consumer():
			if !listening {
				continue
			}
			listening = f.Response().Success && f.Response().Term <= f.Request().Term
			select {
			case p.replies <- f:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

// Consumer gives the replies, up to one that ends the pipeline.
func (p *drainingPipeline) Consumer() <-chan raft.AppendFuture { return p.replies }

// Close ends the pipeline.
func (p *drainingPipeline) Close() error {
	err := p.AppendPipeline.Close()
	p.once.Do(func() { close(p.closed) })
	p.wg.Wait()
	return err
}
