package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// drainingPipeline is raft's pipeline to a follower, which goes on taking in replies after one that ends it.
//
// Raft itself stops to listen at the first reply that is no success, or is of a later term. The pipeline then has
// nobody to hand the next reply to and takes no further request; raft, which may be about to send one, waits for that
// without end. The node could not replicate to the follower any more, nor be closed.
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
