package journal

import (
	"hm/raftfsm"
)

// Applied takes in what one entry of the log, or a restored snapshot, did. The goroutine that applies entries calls it,
// in the order of the log: it never blocks, and does no I/O. An entry that was applied before a restart is taken in
// once.
func (j *Journal) Applied(a raftfsm.Applied) {
	if a.Restored {
		j.add1(item{kind: itemRestored, index: a.Index})
		return
	}
	if len(a.Result.Facts) == 0 {
		j.input.reach(a.Index)
		return
	}
	j.add1(item{kind: itemEntry, index: a.Index, term: a.Term, at: a.Result.At, facts: a.Result.Facts})
}

// AddOwn takes in an event that only this node knows of. It never blocks. The journal gives the event its ID, and the
// time if it has none.
func (j *Journal) AddOwn(e Event) {
	if e.At == 0 {
		e.At = j.opts.Now()
	}
	j.add1(item{kind: itemOwn, own: e})
}

func (j *Journal) add1(it item) {
	lost := j.input.add(it)
	if lost == 0 {
		return
	}
	all := j.stats.lost.Add(uint64(lost))
	j.log.Warn("lost", "events are lost: too many wait to be stored", func() []any {
		return []any{"path", j.opts.Path, "lost", all}
	})
}
