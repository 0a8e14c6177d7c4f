package reconcile

import (
	"hm/commands"
	"hm/raftfsm"
)

// maxRefused is of how many commands a leader remembers why they were refused.
const maxRefused = 10_000

// refused is why commands that are still claimed were refused, for the journal.
type refused map[commands.ID]string

// note remembers why a command was refused.
func (r *refused) note(cmd commands.Command, why error, view *raftfsm.State) {
	if *r == nil {
		*r = refused{}
	}
	if len(*r) >= maxRefused { // those that others ended are not heard of here
		for id := range *r {
			if _, outstanding := view.Command(id); !outstanding {
				delete(*r, id)
			}
		}
	}
	if len(*r) < maxRefused {
		(*r)[cmd.ID] = why.Error()
	}
}

// detail says why a command ends, and forgets it.
func (r refused) detail(op commands.Op) string {
	why, was := r[op.End]
	delete(r, op.End)
	if was && op.Outcome == commands.Expired {
		return why
	}
	return op.Detail
}
