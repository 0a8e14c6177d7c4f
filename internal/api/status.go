package api

import (
	"hm/internal/cluster"
	"hm/internal/reconcile"
)

// Status is the answer to GET /v1/status.
type Status struct {
	Node     string         `json:"node"`
	Version  string         `json:"version,omitempty"` // of the answering program
	Cluster  Cluster        `json:"cluster"`
	Gate     Gate           `json:"gate"`
	NATS     NATS           `json:"nats"`
	Desired  DesiredStatus  `json:"desired"`
	Actual   ActualStatus   `json:"actual"`
	Drift    DriftCounts    `json:"drift"`
	Commands CommandsStatus `json:"commands"`
	Queue    Queue          `json:"queue"`
	Holds    []Hold         `json:"holds"`
	Hash     string         `json:"state_hash"` // equal on all nodes at the same index
	Basis    Basis          `json:"basis"`
}

// Cluster is the Raft cluster as the answering node sees it.
type Cluster struct {
	Leader string        `json:"leader"` // node id; empty if none is known
	Term   uint64        `json:"term"`
	Nodes  []ClusterNode `json:"nodes"` // sorted by id
}

// ClusterNode is one member. What the members tell of themselves (NATS, AppliedIndex, Hears, Version) is null or missing
// while a member has not been heard.
type ClusterNode struct {
	ID           string  `json:"id"`
	Address      string  `json:"address"` // of its Raft port
	State        string  `json:"state"`   // leader, follower, candidate or unreachable
	Voter        bool    `json:"voter"`
	Healthy      bool    `json:"healthy"`
	Problem      string  `json:"problem,omitempty"` // what is wrong with the member, by its own word or as the node asked sees it: its disk, its address
	NATS         *bool   `json:"nats"`              // whether its own link to NATS is up
	AppliedIndex *uint64 `json:"applied_index"`
	Hears        *int    `json:"hears"` // DEAs that it has heard within a time to live
	API          string  `json:"api,omitempty"`
	Gate         string  `json:"gate,omitempty"` // open, or why its gate is closed
	Version      string  `json:"version,omitempty"`
	// NATSRefused is what its NATS server refuses to it, a line for each subject.
	NATSRefused string `json:"nats_refused,omitempty"`
	// Fault is what is wrong with the node's record, by its own word; missing if nothing is.
	Fault *cluster.Fault `json:"fault,omitempty"`
}

// Gate says whether the answering node may send commands.
type Gate struct {
	Open    bool      `json:"open"`
	Reasons []string  `json:"reasons"` // never null; why it is closed
	Since   Timestamp `json:"since"`   // since when it has been open, or closed
	// OnLeader is what the leader reports of its own gate: open, or why it is closed. It is missing if the
	// answering node leads, or does not know.
	OnLeader string `json:"on_leader,omitempty"`
}

// Closed reports whether the gate keeps the cluster from sending commands. That the answering node does not lead,
// alone, does not: the leader sends.
func (g Gate) Closed() bool {
	return len(g.Reasons) > 1 || len(g.Reasons) == 1 && g.Reasons[0] != reconcile.ReasonNotLeader
}

// NATS is the answering node's own link.
type NATS struct {
	Connected bool      `json:"connected"`
	Server    string    `json:"server"` // where it is connected, or was last
	Since     Timestamp `json:"since"`  // since when it has been up without a gap, or down
	Outages   uint64    `json:"outages"`
	Gaps      uint64    `json:"gaps"` // times that messages were lost while it was up
	// Lag is how much later than it was said something is heard, in seconds; null if that is not known.
	Lag *float64 `json:"lag"`
	// LagRefused is why the lag cannot be known, in the server's words.
	LagRefused string `json:"lag_refused,omitempty"`
	// Refused are the subjects that the server refuses to this node; never null.
	Refused []NATSRefusal `json:"refused"`
}

