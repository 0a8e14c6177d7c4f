package cluster

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Raft stops to receive replies from a pipeline at the first one that is not a success, and may be about to send on it.
func TestPipelineWithoutReceiver(t *testing.T) {
	follower, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, patience, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	ended := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case rpc := <-follower.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 1}, nil)
			case <-ended:
				return
			}
		}
	}()
	defer func() { close(ended); <-done }()
	inner, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, patience, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	p, err := (&retryTransport{inner}).AppendEntriesPipeline("hm-1", follower.LocalAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	send := func() error {
		_, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{})
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if f := <-p.Consumer(); f.Response().Success {
		t.Fatal("the follower accepts")
	}
	sent := make(chan error, 1)
	go func() {
		for range 8 {
			if err := send(); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("after a reply that nobody received, the next request is never sent")
	}
}
