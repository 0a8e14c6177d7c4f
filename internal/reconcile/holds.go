package reconcile

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"hm/raftfsm"
)

// The holds that hm itself or a person sets.
const (
	HoldDesiredShrink = "desired-shrink"
	HoldMassLoss      = "mass-loss" // a further loss meanwhile is held by mass-loss-2, and so on
	HoldFirstPicture  = "first-picture"
	HoldPaused        = "paused"
	HoldSlowStops     = "slow-stops" // limits stops, and keeps no gate shut
)

// OwnHold reports whether hm itself set a hold, so that a replay sets it by itself where it should be.
func OwnHold(h raftfsm.Hold) bool {
	return h.By == holdBy && h.Name != HoldPaused && OwnHoldName(h.Name)
}

// OwnHoldName reports whether hm itself gives a hold this name, so that it tells nothing of whoever set it.
func OwnHoldName(name string) bool {
	switch name {
	case HoldPaused, HoldDesiredShrink, HoldFirstPicture, HoldSlowStops:
		return true
	}
	return isMassLoss(name)
}

// reasonOf gives the word for a hold among the gate's reasons. All losses have one.
func reasonOf(h raftfsm.Hold) string {
	switch {
	case h.Name == HoldPaused:
		return ReasonPaused
	case isMassLoss(h.Name):
		return "hold:" + HoldMassLoss
	}
	return "hold:" + h.Name
}

// holdBy is who hm says to be when it sets a hold.
const holdBy = "hm"

// held reports whether a hold of this name is set.
func held(view *raftfsm.State, name string) bool {
	return slices.ContainsFunc(view.Holds(), func(h raftfsm.Hold) bool { return h.Name == name })
}

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