// NATSRefusal is one subject that a NATS server refuses to a node. What is refused to dea.heartbeat shuts the gate.
type NATSRefusal struct {
	Action  string    `json:"action"` // subscribe or publish
	Subject string    `json:"subject"`
	Error   string    `json:"error"` // the server's words
	Since   Timestamp `json:"since"`
	Last    Timestamp `json:"last"`  // when it was refused last
	Count   uint64    `json:"count"` // times from Since on
}

// DesiredStatus is the recorded desired state.
type DesiredStatus struct {
	Fresh     bool      `json:"fresh"`
	Source    string    `json:"source"`
	Apps      int       `json:"apps"`      // that should run
	Instances int       `json:"instances"` // of these apps
	SyncedAt  Timestamp `json:"synced_at"` // when the newest complete read was begun
	Error     string    `json:"error,omitempty"`
}

// ActualStatus is the recorded actual state.
type ActualStatus struct {
	Fresh      bool `json:"fresh"`
	DEAs       int  `json:"deas"`      // not counting those that are gone
	GoneDEAs   int  `json:"gone_deas"` // silent for their whole time to live
	Instances  int  `json:"instances"`
	Starting   int  `json:"starting"`
	Running    int  `json:"running"`
	Crashed    int  `json:"crashed"`
	Evacuating int  `json:"evacuating"`
	Backlog    int  `json:"backlog"` // DEAs whose newest heartbeat is not recorded yet
	// MissedDEAs are those that the answering node, leading, does not hear, and a peer does: they stay on record.
	MissedDEAs int `json:"missed_deas,omitempty"`

	Unreadable Unreadable `json:"unreadable"`
	DoubledIDs int        `json:"doubled_ids"`       // ids that two DEAs use, as far as the answering node can tell
	Doubled    []string   `json:"doubled,omitempty"` // the first few of them
}

// DriftCounts is how many findings there are of each kind, as of the newest pass over the fleet: at most as old as
// twenty times what such a pass takes.
type DriftCounts struct {
	Missing    int `json:"missing"`
	Crashed    int `json:"crashed"`
	Evacuating int `json:"evacuating"`
	Extra      int `json:"extra"`
	Duplicate  int `json:"duplicate"`
	Undesired  int `json:"undesired"`
	// Due are those findings that are acted on now. It is what hm status --exit-code goes by.
	Due int `json:"due"`
}

// Total is how many findings there are.
func (d DriftCounts) Total() int {
	return d.Missing + d.Crashed + d.Evacuating + d.Extra + d.Duplicate + d.Undesired
}

// CommandsStatus counts commands: outstanding ones that are not sent yet, and all that were ever sent.
type CommandsStatus struct {
	PendingStarts int    `json:"pending_starts"`
	PendingStops  int    `json:"pending_stops"`
	SentStarts    uint64 `json:"sent_starts"`
	SentStops     uint64 `json:"sent_stops"`
}

// Queue is the leader's work queue.
type Queue struct {
	Apps int `json:"apps"` // that wait to be evaluated
}

// Hold is a reason to send nothing that stands in the record.
type Hold struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	SetAt  Timestamp `json:"set_at"`
	Until  Timestamp `json:"until"` // null: until it is released
	// StopLimit, if it is not 0, is how many stops are sent in a heartbeat period: such a hold keeps no gate shut.
	StopLimit uint32 `json:"stop_limit,omitempty"`
}

// HoldRequest is the body of POST /v1/holds. At most one of Minutes and Until may be given; with neither the hold
// stands until it is released.
type HoldRequest struct {
	Name    string     `json:"name"` // 1 to 64 printable ASCII bytes without spaces; "paused" is what hm pause sets
	Reason  string     `json:"reason"`
	By      string     `json:"by,omitempty"` // who asks; the user that authenticated counts more
	Minutes float64    `json:"minutes,omitempty"`
	Until   *Timestamp `json:"until,omitempty"` // by the wall clock of the leader
}
