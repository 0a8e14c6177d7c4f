package journal

import (
	"sync"

	"hm/internal/app"
	"hm/internal/notify"
	"hm/raftfsm"
)

// maxWaiting bounds what waits to be stored, in events. It is some forty seconds of the largest storm.
const maxWaiting = 64 << 10

// item is something that the goroutine takes in.
type item struct {
	kind   itemKind
	index  uint64 // of the log
	term   uint64
	at     app.Time
	facts  []raftfsm.Fact
	own    Event
	weight int
}

type itemKind uint8

const (
	itemEntry    itemKind = iota // an entry with events
	itemRestored                 // a snapshot was restored: entries up to index were not seen
	itemLost                     // events up to index were dropped, because too much waited
	itemOwn                      // an event of this node's own
)

// input is the queue in front of the goroutine. Adding never blocks.
type input struct {
	wake notify.Signal

	mu      sync.Mutex
	items   []item
	weight  int
	reached uint64 // newest index of the log that was added, with or without events
	losing  bool   // the newest items were dropped
	lostTo  uint64 // newest index of the log that was dropped since losing began
	closed  bool
}

func newInput() input { return input{wake: notify.New()} }

// add queues an item, and gives how many events were lost because there was no room.
func (in *input) add(it item) (lost int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	it.weight = max(len(it.facts), 1)
	if it.kind != itemOwn {
		in.reached = it.index
	}
	if in.closed {
		return 0 // the next start takes it from the log
	}
	if in.weight+it.weight > maxWaiting {
		if it.kind != itemOwn {
			in.losing, in.lostTo = true, it.index
		}
		if it.kind == itemRestored {
			return 0
		}
		return it.weight
	}
	if in.losing && it.kind != itemOwn {
		in.items = append(in.items, item{kind: itemLost, index: in.lostTo})
		in.losing = false
	}
	in.items = append(in.items, it)
	in.weight += it.weight
	in.wake.Notify()
	return 0
}

// reach notes an entry without events.
func (in *input) reach(index uint64) {
	in.mu.Lock()
	in.reached = index
	in.mu.Unlock()
}

// take gives what waits, at most limit events, and how far the log is known once that is taken in.
func (in *input) take(limit int) (items []item, reached uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n, weight := 0, 0
	for n < len(in.items) && (n == 0 || weight+in.items[n].weight <= limit) {
		weight += in.items[n].weight
		n++
	}
	items = in.items[:n:n]
	in.items = in.items[n:]
	in.weight -= weight
	if len(in.items) > 0 {
		return items, 0
	}
	in.items = nil
	if in.losing {
		in.losing = false
		items = append(items, item{kind: itemLost, index: in.lostTo})
	}
	return items, in.reached
}

// close drops what comes from now on.
func (in *input) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.items = true, nil
}
