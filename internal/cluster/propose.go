package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"hm/raftfsm"
)

// Why a proposal, or a leader's question, failed. After ErrLeadershipLost and ErrTimeout the records may or may not
// come to be applied. After every other error the entry that failed is not in the log, nor is any that was to follow
// it; of a proposal of several entries those before it are applied.
var (
	ErrNotLeader      = errors.New("this node is not the leader")
	ErrLeadershipLost = errors.New("leadership was lost before the outcome was known")
	ErrTimeout        = errors.New("gave up before the outcome was known")
	ErrClosed         = errors.New("the node is closed")
)

const (
	maxQueued  = 1024 // proposals waiting to be packed; further callers wait to be let in
	maxPending = 2    // entries on their way through the log: while one is committed the next is written; more make many small ones of few large ones
	maxSharing = 4096 // records in an entry that several callers share
)

// chunk is what goes into one entry together: some or all of a proposal's records.
type chunk struct {
	records []raftfsm.Record
	origin  []int // of each record, its position in the proposal; nil if the whole proposal is in this chunk, unsplit
	size    int   // encoded, as an entry of its own
}

// proposal is one call of Propose.
type proposal struct {
	chunks          []chunk
	next            int             // chunk to submit next; the batcher's
	leadershipEpoch leadershipEpoch // in which it was accepted

	// state is held by the caller until the batcher takes the proposal for its first entry.
	state   atomic.Int32
	failed  atomic.Bool // an entry failed; no further one is tried
	results []raftfsm.Result
	waiting int // chunks without an outcome
	err     error
	done    chan struct{} // closed when waiting is 0
}

const (
	proposalQueued int32 = iota
	proposalTaken
	proposalDropped
)

// Propose writes records to the log and returns when all of them are applied on this node, which must be the leader.
// Records that fit into one entry (raftfsm.MaxEntry encoded) are applied together, in one entry, in the order given;
// others become several entries in that order, of which a failure leaves a beginning applied. A record too large for
// one entry is cut with raftfsm.Split: whoever counts the parts of a DesiredChanges for its commit does that before.
// A record that cannot be encoded, or cut, is refused with raftfsm.ErrInvalid, one of a kind that some voter does not
// know with ErrKind.
//
// There is one result for each entry that carried records of the call, in order; mostly one. Refusal.Record is the
// position among recs. Concurrent calls share entries: then Touched lists the apps that the whole entry touched, a
// caller's and its neighbours', and must not be written to, while Refused and Ended hold the caller's own.
//
// Cancelling ctx while the records wait to be packed withdraws them, and gives ctx's error alone; later it gives
// ErrTimeout wrapping it.
func (n *Node) Propose(ctx context.Context, recs ...raftfsm.Record) ([]raftfsm.Result, error) {
	if len(recs) == 0 {
		return nil, nil
	}
	stalled := n.stores.disk.untilStalled()
	lead := n.Leadership()
	if !lead.Leader {
		return nil, n.notLeader()
	}
	if err := n.checkKinds(recs); err != nil {
		return nil, err
	}
	chunks, err := cut(recs, raftfsm.MaxEntry)
	if err != nil {
		return nil, err
	}
	p := &proposal{chunks: chunks, leadershipEpoch: n.epochOf(lead), waiting: len(chunks), done: make(chan struct{}), results: make([]raftfsm.Result, len(chunks))}
	n.stats.proposals.Add(1)
	select {
	case n.queue <- p:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-stalled:
		return nil, fmt.Errorf("%w: %w", ErrNotLeader, errDiskStalled)
	case <-n.closing:
		return nil, ErrClosed
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if p.state.CompareAndSwap(proposalQueued, proposalDropped) {
			return nil, ctx.Err()
		}
		select {
		case <-p.done: // the outcome came at the same moment
		default:
			return nil, fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
		}
	case <-stalled:
		if p.state.CompareAndSwap(proposalQueued, proposalDropped) {
			return nil, fmt.Errorf("%w: %w", ErrNotLeader, errDiskStalled)
		}
		select {
		case <-p.done:
		default: // the write that hangs may be the one that carries the records
			return nil, fmt.Errorf("%w: %w", ErrLeadershipLost, errDiskStalled)
		}
	case <-n.halted:
		// The log is gone. What it had decided is known; the rest nobody will tell.
		select {
		case <-p.done:
		default:
			if p.state.CompareAndSwap(proposalQueued, proposalDropped) {
				return nil, ErrClosed
			}
			return nil, fmt.Errorf("%w: %w", ErrLeadershipLost, ErrClosed)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.results, nil
}

func (n *Node) notLeader() error {
	if err := n.stores.disk.trouble(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	if id := n.Leadership().LeaderID; id != "" && id != n.opts.ID {
		return fmt.Errorf("%w: ask %s", ErrNotLeader, id)
	}
	return ErrNotLeader
}

// cut packs records into chunks of at most limit bytes, in order. What fits is never split: the parts of a
// DesiredChanges count.
func cut(recs []raftfsm.Record, limit int) ([]chunk, error) {
	if size, err := encodedSize(recs...); err == nil && size <= limit {
		return []chunk{{records: recs, size: size}}, nil
	}
	var chunks []chunk
	var open chunk
	add := func(r raftfsm.Record, origin, size int) {
		if open.size+size > limit {
			chunks = append(chunks, open)
			open = chunk{}
		}
		open.records = append(open.records, r)
		open.origin = append(open.origin, origin)
		open.size += size
	}
	for i, r := range recs {
		size, err := encodedSize(r)
		if err == nil && size <= limit {
			add(r, i, size)
			continue
		}
		parts := raftfsm.Split(r, limit)
		for _, part := range parts {
			size, err := encodedSize(part)
			if err != nil {
				return nil, fmt.Errorf("record %d: %w", i, err)
			}
			if size > limit {
				return nil, fmt.Errorf("record %d: %w: it takes %d bytes in an entry, %d are allowed", i, raftfsm.ErrInvalid, size, limit)
			}
			add(part, i, size)
		}
	}
	return append(chunks, open), nil
}

// encodedSize is what records take as an entry of their own. Entries that are joined take no more than the sum.
func encodedSize(recs ...raftfsm.Record) (int, error) {
	b, err := raftfsm.EncodeEntry(raftfsm.Entry{At: raftfsm.MaxTime, Records: recs})
	return len(b), err
}
