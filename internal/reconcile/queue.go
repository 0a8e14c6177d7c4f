package reconcile

import (
	"container/heap"
	"maps"
	"slices"

	"hm/internal/app"
)

// queue holds the apps that are to be evaluated: at once, because something changed, or at a time,
// when something becomes due. While the gate is closed it only grows; the pass over the fleet that
// opens the gate replaces it.
type queue struct {
	sorted  []app.Key            // from a pass over the whole fleet, still to be evaluated
	now     map[app.Key]struct{} // changed
	full    bool                 // more changed than are kept: a pass over the whole fleet is needed
	at      map[app.Key]app.Time // when each waiting app is to be evaluated
	order   wakeHeap
	waiting map[app.Key]struct{} // apps that wait for a newer read of the desired state
}

// maxQueued bounds the changed apps that are kept. For more a pass over the whole fleet is cheaper.
const maxQueued = 50_000

// smallQueue is the number of apps up to which a cleared map is used again.
const smallQueue = 100

// add asks for an evaluation as soon as possible.
func (q *queue) add(keys ...app.Key) {
	if q.now == nil && len(keys) > 0 {
		q.now = make(map[app.Key]struct{}, min(len(keys), maxQueued))
	}
	for _, k := range keys {
		if len(q.now) >= maxQueued {
			q.full = true
			return
		}
		q.now[k] = struct{}{}
	}
}

// replace replaces the apps that are queued for now by keys, which a pass over the whole fleet
// found, sorted.
func (q *queue) replace(keys []app.Key) {
	q.sorted, q.now, q.full = keys, nil, false
}

// evaluateAt asks for an evaluation at a time; the newest call for an app counts. 0 cancels it.
func (q *queue) evaluateAt(k app.Key, at app.Time) {
	if at == 0 {
		delete(q.at, k)
		q.dropStale()
		return
	}
	if q.at == nil {
		q.at = map[app.Key]app.Time{}
	}
	if old, ok := q.at[k]; ok && old == at {
		return
	}
	q.at[k] = at
	heap.Push(&q.order, wakeUp{at, k})
	q.dropStale()
}

// fewStale is how many wake-ups that do not count any more are always kept: dropping them costs a pass over all.
const fewStale = 1_000

// dropStale drops the wake-ups that do not count any more, once most are such: an app whose time moves on with every
// evaluation would leave one behind each time, until that time has come.
func (q *queue) dropStale() {
	if len(q.order) <= 2*len(q.at)+fewStale {
		return
	}
	order := make(wakeHeap, 0, len(q.at))
	for k, at := range q.at {
		order = append(order, wakeUp{at, k})
	}
	heap.Init(&order)
	q.order = order
	if len(q.at) == 0 {
		q.at, q.order = nil, nil // a map never shrinks
	}
}

// waitForRead asks for an evaluation after the next complete read.
func (q *queue) waitForRead(k app.Key) {
	if q.waiting == nil {
		q.waiting = map[app.Key]struct{}{}
	}
	q.waiting[k] = struct{}{}
}

// takeWaiting gives the apps that waited for a complete read.
func (q *queue) takeWaiting() []app.Key {
	keys := slices.SortedFunc(maps.Keys(q.waiting), app.Key.Compare)
	q.waiting = nil
	return keys
}

// take gives at most max apps that are to be evaluated at now, sorted, and whether more are left.
func (q *queue) take(now app.Time, max int) (keys []app.Key, more bool) {
	for len(q.order) > 0 && q.order[0].at <= now {
		w := heap.Pop(&q.order).(wakeUp)
		if q.at[w.key] == w.at {
			delete(q.at, w.key)
			q.add(w.key)
		}
	}
	if n := min(max, len(q.sorted)); n > 0 {
		keys, q.sorted = q.sorted[:n:n], q.sorted[n:]
		return keys, len(q.sorted) > 0 || len(q.now) > 0
	}
	if len(q.now) == 0 {
		return nil, false
	}
	keys = slices.AppendSeq(make([]app.Key, 0, len(q.now)), maps.Keys(q.now))
	slices.SortFunc(keys, app.Key.Compare)
	if len(keys) <= max {
		if clear(q.now); len(keys) > smallQueue {
			q.now = nil // a map never shrinks, and clearing a large one is slow
		}
		return keys, false
	}
	keys = keys[:max]
	for _, k := range keys {
		delete(q.now, k)
	}
	return keys, true
}

// next is when the next timed evaluation is due.
func (q *queue) next() (app.Time, bool) {
	for len(q.order) > 0 {
		if w := q.order[0]; q.at[w.key] == w.at {
			return w.at, true
		}
		heap.Pop(&q.order) // cancelled, or moved to another time
	}
	return 0, false
}

// len counts the apps that are to be evaluated as soon as possible.
func (q *queue) len() int { return len(q.sorted) + len(q.now) }

type wakeUp struct {
	at  app.Time
	key app.Key
}

type wakeHeap []wakeUp

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h wakeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *wakeHeap) Push(x any)        { *h = append(*h, x.(wakeUp)) }
func (h *wakeHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	*h = old[:len(old)-1]
	return w
}
