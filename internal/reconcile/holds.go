package reconcile

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"hm/raftfsm"
)

// The names of the holds that hm sets.
const (
	HoldDesiredShrink = "desired-shrink"
	HoldMassLoss      = "mass-loss" // the hold of a further loss meanwhile is mass-loss-2, and so on
	HoldFirstPicture  = "first-picture"
	HoldPaused        = "paused"
	HoldRestored      = "restored"   // a snapshot was restored
	HoldSlowStops     = "slow-stops" // limits stops, and does not close the gate
)

// OwnHold reports whether hm itself set a hold. A replay does not take such a hold from a
// recording, but sets its own.
func OwnHold(h raftfsm.Hold) bool {
	return h.By == holdBy && h.Name != HoldPaused && OwnHoldName(h.Name)
}

// OwnHoldName reports whether hm itself uses this name for a hold, so that the name reveals nothing
// about a person.
func OwnHoldName(name string) bool {
	switch name {
	case HoldPaused, HoldDesiredShrink, HoldFirstPicture, HoldSlowStops, HoldRestored:
		return true
	}
	return isMassLoss(name)
}

// ReasonOf gives a hold's reason for the gate. All holds on losses have one reason.
func ReasonOf(h raftfsm.Hold) string {
	switch {
	case h.Name == HoldPaused:
		return ReasonPaused
	case isMassLoss(h.Name):
		return "hold:" + HoldMassLoss
	}
	return "hold:" + h.Name
}

// holdBy is the author of holds that hm sets.
const holdBy = "hm"

// held reports whether a hold of this name is set.
func held(view *raftfsm.State, name string) bool {
	return slices.ContainsFunc(view.Holds(), func(h raftfsm.Hold) bool { return h.Name == name })
}

// massLosses gives the holds on losses, in the order in which they were set. Only hm sets holds
// that name what was lost.
func massLosses(view *raftfsm.State) []raftfsm.Hold {
	holds := slices.DeleteFunc(view.Holds(), func(h raftfsm.Hold) bool { return h.Lost == "" || !isMassLoss(h.Name) })
	slices.SortStableFunc(holds, func(a, b raftfsm.Hold) int { return cmp.Compare(a.SetAt, b.SetAt) })
	return holds
}

// isMassLoss reports whether a name is one of a hold on a loss: mass-loss, mass-loss-2, mass-loss-3
// and so on.
func isMassLoss(name string) bool {
	rest, ok := strings.CutPrefix(name, HoldMassLoss)
	if !ok || rest == "" {
		return ok
	}
	n, err := strconv.Atoi(strings.TrimPrefix(rest, "-"))
	return err == nil && n >= 2 && rest == "-"+strconv.Itoa(n)
}

// freeMassLoss gives the first name of a hold on a loss that is free.
func freeMassLoss(view *raftfsm.State) string {
	name := HoldMassLoss
	for n := 2; held(view, name); n++ {
		name = HoldMassLoss + "-" + strconv.Itoa(n)
	}
	return name
}
