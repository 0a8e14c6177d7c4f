package reconcile

import (
	"cmp"
	"context"
	"slices"
	"time"

	"hm/desired"
	"hm/internal/app"
)

// pendingRead is a read of the desired state that is under way.
type pendingRead struct {
	number    uint64
	began, at app.Time
	first     []desired.App // what there was when it was begun
}

// pendingAppRead is a read of one app.
type pendingAppRead struct {
	AppReadOutcome
	at app.Time
}

func (cf *simCF) beginRead(number uint64) {
	r := pendingRead{number: number, began: cf.now, at: cf.now.Add(cmp.Or(cf.readTime, 50*time.Millisecond)), first: slices.Clone(cf.apps)}
	if cf.faults == nil {
		cf.reads = nil
	} else {
		r.at = cf.now.Add(cf.faults.readTime())
		if !cf.faults.chance(0.5) { // else its outcome was there already when it was told to end
			cf.reads = nil
		}
	}
	cf.reads = append(cf.reads, r)
}

func (cf *simCF) beginAppReads(droplets []app.GUID, term uint64) {
	for _, d := range droplets {
		r := pendingAppRead{AppReadOutcome{Term: term, Droplet: d, Began: cf.now}, cf.now + 20}
		if cf.faults != nil {
			r.at = cf.now.Add(cf.faults.readTime() / 10)
		}
		for _, a := range cf.apps {
			if a.Key.Droplet == d {
				r.Rows = append(r.Rows, a)
			}
		}
		if r.Err = cf.readErr; r.Err != nil {
			r.Rows = nil
		}
		cf.appReads = append(cf.appReads, r)
	}
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
		if n == cf.simNode {
			cf.finishRead(r)
		}
	}
	for i := 0; i < len(n.appReads); {
		r := n.appReads[i]
		if r.at > cf.now {
			i++
			continue
		}
		n.appReads = slices.Delete(n.appReads, i, i+1)
		if n == cf.simNode {
			cf.recorded(n.core.AppRead(context.Background(), cf.now, r.AppReadOutcome))
		}
	}
}

func (cf *simCF) finishRead(r pendingRead) {
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
		o.Read, o.Err = desired.NewRead("test", apps)
	}
	cf.recorded(cf.core.DesiredRead(context.Background(), cf.now, o))
}

// recorded takes the outcome of recording a read.
func (cf *simCF) recorded(err error) {
	if err != nil && cf.fail == nil && !cf.tolerant && cf.faults == nil {
		cf.t.Fatalf("recording a read: %v", err)
	}
	if cf.faults != nil && cf.faults.deposed {
		cf.faults.elect(cf)
	}
	cf.wake = true
}
