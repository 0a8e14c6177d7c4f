package reconcile

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"hm/raftfsm"
)

// massLosses gives the holds on losses, in the order in which they were set. Only hm sets one that says what was lost.
func massLosses(view *raftfsm.State) []raftfsm.Hold {
	holds := slices.DeleteFunc(view.Holds(), func(h raftfsm.Hold) bool { return h.Lost == "" || !isMassLoss(h.Name) })
	slices.SortStableFunc(holds, func(a, b raftfsm.Hold) int { return cmp.Compare(a.SetAt, b.SetAt) })
	return holds
}

// isMassLoss reports whether a hold's name is that of a hold on a loss: mass-loss, mass-loss-2, mass-loss-3 and so on.
func isMassLoss(name string) bool {
	rest, ok := strings.CutPrefix(name, HoldMassLoss)
	if !ok || rest == "" {
		return ok
	}
	n, err := strconv.Atoi(strings.TrimPrefix(rest, "-"))
	return err == nil && n >= 2 && rest == "-"+strconv.Itoa(n)
}

// freeMassLoss gives the first name for a hold on a loss that no hold has.
func freeMassLoss(view *raftfsm.State) string {
	name := HoldMassLoss
	for n := 2; held(view, name); n++ {
		name = HoldMassLoss + "-" + strconv.Itoa(n)
	}
	return name
}
