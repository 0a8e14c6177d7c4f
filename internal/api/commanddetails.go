package api

import (
	"sync"

	"hm/commands"
	"hm/raftfsm"
)

// maxCommandDetails bounds how many commands have a detail. In a storm the oldest lose theirs. So does, in time, a
// command of which something was noted after it had ended.
const maxCommandDetails = 10_000

// CommandDetails has what the leader noted about outstanding commands: the Cloud Controller's answer, or that a command
// may not have been sent. Every node has it from the log. The zero value is ready.
type CommandDetails struct {
	mu    sync.Mutex
	by    map[commands.ID]string
	order []commands.ID // of the notes, a ring; some of the commands have ended
	next  int           // of order: the oldest, once it is full
}

// Applied takes in what an entry says about commands.
func (d *CommandDetails) Applied(a raftfsm.Applied) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.Restored {
		d.by, d.order, d.next = nil, nil, 0
	}
	for _, f := range a.Result.Facts {
		n, ok := f.(raftfsm.NoteFact)
		if !ok || n.Event != "" || n.Detail == "" {
			continue
		}
		for _, id := range n.Commands {
			d.note(id, n.Detail)
		}
	}
	for _, e := range a.Result.Ended {
		delete(d.by, e.ID)
	}
}

func (d *CommandDetails) note(id commands.ID, detail string) {
	if d.by == nil {
		d.by = map[commands.ID]string{}
	}
	_, known := d.by[id]
	d.by[id] = detail
	switch {
	case known:
	case len(d.order) < maxCommandDetails:
		d.order = append(d.order, id)
	default:
		delete(d.by, d.order[d.next])
		d.order[d.next] = id
		d.next = (d.next + 1) % len(d.order)
	}
}

// of gives what is known about a command; empty if nothing is.
func (d *CommandDetails) of(id commands.ID) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.by[id]
}
