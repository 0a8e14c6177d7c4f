package reconcile

import (
	"hm/commands"
	"hm/diff"
	"hm/raftfsm"
)

// maxClaimNotes is how many claimed commands a leader remembers something of.
const maxClaimNotes = 10_000

// claimNotes is what this leader remembers of the commands that it claimed, until they end.
type claimNotes map[commands.ID]claimNote

type claimNote struct {
	rule    string // that asked for it
	refused string // why it was refused, or has no effect; empty if neither is known
}

// claimed remembers which rule asked for a command. In a storm the newest commands are not
// remembered.
func (n *claimNotes) claimed(id commands.ID, rule string) {
	if *n == nil {
		*n = claimNotes{}
	}
	if len(*n) < maxClaimNotes {
		(*n)[id] = claimNote{rule: rule}
	}
}

// refused remembers why a command was refused, or has no effect. Where there are too many, those that others ended
// are forgotten.
func (n *claimNotes) refused(id commands.ID, why error, view *raftfsm.State) {
	if *n == nil {
		*n = claimNotes{}
	}
	note, known := (*n)[id]
	if !known && len(*n) >= maxClaimNotes {
		for id := range *n {
			if _, outstanding := view.Command(id); !outstanding {
				delete(*n, id)
			}
		}
	}
	if note.refused = why.Error(); known || len(*n) < maxClaimNotes {
		(*n)[id] = note
	}
}

// detail says why a command ends.
func (n claimNotes) detail(op diff.Op) string {
	if why := n[op.End].refused; why != "" && op.Outcome == commands.Expired {
		return why
	}
	return op.Detail
}

// ended forgets a command, and gives the rule that asked for it; empty if it is not known.
func (n claimNotes) ended(id commands.ID) (rule string) {
	rule = n[id].rule
	delete(n, id)
	return rule
}
