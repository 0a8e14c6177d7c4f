package reconcile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// pendingRead is a read of the desired state that is under way.
type pendingRead struct {
	number     uint64
	began      app.Time // in hm time
	begins, at app.Time
	first      []desired.App  // what there was when it was begun
	record     *raftfsm.State // which it is compared with before it is taken; it may have changed then
	recorded   recordedRead   // when it was begun
}

// pendingAppRead is a read of one app.
type pendingAppRead struct {
	AppReadOutcome
	at app.Time
}

func (cf *simCF) beginRead(n *simNode, number uint64) {
	r := pendingRead{number: number, began: n.Now(), begins: cf.now, at: cf.now.Add(cmp.Or(cf.readTime, 50*time.Millisecond)), first: slices.Clone(cf.apps), record: n.View(), recorded: n.core.reads.recorded}
	if cf.faults == nil {
		n.reads = nil
	} else {
		r.at = cf.now.Add(cf.faults.readTime())
		if !cf.faults.chance(0.5) { // else its outcome was there already when it was told to end
			n.reads = nil
		}
	}
	n.reads = append(n.reads, r)
	cf.readAt[r.began] = cf.now
}

func (cf *simCF) beginAppReads(n *simNode, droplets []app.GUID, term uint64) {
	for _, d := range droplets {
		r := pendingAppRead{AppReadOutcome{Term: term, Droplet: d, Began: n.Now()}, cf.now + 20}
		cf.readAt[r.Began] = cf.now
		if cf.faults != nil {
			r.at = cf.now.Add(cf.faults.readTime() / 10)
		}
		for _, a := range cf.rows(cf.apps) {
			if a.Key.Droplet == d {
				r.Rows = append(r.Rows, a)
			}
		}
		if r.Err = cf.readErr; r.Err != nil {
			r.Rows = nil
		}
		n.appReads = append(n.appReads, r)
	}
}

// readBegan gives when a read began by the world's time, from hm time.
func (cf *simCF) readBegan(n *simNode, began app.Time) app.Time {
	if at, known := cf.readAt[began]; known {
		return at
	}
	return cf.now.Add(-n.Now().Sub(began))
}

// finishReads delivers the outcomes of a node's reads that have ended. Only those of the leader
// count.
func (cf *simCF) finishReads(n *simNode) {
	for i := 0; i < len(n.reads); {
		r := n.reads[i]
		if r.at > cf.now {
			i++
			continue
		}
		n.reads = slices.Delete(n.reads, i, i+1)
		if n.lead().Leader {
			cf.finishReadOf(n, r)
		}
	}
	for i := 0; i < len(n.appReads); {
		r := n.appReads[i]
		if r.at > cf.now {
			i++
			continue
		}
		n.appReads = slices.Delete(n.appReads, i, i+1)
		if n.lead().Leader {
			cf.recorded(n, n.core.AppRead(context.Background(), n.Now(), r.AppReadOutcome))
		}
	}
}

func (cf *simCF) finishRead(r pendingRead) { cf.finishReadOf(cf.simNode, r) }

func (cf *simCF) finishReadOf(n *simNode, r pendingRead) {
	o := ReadOutcome{Number: r.number, Began: r.began, Err: cf.readErr}
	if o.Err == nil {
		cf.readsMade++
		apps := r.first
		if cf.faults != nil {
			apps = cf.faults.seenBetween(r.first, slices.Clone(cf.apps))
		}
		if cf.answer != nil {
			apps = cf.answer(apps)
		}
		if o.Read, o.Err = desired.NewRead(cf.source(n.core.opts), cf.rows(apps)); o.Err == nil {
			o.Read.Digest = rowsDigest(o.Read)
			if r.record != nil {
				if o.compare(n.core.opts.Guard, r.record, r.recorded); !o.compared.known && cf.faults != nil {
					cf.faults.count("reads not compared")
				}
			}
		}
	}
	wrong := o.Err == nil && cf.answer != nil
	if wrong {
		cf.wrongReads++
	}
	n.recordsWrong = wrong
	err := n.core.DesiredRead(context.Background(), n.Now(), o)
	n.recordsWrong = false
	if o.Err == nil && n.core.reads.began == r.began {
		cf.complete = max(cf.complete, r.begins)
	}
	switch {
	case wrong && err != nil: // it may still be recorded
		cf.after(hb, func() { cf.wrongReads-- })
	case wrong:
		cf.wrongReads--
	}
	cf.recorded(n, err)
}

// rowsDigest gives the digest of a read: two reads have the same one exactly if they have the same rows.
func rowsDigest(read desired.Read) [16]byte {
	sum := sha256.Sum256(fmt.Append(nil, read.Apps, read.Unreadable))
	return [16]byte(sum[:])
}

// recorded takes the outcome of recording a read.
func (cf *simCF) recorded(n *simNode, err error) {
	if err != nil && cf.fail == nil && !cf.tolerant && cf.faults == nil {
		cf.t.Fatalf("recording a read: %v", err)
	}
	n.wake = true
}
