package reconcile

import (
	"errors"
	"math/rand/v2"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// faults are what goes wrong by chance: proposals are split into entries, leaders stop between two
// of them, outcomes are lost, links have gaps, people pause at the worst moment, reads are slow,
// messages are late.
type faults struct {
	rnd    *rand.Rand
	calm   bool // nothing goes wrong any more; proposals are still split, reads and messages still take their time
	losses bool // many DEAs at once are lost, tell nothing, or are switched off

	deposed bool               // the leader has lost its leadership, and its step has not ended yet
	stale   uint64             // term of a leader that was deposed and does not know yet; 0: none
	late    [][]raftfsm.Record // entries of the deposed leader that its successor commits
	lateTo  uint64             // their term
	counts  map[string]int     // how often each fault happened
}

var errDeposed = errors.New("the leadership was lost")

func (f *faults) chance(p float64) bool { return !f.calm && f.rnd.Float64() < p }

func (f *faults) count(what string) {
	if f.counts == nil {
		f.counts = map[string]int{}
	}
	f.counts[what]++
}

// propose commits records in one entry or in several, and by chance not all of them.
func (f *faults) propose(cf *simCF, records []raftfsm.Record) ([]raftfsm.Result, error) {
	if f.deposed {
		return nil, errDeposed
	}
	_, claims := records[0].(raftfsm.CommandsClaimed)
	if claims {
		f.interfere(cf)
	}
	entries := f.split(records)
	stop := 0.004
	if len(entries) > 1 {
		stop = 0.03
	}
	var results []raftfsm.Result
	for i, entry := range entries {
		if f.chance(stop) {
			if i > 0 {
				f.count("stopped between two entries")
			}
			if f.chance(0.5) {
				f.late, f.lateTo = entries[i:i+1+f.rnd.IntN(len(entries)-i)], cf.term
			}
			f.deposed = true
			cf.term++
			return nil, errDeposed
		}
		cf.losses.rest = entries[i+1:]
		r, err := cf.apply(cf.term, entry)
		if err != nil {
			cf.proposed()
			return nil, err
		}
		results = append(results, r)
	}
	cf.proposed()
	switch {
	case f.chance(0.004):
		f.count("outcome lost")
		return nil, errors.New("the outcome is not known")
	case claims && f.chance(0.02):
		f.count("deposed without knowing")
		f.deposed, f.stale = true, cf.term
		cf.term++
	case claims && f.chance(0.02):
		f.count("suspended")
		cf.suspended += time.Hour
	}
	return results, nil
}

// interfere does, just before a claim is committed, something that forbids its publish.
func (f *faults) interfere(cf *simCF) {
	switch {
	case f.chance(0.03):
		f.count("paused before a claim")
		hold := raftfsm.Hold{Name: HoldPaused, By: "a person", SetAt: cf.now, Until: cf.now.Add(2 * hb)}
		_, _ = cf.apply(cf.term, []raftfsm.Record{raftfsm.HoldSet{Hold: hold}})
	case cf.linkUp && f.chance(0.03):
		f.count("gap before a claim")
		cf.spell(true)
	}
}

// split cuts records into entries.
func (f *faults) split(records []raftfsm.Record) [][]raftfsm.Record {
	var entries [][]raftfsm.Record
	for i, r := range records {
		if i == 0 || f.rnd.IntN(2) == 0 {
			entries = append(entries, nil)
		}
		entries[len(entries)-1] = append(entries[len(entries)-1], r)
	}
	return entries
}

// elect makes a node lead after the leader was deposed: the same one or another.
func (f *faults) elect(cf *simCF) {
	for i, entry := range f.late {
		f.count("committed by the successor")
		cf.losses.rest = f.late[i+1:]
		_, _ = cf.apply(f.lateTo, entry)
	}
	cf.proposed()
	f.deposed, f.stale, f.late = false, 0, nil
	cf.simNode.next = cf.now
	cf.simNode = cf.nodes[f.rnd.IntN(len(cf.nodes))]
	cf.term++
	cf.next, cf.wake = cf.now, true
}

// clock is how far the clock of a DEA is off, in milliseconds.
func (f *faults) clock() int64 {
	if f == nil {
		return 0
	}
	return f.rnd.Int64N(2*3_600_000) - 3_600_000
}

func (f *faults) unverified() bool { return f.chance(0.01) }

// readTime is how long a read of the desired state takes.
func (f *faults) readTime() time.Duration {
	switch n := f.rnd.IntN(10); {
	case n < 6 || f.calm:
		return 50*time.Millisecond + time.Duration(f.rnd.Int64N(int64(450*time.Millisecond)))
	case n < 9:
		return time.Second + time.Duration(f.rnd.Int64N(int64(29*time.Second)))
	}
	return 30*time.Second + time.Duration(f.rnd.Int64N(int64(60*time.Second)))
}

// seenBetween gives what a slow read sees: each row as it was at the begin of the read or as it is
// at its end.
func (f *faults) seenBetween(first, last []desired.App) []desired.App {
	end := map[app.GUID]desired.App{}
	for _, a := range last {
		end[a.Key.Droplet] = a
	}
	var seen []desired.App
	for _, a := range first {
		b, still := end[a.Key.Droplet]
		delete(end, a.Key.Droplet)
		switch old := f.rnd.IntN(2) == 0; {
		case old:
			seen = append(seen, a)
		case still:
			seen = append(seen, b)
		}
	}
	for _, a := range last {
		if _, added := end[a.Key.Droplet]; added && f.rnd.IntN(2) == 0 {
			seen = append(seen, a)
		}
	}
	return seen
}

// delay is how long a message takes.
func (f *faults) delay() time.Duration {
	switch n := f.rnd.IntN(10); {
	case n < 7:
		return 0
	case n < 9:
		return time.Duration(f.rnd.Int64N(int64(hb / 20)))
	}
	return time.Duration(f.rnd.Int64N(int64(hb - hb/10)))
}
