package reconcile

import (
	"container/heap"
	"time"

	"hm/internal/app"
)

// event is something that happens at a time. Events of the same time happen in the order in which
// they were made.
type event struct {
	at  app.Time
	seq int
	do  func()
}

// events are the events to come, the earliest first.
type events struct {
	list []event
	made int
}

func (e *events) Len() int { return len(e.list) }
func (e *events) Less(i, j int) bool {
	a, b := e.list[i], e.list[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
func (e *events) Swap(i, j int) { e.list[i], e.list[j] = e.list[j], e.list[i] }
func (e *events) Push(x any)    { e.list = append(e.list, x.(event)) }
func (e *events) Pop() any {
	last := e.list[len(e.list)-1]
	e.list = e.list[:len(e.list)-1]
	return last
}

// after makes do happen when time d has passed.
func (cf *simCF) after(d time.Duration, do func()) {
	cf.events.made++
	heap.Push(&cf.events, event{cf.now.Add(d), cf.events.made, do})
}

// happen makes the events happen that are due.
func (cf *simCF) happen() {
	for cf.events.Len() > 0 && cf.events.list[0].at <= cf.now {
		heap.Pop(&cf.events).(event).do()
	}
}
