package cluster

import (
	"slices"

	"github.com/hashicorp/raft"

	"hm/raftfsm"
)

// share is the part of one entry that belongs to one proposal.
type share struct {
	p     *proposal
	chunk int // position in p.chunks
	from  int // position of its first record in the entry
}

// pendingEntry is one entry that was submitted to raft and has no outcome yet.
type pendingEntry struct {
	future raft.ApplyFuture // nil if it was not submitted because of err
	err    error
	shares []share
}

// batch packs proposals into entries and submits them to raft, one after the other. While raft writes one entry,
// further proposals gather: the more callers there are, the fuller the entries.
func (n *Node) batch() {
	var waiting []*proposal // taken off the queue, in order; only of the first may chunks have been submitted
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
		var f pendingEntry
		var recs []raftfsm.Record
		waiting, f.shares, recs = pack(waiting, raftfsm.MaxEntry)
		if len(f.shares) == 0 {
			<-n.slots
			continue
		}
		n.submit(&f, raftfsm.Entry{At: n.clock.now(), Records: recs})
		n.pending <- f // never blocks: it has as many places as there are slots
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
			waiting = without(waiting) // its caller withdrew it
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
			waiting = without(waiting)
		}
	}
	return waiting, shares, recs
}

// without drops the first proposal. It may be large: a complete read of the desired state.
func without(waiting []*proposal) []*proposal {
	waiting[0] = nil
	return waiting[1:]
}

// leadershipEpoch is a time of leading without interruption. In one epoch raft cannot refuse one entry and accept the
// next. So the entries of a proposal are submitted only in the epoch in which it was accepted: between two epochs the
// state that it was made from may change. The restore of a snapshot begins a new one, too.
type leadershipEpoch struct{ term, transfers, diskChanges, restores uint64 }

func (n *Node) epochOf(l Leadership) leadershipEpoch {
	return leadershipEpoch{l.Term, n.transfers.Load(), n.diskChanges.Load(), n.restores.Load()}
}

// submit hands an entry to raft, or sets f.err.

func (n *Node) submit(f *pendingEntry, e raftfsm.Entry) {
	lead := n.Leadership()
	now := n.epochOf(lead)
	for _, s := range f.shares {
		if !lead.Leader || s.p.leadershipEpoch != now || s.p.failed.Load() {
			// All proposals in the entry fail, even if only one of them is from an earlier epoch. That is rare, and the
			// error holds for all: none of them is in the log.
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
