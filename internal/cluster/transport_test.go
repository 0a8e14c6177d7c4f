package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// fakePipeline hands over what a test gives it.
type fakePipeline struct{ done chan raft.AppendFuture }

func (p fakePipeline) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	return nil, nil
}
func (p fakePipeline) Consumer() <-chan raft.AppendFuture { return p.done }
func (p fakePipeline) Close() error                       { return nil }

type fakeAnswer struct{ success bool }

func (fakeAnswer) Error() error                        { return nil }
func (fakeAnswer) Start() time.Time                    { return time.Time{} }
func (fakeAnswer) Request() *raft.AppendEntriesRequest { return &raft.AppendEntriesRequest{Term: 1} }
func (a fakeAnswer) Response() *raft.AppendEntriesResponse {
	return &raft.AppendEntriesResponse{Term: 1, Success: a.success}
}

// After an answer that refuses entries raft reads no more. Who sends must not be held up by that.
func TestPipelineIsReadAfterARefusal(t *testing.T) {
	inner := fakePipeline{make(chan raft.AppendFuture)}
	trans := &guardedTransport{}
	p := &guardedPipeline{AppendPipeline: inner, trans: trans, answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	trans.wg.Go(p.deliver)
	give := func(a fakeAnswer) {
		t.Helper()
		select {
		case inner.done <- a:
		case <-bounded(t).Done():
			t.Fatal("an answer is not taken")
		}
	}
	for _, success := range []bool{true, true, false} {
		give(fakeAnswer{success})
		if got := <-p.Consumer(); got.Response().Success != success {
			t.Errorf("the answer is %v, want %v", got.Response().Success, success)
		}
	}
	for range 5 {
		give(fakeAnswer{true}) // nobody reads any more
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	trans.wait()
}
