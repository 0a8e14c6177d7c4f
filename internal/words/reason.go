package words

import (
	"strings"

	"hm/internal/api"
	"hm/internal/reconcile"
)

// ReasonWords explains a reason of a closed gate.
type ReasonWords struct {
	Reason string // as the API names it: nats-down, hold:mass-loss
	Means  string // what is so, without a full stop
	Ends   string // what ends it, without a full stop
}

// String returns both in one line.
func (r ReasonWords) String() string { return r.Means + "; " + r.Ends }

// Reason explains a reason of a closed gate. It knows every reason of this version, and says of others what can be
// said.
func Reason(reason string) ReasonWords {
	if w, ok := reasons[reason]; ok {
		return ReasonWords{reason, w[0], w[1]}
	}
	if name, isHold := strings.CutPrefix(reason, "hold:"); isHold {
		return ReasonWords{reason, "somebody set the hold " + name, "it ends at its time, or with hm release " + name}
	}
	return ReasonWords{reason, "the node gives a reason that this version does not know", "hm status on a node of the newest version says more"}
}

// Reasons explains several reasons, in their order.
func Reasons(all []string) []ReasonWords {
	out := make([]ReasonWords, len(all))
	for i, reason := range all {
		out[i] = Reason(reason)
	}
	return out
}

// ReasonLines explains each reason for which the gate that counts is closed, a line each.
func ReasonLines(g api.Gate) []Line {
	var lines []Line
	for _, r := range Reasons(GateReasons(g)) {
		lines = append(lines, named("", r.Reason+": "+r.String()))
	}
	return lines
}

// reasons has the meaning of each reason, and what ends it. docs/operations.md says more.
var reasons = map[string][2]string{
	reconcile.ReasonNoLeader: {
		"no majority of the nodes agrees on a leader",
		"it ends when enough nodes run and reach each other"},
	reconcile.ReasonNotLeader: {
		"this node does not lead, and only the leader sends commands",
		"nothing is to be done"},
	reconcile.ReasonStateDiffers: {
		"the record of this node differs from that of its peers, and no majority agrees on one",
		"it ends when the missing nodes are back and a majority decides"},
	reconcile.ReasonNATSDown: {
		"this node has no link to NATS, so it hears no heartbeats",
		"it ends by itself when NATS is back; nothing expires meanwhile"},
	reconcile.ReasonNATSRefused: {
		"the NATS server does not let this node subscribe to heartbeats",
		"it ends when the user in nats.username may subscribe to dea.heartbeat"},
	reconcile.ReasonNATSLate: {
		"messages arrive more than one heartbeat late",
		"it ends when they are late by at most half a heartbeat: look at the network, the NATS server and this node"},
	reconcile.ReasonDeaf: {
		"another node hears many DEAs that this node does not hear",
		"it ends when the route between the NATS servers works again"},
	reconcile.ReasonActualStale: {
		"what runs is not known well enough: heartbeats have not been heard for long enough without a gap",
		"it ends by itself one freshness window after they are heard again"},
	reconcile.ReasonDesiredStale: {
		"what should run has not been read completely for too long",
		"it ends with the next complete read: look at the source of the desired state"},
	reconcile.ReasonCCUnreachable: {
		"the Cloud Controller, to which commands are posted, does not answer this node, which leads",
		"it ends with its next answer: look at commands.cc_url, the Cloud Controller and the network"},
	reconcile.ReasonPaused: {
		"somebody paused hm",
		"it ends at its time, or with hm resume"},
	reconcile.ReasonShadow: {
		"hm is in shadow mode: it decides, and sends nothing",
		"it ends when commands.mode is enforce on every node"},
	"hold:" + reconcile.HoldDesiredShrink: {
		"the newest read of the desired state lost suspiciously many apps",
		"it ends when further reads agree, or with hm release " + reconcile.HoldDesiredShrink},
	"hold:" + reconcile.HoldMassLoss: {
		"suspiciously many instances were lost at once and run nowhere else",
		"it ends when they are back, at its time, or with hm release " + reconcile.HoldMassLoss},
	"hold:" + reconcile.HoldFirstPicture: {
		"heartbeats show less than half of what is desired since this node began to listen",
		"it ends when most of the rest is heard, at its time, or with hm release " + reconcile.HoldFirstPicture},
	"hold:" + reconcile.HoldRestored: {
		"a snapshot was restored, and hm waits until it knows what runs now",
		"it ends by itself at its time"},
}
