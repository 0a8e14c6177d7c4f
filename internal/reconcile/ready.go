package reconcile

import (
	"slices"
	"time"

	"hm/commands"
	"hm/internal/app"
	"hm/raftfsm"
)

// ready holds the pending commands that are due and not claimed yet, in the order in which to claim
// them. New ones are sorted alone and merged, so that a storm of commands is not sorted anew for
// each claim.
type ready struct {
	apps  map[commands.ID]app.Key // of each command
	added []commands.ID           // not in due yet
	due   [2][]commands.Command   // starts and stops, each in order
}

func (r *ready) add(id commands.ID, k app.Key) {
	if _, known := r.apps[id]; !known {
		r.apps[id] = k
		r.added = append(r.added, id)
	}
}

// update merges what was added into due. It gives the apps of commands that are no longer pending.
func (r *ready) update(view *raftfsm.State, period time.Duration) (ended []app.Key) {
	var fresh [2][]commands.Command
	for _, id := range r.added {
		cmd, ok := view.Command(id)
		if !ok || cmd.State != commands.Pending {
			ended = append(ended, r.apps[id])
			delete(r.apps, id)
			continue
		}
		fresh[cmd.Action-commands.Start] = append(fresh[cmd.Action-commands.Start], cmd)
	}
	r.added = r.added[:0]
	for action, list := range fresh {
		commands.Sort(list, period)
		r.due[action] = merge(r.due[action], list, period)
	}
	return ended
}

// merge gives two sorted lists as one.
func merge(a, b []commands.Command, period time.Duration) []commands.Command {
	if len(a) == 0 || len(b) == 0 {
		return append(a, b...)
	}
	out := make([]commands.Command, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if commands.Order(a[0], b[0], period) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// visited says what becomes of a command that was visited.
type visited int

const (
	visitedStays  visited = iota // it stays where it is
	visitedLeaves                // it leaves
	visitedEnds                  // it stays, and so do all after it: the visit ends
)

// visit calls look with the commands of one action, in their order.
func (r *ready) visit(action int, look func(commands.Command) visited) {
	list := r.due[action]
	var kept []commands.Command
	i := 0
	for ; i < len(list); i++ {
		w := look(list[i])
		if w == visitedEnds {
			break
		}
		if w == visitedStays {
			kept = append(kept, list[i])
		} else {
			delete(r.apps, list[i].ID)
		}
	}
	from := i - len(kept)
	copy(list[from:i], kept)
	if r.due[action] = list[from:]; len(r.due[action]) == 0 {
		r.due[action] = nil // frees the memory of those that left
	} else if from > 0 && from > 4*len(r.due[action]) {
		r.due[action] = slices.Clone(r.due[action])
	}
}
