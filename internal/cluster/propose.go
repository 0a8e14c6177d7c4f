package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"hm/commands"
	"hm/internal/app"
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
	maxQueued   = 1024 // proposals waiting to be packed; further callers wait to be let in
	maxInFlight = 2    // entries on their way through the log: while one is committed the next is written; more make many small ones of few large ones
	maxSharing  = 4096 // records in an entry that several callers share
)

// chunk is what goes into one entry together: some or all of a proposal's records.
type chunk struct {
	records []raftfsm.Record
	origin  []int // of each record, its position in the proposal; nil if the whole proposal is in this chunk, unsplit
	size    int   // encoded, as an entry of its own
}

// proposal is one call of Propose.
type proposal struct {
	chunks []chunk
	next   int   // chunk to submit next; the batcher's
	reign  reign // in which it was accepted

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
	p := &proposal{chunks: chunks, reign: n.reignOf(lead), waiting: len(chunks), done: make(chan struct{}), results: make([]raftfsm.Result, len(chunks))}
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

// share is the part of one entry that belongs to one proposal.
type share struct {
	p     *proposal
	chunk int // position in p.chunks
	from  int // position of its first record in the entry
}

// flight is one entry on its way through the log.
type flight struct {
	future raft.ApplyFuture // nil: it was not submitted, for err
	err    error
	shares []share
}

// batch packs proposals into entries and hands them to raft, one after the other. While raft writes one to disk the
// next gathers: the busier the callers, the fuller the entries.
func (n *Node) batch() {
	var waiting []*proposal // taken off the queue, in order; only the first may be under way
	var stamped app.Time    // newest time given to an entry
	for {
		if len(waiting) == 0 {
			select {
			case p := <-n.queue:
				waiting = append(waiting, p)
			case <-n.closing:
				return
			}
		}
		select {
		case n.slots <- struct{}{}:
		case <-n.closing:
			return
		}
		for more := true; more && len(waiting) < maxSharing; {
			select {
			case p := <-n.queue:
				waiting = append(waiting, p)
			default:
				more = false
			}
		}
		var f flight
		var recs []raftfsm.Record
		waiting, f.shares, recs = pack(waiting, raftfsm.MaxEntry)
		if len(f.shares) == 0 {
			<-n.slots
			continue
		}
		stamped = max(stamped, n.clock.now())
		n.submit(&f, raftfsm.Entry{At: stamped, Records: recs})
		n.flights <- f // never blocks: as many places as slots
	}
}

// pack takes as many chunks off the waiting proposals as one entry holds.
func pack(waiting []*proposal, limit int) (rest []*proposal, shares []share, recs []raftfsm.Record) {
	size := 0
	for len(waiting) > 0 {
		p := waiting[0]
		c := p.chunks[p.next]
		if len(shares) > 0 && (size+c.size > limit || len(recs)+len(c.records) > maxSharing) {
			break
		}
		if p.next == 0 && !p.state.CompareAndSwap(proposalQueued, proposalTaken) {
			waiting = waiting[1:] // its caller went away
			continue
		}
		shares = append(shares, share{p, p.next, len(recs)})
		size += c.size
		if len(shares) == 1 {
			recs = slices.Clip(c.records)
		} else {
			recs = append(recs, c.records...)
		}
		p.next++
		if p.next == len(p.chunks) {
			waiting = waiting[1:]
		}
	}
	return waiting, shares, recs
}

// reign is a stretch of leading without a break in which an entry could be refused and the next accepted: between the
// two, what a proposal rests on could change.
type reign struct{ term, transfers, stalls uint64 }

func (n *Node) reignOf(l Leadership) reign { return reign{l.Term, n.transfers.Load(), n.stalls.Load()} }

func (n *Node) submit(f *flight, e raftfsm.Entry) {
	lead := n.Leadership()
	now := n.reignOf(lead)
	for _, s := range f.shares {
		if !lead.Leader || s.p.reign != now || s.p.failed.Load() {
			// It is rare that only some of those who share the entry are concerned. All are told: it is true of all.
			f.err = ErrNotLeader
			return
		}
	}
	data, err := raftfsm.EncodeEntry(e)
	if err != nil {
		f.err = err
		return
	}
	n.stats.entries.Add(1)
	n.stats.bytes.Add(uint64(len(data)))
	f.future = n.raft.Apply(data, 0)
}

// land hands out the outcomes, in the order of the entries.
func (n *Node) land() {
	defer close(n.landed)
	for {
		select {
		case f := <-n.flights:
			res, err := f.outcome()
			f.settle(res, err)
			<-n.slots
		case <-n.halted:
			return
		}
	}
}

func (f *flight) outcome() (raftfsm.Result, error) {
	if f.future == nil {
		return raftfsm.Result{}, f.err
	}
	if err := f.future.Error(); err != nil {
		return raftfsm.Result{}, outcomeError(err)
	}
	res, ok := f.future.Response().(raftfsm.Result)
	if !ok {
		return res, fmt.Errorf("the state machine answered with a %T: this is a bug", f.future.Response())
	}
	return res, nil
}

// outcomeError translates raft's errors. Everything that is not known to have kept the entry out of the log counts
// as unknown.
func outcomeError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case errors.Is(err, raft.ErrLeadershipLost):
		return ErrLeadershipLost
	}
	return fmt.Errorf("%w: %w", ErrLeadershipLost, err)
}

func (f *flight) settle(res raftfsm.Result, err error) {
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

// own gives the part of an entry's result that concerns one share of it.
func (f *flight) own(res raftfsm.Result, i int) raftfsm.Result {
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

// resolves lists the commands that records move on: nothing else ends a command.
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
