package reconcile

import (
	"math/rand/v2"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/raftfsm"
)

// faults are what goes wrong by chance: proposals are split into entries, leaders are paused after
// they asked for a claim, outcomes are lost, links have gaps, people pause at the worst moment,
// reads are slow, messages are late.
type faults struct {
	rnd    *rand.Rand
	calm   bool // nothing goes wrong any more; proposals are still split, reads and messages still take their time
	losses bool // many DEAs at once are lost, tell nothing, or are switched off

	counts map[string]int // how often each fault happened
}

func (f *faults) chance(p float64) bool { return !f.calm && f.rnd.Float64() < p }

func (f *faults) count(what string) {
	if f.counts == nil {
		f.counts = map[string]int{}
	}
	f.counts[what]++
}

// interfere does, just before a claim is proposed, something that forbids its publish.
func (f *faults) interfere(n *simNode) {
	switch {
	case f.chance(0.03):
		f.count("paused before a claim")
		hold := raftfsm.Hold{Name: HoldPaused, By: "a person", SetAt: n.Now(), Until: n.Now().Add(2 * hb)}
		n.byAPerson(raftfsm.HoldSet{Hold: hold})
	case f.chance(0.03):
		f.count("gap before a claim")
		n.linkChanged()
	}
}

// stall pauses a leader's process just after it proposed a claim: before the claim is committed,
// between that and the question for the lease, or before the answer.
func (f *faults) stall(n *simNode) {
	if !f.chance(0.04) {
		return
	}
	d := f.upTo(5 * time.Second)
	if f.rnd.IntN(4) == 0 {
		d = f.upTo(12 * hb)
	}
	suspended, p := f.rnd.IntN(3) == 0, n.process
	n.cf.after(f.upTo(12*time.Millisecond), func() {
		if n.process == p {
			f.count("stalled in a claim")
			n.pause(d, suspended)
		}
	})
}

// upTo is a random duration of at most d, and a millisecond at least.
func (f *faults) upTo(d time.Duration) time.Duration {
	return time.Millisecond + time.Duration(f.rnd.Int64N(int64(d)))
}

// latency is how long a message between two nodes takes.
func (f *faults) latency() time.Duration {
	if f.rnd.IntN(30) == 0 && !f.calm {
		return f.upTo(150 * time.Millisecond)
	}
	return time.Duration(1+f.rnd.IntN(3)) * time.Millisecond
}

// wallClock is how far the wall clock of a node is off.
func (f *faults) wallClock() time.Duration { return f.upTo(2*time.Hour) - time.Hour }

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

// clock is how far the clock of a DEA is off, in milliseconds.
func (f *faults) clock() int64 {
	if f == nil {
		return 0
	}
	return f.rnd.Int64N(2*3_600_000) - 3_600_000
}

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

// jitter is how long a heartbeat of a DEA takes whose heartbeats take long.
func (f *faults) jitter() time.Duration {
	if f.calm {
		return 0
	}
	return time.Duration(f.rnd.Int64N(int64(hb - hb/10)))
}
