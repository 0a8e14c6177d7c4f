package dashboard

import (
	"slices"

	"hm/internal/api"
	"hm/internal/reconcile"
	"hm/internal/words"
)

// banner says at the top of each page whether hm sends commands, and if not, why not and since when.
type banner struct {
	Tone    words.Tone
	State   string // open, closed or unknown
	Head    string // a sentence
	Since   api.Timestamp
	Basis   api.Basis
	Reasons []words.ReasonWords
	Faults  []string // of this node's record
}

// faults are the reasons of a closed gate which say that something is broken. The others are decisions of a person or of
// a guard, or pass by themselves.
var faults = []string{
	reconcile.ReasonNoLeader, reconcile.ReasonStateDiffers, reconcile.ReasonNATSDown, reconcile.ReasonNATSRefused,
	reconcile.ReasonNATSLate, reconcile.ReasonDeaf, reconcile.ReasonDesiredStale,
}

func bannerOf(s api.Status) banner {
	b := banner{Tone: words.Good, State: "open", Since: s.Gate.Since, Basis: s.Basis}
	for _, n := range s.Cluster.Nodes {
		if n.ID == s.Node && n.Fault != nil {
			b.Faults = append(b.Faults, n.Fault.Kind+": "+n.Fault.Detail)
		}
	}
	reasons := words.GateReasons(s.Gate)
	switch {
	case s.Node == "":
		return banner{Tone: words.Bad, State: "unknown", Head: "This node gave no status"}
	case s.Gate.Open:
		b.Head = "The gate is open: hm sends commands"
	case len(reasons) == 0:
		b.Head, b.Since = "The gate of the leader, "+s.Cluster.Leader+", is open: hm sends commands", api.Timestamp{}
	case !s.Gate.Closed() && s.Gate.OnLeader != "":
		b.State, b.Since = "closed", api.Timestamp{}
		b.Head = "The gate of the leader, " + s.Cluster.Leader + ", is closed: hm sends no commands"
	default:
		b.State, b.Head = "closed", "The gate is closed: hm sends no commands"
	}
	if b.State == "closed" {
		b.Tone = words.Warn
	}
	b.Reasons = words.Reasons(reasons)
	if len(b.Faults) > 0 || slices.ContainsFunc(reasons, func(r string) bool { return slices.Contains(faults, r) }) {
		b.Tone = words.Bad
	}
	return b
}
