package cluster

import (
	"time"

	"hm/internal/app"
)

// PeerInfo is what a node tells its peers about itself (I1). It is not recorded. Every text has at most 1 KiB.
type PeerInfo struct {
	API              string   `json:"api,omitempty"`                // address of its HTTP API
	NATSUp           bool     `json:"nats_up,omitempty"`            // its own NATS link is up
	AppliedIndex     uint64   `json:"applied,omitempty"`            // newest entry that it has applied
	Kinds            uint32   `json:"kinds,omitempty"`              // highest entry kind that it knows
	SnapshotFormat   uint32   `json:"snapshot_format,omitempty"`    // newest format of snapshots that it reads; 0: not known
	DesiredReadBegan app.Time `json:"desired_read_began,omitempty"` // when the newest complete read of the desired state began
	DesiredReadEnded app.Time `json:"desired_read_ended,omitempty"` // when that read was recorded; 0 if another node did it
	DesiredReadApps  int      `json:"desired_read_apps,omitempty"`  // number of apps in that read
	DesiredReadError string   `json:"desired_read_error,omitempty"` // why the newest attempt failed; empty if it succeeded
	Gate             string   `json:"gate,omitempty"`               // "open", or the reasons why its gate is closed
	Version          string   `json:"version,omitempty"`            // of its program
	HeardDEAs        int      `json:"hears,omitempty"`              // number of DEAs that it heard within a time to live
	HearingComplete  bool     `json:"hears_fresh,omitempty"`        // it can hear every DEA: its actual state is fresh and its link not late
	Answers          bool     `json:"answers,omitempty"`            // it knows enough to answer a Cloud Controller
	NATSRefused      string   `json:"nats_refused,omitempty"`       // what its NATS server refuses, one line a subject
	NATSProved       Ago      `json:"nats_proved_ms,omitempty"`     // when its NATS link was last certainly alive
	HandedOver       Ago      `json:"handed_over_ms,omitempty"`     // when any node last handed over by itself, as far as it knows
	HandingOver      Ago      `json:"handing_over_ms,omitempty"`    // when the handover began that it tries now; 0: it tries none
}

// Ago is a time in milliseconds before the message that tells it was sent, at least 1. 0: never, or not known. Ages need
// no agreement of clocks.
type Ago int64

// maxAgo is more than a hundred years. The age fits into a time.Duration.
const maxAgo = 1 << 42

// AgoOf gives the age of a past time at now; 0 for the zero time. It rounds up.
func AgoOf(t, now time.Time) Ago {
	if t.IsZero() {
		return 0
	}
	return Ago(min(max(0, now.Sub(t).Milliseconds())+1, maxAgo))
}

// Before gives the time that the age means if the message was sent at sent; zero if it is not known.
func (a Ago) Before(sent time.Time) time.Time {
	if a <= 0 {
		return time.Time{}
	}
	return sent.Add(-time.Duration(a) * time.Millisecond)
}

// RenewInfo makes fn set the ages in the info, each time when the info is sent. fn must be quick. Ages that SetInfo was
// given are not sent, and do not cause a message.
func (n *Node) RenewInfo(fn func(*PeerInfo)) { n.peerStatus.renewInfo.Store(&fn) }

// SetInfo replaces what this node tells its peers about itself. A change is sent at once.
func (n *Node) SetInfo(info PeerInfo) {
	ps := n.peerStatus
	info.NATSProved, info.HandedOver, info.HandingOver = 0, 0, 0
	ps.mu.Lock()
	changed := ps.info == nil || *ps.info != info
	ps.info, ps.infoClock, ps.infoSuspended = &info, n.clock.epoch.Load(), n.Suspended()
	ps.mu.Unlock()
	if changed {
		ps.notifySenders()
	}
}

// PeerReads gets a value after a peer reported how a read of the desired state ended. It holds one value.
func (n *Node) PeerReads() <-chan struct{} { return n.peerStatus.peerReads.C() }
