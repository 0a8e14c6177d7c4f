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
	Reasons []bannerReason
	Checks  []check  // what must hold for hm to send commands, always the same ones: the banner never changes its height
	Faults  []string // of this node's record
}

// check is one condition of the gate.
type check struct {
	Tone words.Tone
	Text string // what is so: "NATS up for 3h", or the reasons that close the gate
	Long string // the same in a sentence
	Path string // of the page that has more

	failed bool // it closes the gate
}

// bannerReason is a reason of the closed gate.
type bannerReason struct {
	words.ReasonWords
	Since string        // since when it is so: "for 5s", "set 5s ago"; empty: not known
	At    api.Timestamp // the same as a time
	Held  bool          // a person can end it on the page of the cluster
}

// faults are the reasons of a closed gate which say that something is broken. The others are decisions of a person or of
// a guard, or pass by themselves.
var faults = []string{
	reconcile.ReasonNoLeader, reconcile.ReasonStateDiffers, reconcile.ReasonNATSDown, reconcile.ReasonNATSRefused,
	reconcile.ReasonNATSLate, reconcile.ReasonDeaf, reconcile.ReasonDesiredStale, reconcile.ReasonCCUnreachable,
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
		if i := slices.Index(reasons, reconcile.ReasonNotLeader); i >= 0 && len(reasons) > 1 { // the others count, and they have begun later
			reasons, b.Since = slices.Delete(slices.Clone(reasons), i, i+1), api.Timestamp{}
		}
	}
	if b.State == "closed" {
		b.Tone = words.Warn
	}
	for _, reason := range reasons {
		b.Reasons = append(b.Reasons, bannerReasonOf(s, reason))
	}
	b.Checks = checksOf(s, b.Reasons)
	if len(b.Faults) > 0 || slices.ContainsFunc(reasons, func(r string) bool { return slices.Contains(faults, r) }) {
		b.Tone = words.Bad
	}
	return b
}

func bannerReasonOf(s api.Status, reason string) bannerReason {
	r := bannerReason{ReasonWords: words.Reason(reason)}
	switch reason {
	case reconcile.ReasonNATSDown:
		if !s.NATS.Connected {
			r.Since, r.At = "for "+words.Span(s.Basis, s.NATS.Since), s.NATS.Since
		}
	case reconcile.ReasonDesiredStale:
		r.Since, r.At = "the newest complete read began "+words.Ago(s.Basis, s.Desired.SyncedAt), s.Desired.SyncedAt
	}
	for _, h := range s.Holds {
		if "hold:"+h.Name == reason || h.Name == reason {
			r.Held, r.Since, r.At = true, "set "+words.Ago(s.Basis, h.SetAt), h.SetAt
		}
	}
	return r
}

// checksOf gives the conditions of the gate: somebody leads, the link to NATS is up, what runs and what should run are
// known, and nothing holds hm.
func checksOf(s api.Status, reasons []bannerReason) []check {
	leads := check{Text: s.Cluster.Leader + " leads", Path: "/cluster"}
	if s.Cluster.Leader == "" {
		leads = check{Tone: words.Bad, Text: "no leader", Path: "/cluster"}
	}
	link := check{Text: "NATS up for " + words.Span(s.Basis, s.NATS.Since), Path: "/cluster"}
	if !s.NATS.Connected {
		link = check{Tone: words.Bad, Text: "NATS down for " + words.Span(s.Basis, s.NATS.Since), Path: "/cluster"}
	}
	actual, desired := check{Text: "what runs is known", Path: "/deas"}, check{Text: "what should run is known", Path: "/events?kind=desired"}
	held := check{Text: "nothing is held", Path: "/cluster#holds"}
	checks := []*check{&leads, &link, &actual, &desired, &held}
	for _, c := range checks {
		c.Long = c.Text
		if c.Tone == words.Plain {
			c.Tone = words.Good
		}
	}
	for _, r := range reasons {
		c := &held
		switch r.Reason {
		case reconcile.ReasonNotLeader:
			continue
		case reconcile.ReasonNoLeader, reconcile.ReasonStateDiffers:
			c = &leads
		case reconcile.ReasonNATSDown, reconcile.ReasonNATSRefused, reconcile.ReasonNATSLate, reconcile.ReasonCCUnreachable:
			c = &link
		case reconcile.ReasonActualStale, reconcile.ReasonDeaf:
			c = &actual
		case reconcile.ReasonDesiredStale:
			c = &desired
		}
		text := r.Reason
		if r.Since != "" && r.Reason != reconcile.ReasonDesiredStale {
			text += " " + r.Since
		}
		tone := words.Warn
		if slices.Contains(faults, r.Reason) {
			tone = words.Bad
		}
		if c.failed {
			c.Text, c.Long = c.Text+", "+text, c.Long+" "+r.String()+"."
		} else {
			c.Text, c.Long = text, capital(r.String())+"."
		}
		c.failed = true
		if c.Tone != words.Bad {
			c.Tone = tone
		}
	}
	out := make([]check, len(checks))
	for i, c := range checks {
		out[i] = *c
	}
	return out
}
