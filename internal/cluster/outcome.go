package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"hm/commands"
	"hm/raftfsm"
)

// deliver gives the outcomes to the proposals, in the order of the entries.
func (n *Node) deliver() {
	defer close(n.delivered)
	for {
		select {
		case f := <-n.pending:
			res, err := f.outcome()
			f.settle(res, err)
			<-n.slots
		case <-n.halted:
			return
		}
	}
}

func (f *pendingEntry) outcome() (raftfsm.Result, error) {
	if f.future == nil {
		return raftfsm.Result{}, f.err
	}
	if err := f.future.Error(); err != nil {
		return raftfsm.Result{}, outcomeError(err)
	}
	answer, ok := f.future.Response().(*raftfsm.Result)
	if !ok {
		return raftfsm.Result{}, fmt.Errorf("the state machine answered with a %T: this is a bug", f.future.Response())
	}
	res := *answer
	*answer = raftfsm.Result{} // raft holds on to it
	return res, nil
}

// outcomeError translates raft's errors. Unless an error says for certain that the entry is not in the log, the outcome
// is unknown.
func outcomeError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, raft.ErrLeadershipLost):
		return ErrLeadershipLost
	}
	return fmt.Errorf("%w: %w", ErrLeadershipLost, err)
}

func (f *pendingEntry) settle(res raftfsm.Result, err error) {
	for i, s := range f.shares {
		p := s.p
		if err != nil {
			p.failed.Store(true)
			if p.err == nil {
				p.err = err
			}
		} else {
			p.results[s.chunk] = f.own(res, i)
		}
		if p.waiting--; p.waiting == 0 {
			close(p.done)
		}
	}
}

// own gives the part of an entry's result that belongs to its share i.
func (f *pendingEntry) own(res raftfsm.Result, i int) raftfsm.Result {
	s := f.shares[i]
	c := s.p.chunks[s.chunk]
	if len(f.shares) == 1 && c.origin == nil {
		return res
	}
	out := raftfsm.Result{Touched: res.Touched, Err: res.Err}
	for _, r := range res.Refused {
		if at := r.Record - s.from; at >= 0 && at < len(c.records) {
			r.Record = at
			if c.origin != nil {
				r.Record = c.origin[at]
			}
			out.Refused = append(out.Refused, r)
		}
	}
	if len(f.shares) == 1 {
		out.Ended = res.Ended
		return out
	}
	if len(res.Ended) > 0 {
		mine := resolves(c.records)
		for _, e := range res.Ended {
			if mine[e.ID] {
				out.Ended = append(out.Ended, e)
			}
		}
	}
	return out
}

// resolves gives the ids of the commands that records resolve: nothing else ends a command.
func resolves(recs []raftfsm.Record) map[commands.ID]bool {
	ids := map[commands.ID]bool{}
	for _, r := range recs {
		if r, ok := r.(raftfsm.CommandsResolved); ok {
			for _, o := range r.Outcomes {
				ids[o.ID] = true
			}
		}
	}
	return ids
}
