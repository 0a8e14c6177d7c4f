package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"hm/raftfsm"
)

// Why a proposal, or another request to the leader, failed. After ErrLeadershipLost and ErrTimeout the records may
// still be applied, or not. After every other error the entry that failed is not in the log, and no later entry of the
// same proposal is; the entries before it are applied.
var (
	ErrNotLeader      = errors.New("this node is not the leader")
	ErrLeadershipLost = errors.New("leadership was lost before the outcome was known")
	ErrTimeout        = errors.New("the time limit passed before the outcome was known")
	ErrClosed         = errors.New("the node is closed")
)

const (
	maxQueued  = 1024 // proposals that wait to be packed; further callers block
	maxPending = 2    // entries that are not applied yet: one is written while the other is committed; more would make entries smaller
	maxSharing = 4096 // records in an entry that several callers share
)

// chunk is the part of a proposal's records that goes into one entry.
type chunk struct {
	records []raftfsm.Record
	origin  []int // of each record, its position in the proposal; nil if the chunk is the whole proposal, unsplit
	size    int   // bytes, encoded as an entry of its own
}

// proposal is one call of Propose.
type proposal struct {
	chunks          []chunk
	next            int             // chunk to submit next; only batch uses it
	leadershipEpoch leadershipEpoch // in which it was accepted

	state   atomic.Int32 // proposalQueued until batch takes it or the caller withdraws it
	failed  atomic.Bool  // an entry failed; no further one is tried
	results []raftfsm.Result
	waiting int // number of chunks without an outcome
	err     error
	done    chan struct{} // closed when waiting is 0
}

const (
	proposalQueued int32 = iota
	proposalTaken
	proposalDropped
)

// Propose writes records to the log and returns when all of them are applied on this node, which must be the leader.
//
// Records that fit into one entry (raftfsm.MaxEntry bytes, encoded) are applied together in one entry, in the given
// order. Otherwise they become several entries in the given order; if one fails, those before it are applied. A record
// that is too large for one entry is cut with raftfsm.Split. A caller that counts the parts of a DesiredChanges for its
// commit must cut it before. A record that cannot be encoded or cut is refused with raftfsm.ErrInvalid, and a record of
// a kind that some voter does not know with ErrKind.
//
// There is one result for each entry that has records of the call, in order; usually one. Refusal.Record is the
// position in recs. Concurrent calls share entries. Refused and Ended have only the caller's own records, but Touched
// lists the apps that the whole entry touched and must not be changed.
//
// If ctx ends while the records wait to be packed, they are withdrawn and the error is that of ctx. If ctx ends later,
// the error is ErrTimeout and wraps that of ctx.
func (n *Node) Propose(ctx context.Context, recs ...raftfsm.Record) ([]raftfsm.Result, error) {
	if len(recs) == 0 {
		return nil, nil
	}
	began := time.Now()
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
		default: // the write that hangs may have the records
			return nil, fmt.Errorf("%w: %w", ErrLeadershipLost, errDiskStalled)
		}
	case <-n.halted:
		// Raft has ended: the outcome is known already, or never will be.
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
	if n.opts.ObserveProposal != nil {
		n.opts.ObserveProposal(time.Since(began).Seconds())
	}
	return p.results, nil
}

// notLeader gives ErrNotLeader with the problem of the disk or with the leader's id.
func (n *Node) notLeader() error {
	if err := n.stores.disk.trouble(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	if id := n.Leadership().LeaderID; id != "" && id != n.opts.ID {
		return fmt.Errorf("%w: ask %s", ErrNotLeader, id)
	}
	return ErrNotLeader
}

// cut packs records into chunks of at most limit bytes, in order. It never splits a record that fits, because the parts
// of a DesiredChanges are counted.
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
				return nil, fmt.Errorf("record %d: %w: it has %d bytes in an entry, at most %d are allowed",
					i, raftfsm.ErrInvalid, size, limit)
			}
			add(part, i, size)
		}
	}
	return append(chunks, open), nil
}

// encodedSize is the size of records as an entry of their own, in bytes. Several such entries joined are not larger
// than the sum of their sizes.
func encodedSize(recs ...raftfsm.Record) (int, error) {
	b, err := raftfsm.EncodeEntry(raftfsm.Entry{At: raftfsm.MaxTime, Records: recs})
	return len(b), err
}
