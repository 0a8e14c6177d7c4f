package cluster

import (
	"hm/internal/app"
)

// SetInfo replaces what this node tells its peers, and tells them soon.
func (n *Node) SetInfo(info PeerInfo) {
	ps := n.peerStatus
	ps.mu.Lock()
	changed := ps.info == nil || *ps.info != info
	ps.info = &info
	ps.mu.Unlock()
	if changed {
		ps.notifySenders()
	}
}

// PeerReads says, for one who waits, that a peer has told how a read of the desired state ended.
func (n *Node) PeerReads() <-chan struct{} { return n.peerStatus.peerReads.C() }

// PeerInfo is what a node tells its peers about itself (I1). It is not recorded.
type PeerInfo struct {
	API              string   `json:"api,omitempty"`                // address of its HTTP API
	NATSUp           bool     `json:"nats_up,omitempty"`            // its own NATS link is up
	AppliedIndex     uint64   `json:"applied,omitempty"`            // newest entry that it has applied
	Kinds            uint32   `json:"kinds,omitempty"`              // highest entry kind that it knows
	DesiredReadBegan app.Time `json:"desired_read_began,omitempty"` // hm time at which the newest complete read of the desired state began
	DesiredReadEnded app.Time `json:"desired_read_ended,omitempty"` // hm time at which it was recorded; 0 if another node read
	DesiredReadApps  int      `json:"desired_read_apps,omitempty"`  // how many apps that read held
	DesiredReadError string   `json:"desired_read_error,omitempty"` // why the newest attempt failed; empty if it did not
	Gate             string   `json:"gate,omitempty"`               // "open", or why its gate is closed
	Version          string   `json:"version,omitempty"`            // of its program
	HeardDEAs        int      `json:"hears,omitempty"`              // DEAs that it has heard within a time to live
	HearingComplete  bool     `json:"hears_fresh,omitempty"`        // it should hear every DEA: its picture is fresh, and its link in time
	Answers          bool     `json:"answers,omitempty"`            // it knows enough to tell a Cloud Controller what runs
	NATSRefused      string   `json:"nats_refused,omitempty"`       // what its NATS server refuses to it, a line for each subject
}
