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
	CC       *CC            `json:"cc,omitempty"` // the Cloud Controller to which commands are posted; missing if they go over NATS
	Desired  DesiredStatus  `json:"desired"`
	Actual   ActualStatus   `json:"actual"`
	Drift    DriftCounts    `json:"drift"`
	Commands CommandsStatus `json:"commands"`
	Queue    Queue          `json:"queue"`
	Holds    []Hold         `json:"holds"`
	TLS      []TLSFiles     `json:"tls,omitempty"` // the certificates of the answering node; missing without TLS
	Hash     string         `json:"state_hash"`    // equal on all nodes at the same index
	Basis    Basis          `json:"basis"`
}

// Cluster is the Raft cluster as the answering node sees it.
type Cluster struct {
	ID     string        `json:"id,omitempty"` // names the cluster for ever; missing while it has none
	Leader string        `json:"leader"`       // node id; empty if none is known
	Term   uint64        `json:"term"`
	Nodes  []ClusterNode `json:"nodes"` // sorted by id
}

// ClusterNode is one member. What a member reports itself (NATS, AppliedIndex, Hears, Version and so on) is null or missing
// while it has not been heard.
type ClusterNode struct {
	ID           string  `json:"id"`
	Address      string  `json:"address"` // of its Raft port
	State        string  `json:"state"`   // leader, follower, candidate or unreachable
	Voter        bool    `json:"voter"`
	Healthy      bool    `json:"healthy"`
	Problem      string  `json:"problem,omitempty"` // what is wrong with the member, as it reports itself or as the answering node sees it: its disk, its address
	NATS         *bool   `json:"nats"`              // whether its own link to NATS is up
	AppliedIndex *uint64 `json:"applied_index"`
	Hears        *int    `json:"hears"` // DEAs that it has heard within the last time to live
	API          string  `json:"api,omitempty"`
	Gate         string  `json:"gate,omitempty"` // open, or why its gate is closed
	Version      string  `json:"version,omitempty"`
	// Kinds is the highest kind of log record that its version knows. A kind that some voter does not know is not used.
	Kinds uint32 `json:"kinds,omitempty"`
	// SnapshotFormat is the newest format of snapshots that its version reads.
	SnapshotFormat uint32 `json:"snapshot_format,omitempty"`
	// NATSRefused says what its NATS server refuses to it, and the Cloud Controller to which it posts commands, in a line
	// for each subject and each action.
	NATSRefused string `json:"nats_refused,omitempty"`
	// Fault says what is wrong with its record, as it reports itself; missing if nothing is.
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
	Connected bool   `json:"connected"`
	Server    string `json:"server"` // where it is connected, or was last
	// ServerName is how that server calls itself; several may be behind one address.
	ServerName string `json:"server_name,omitempty"`
	// Error is why the link is down: the address of the newest attempt, and its error. It is missing while the link is up.
	Error   string    `json:"error,omitempty"`
	Since   Timestamp `json:"since"` // since when it has been up without a gap, or down
	Outages uint64    `json:"outages"`
	Gaps    uint64    `json:"gaps"` // how often messages were lost while it was up
	// Moves is how often the link moved, without a gap, from a server that shuts down to another one.
	Moves uint64 `json:"moves"`
	// Lag is how long a message takes to this node, in seconds; null if that is not known.
	Lag *float64 `json:"lag"`
	// LagRefused is the error of the server that makes the lag unknown.
	LagRefused string `json:"lag_refused,omitempty"`
	// Refused has the subjects that the server refuses to this node; never null.
	Refused []NATSRefusal `json:"refused"`
}

// NATSRefusal is one subject that a NATS server refuses to a node. A refused subscription to dea.heartbeat closes the
// gate.
type NATSRefusal struct {
	Action  string    `json:"action"` // subscribe or publish
	Subject string    `json:"subject"`
	Error   string    `json:"error"` // as the server gives it
	Since   Timestamp `json:"since"`
	Last    Timestamp `json:"last"`  // when it was refused last
	Count   uint64    `json:"count"` // how often since Since
}

// CC is what the answering node knows of the Cloud Controller to which it posts commands (commands.protocol: http).
type CC struct {
	URL string `json:"url"` // commands.cc_url
	// Reachable says whether it answers; null on a node that does not lead, and on a leader that has no answer yet.
	Reachable *bool       `json:"reachable"`
	Since     Timestamp   `json:"since"`           // since when it has been so
	Error     string      `json:"error,omitempty"` // of the newest failure since its last answer
	Refused   []CCRefusal `json:"refused"`         // actions of which it takes no command; never null
}

// CCRefusal says that the Cloud Controller takes no commands of an action: the credentials or the URL are wrong.
type CCRefusal struct {
	Action string    `json:"action"` // start or stop
	Error  string    `json:"error"`  // its answer, and what to do
	Since  Timestamp `json:"since"`  // when it refused one first
	Last   Timestamp `json:"last"`   // when it refused one last
	Count  uint64    `json:"count"`  // how often since Since
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
	// MissedDEAs counts DEAs that the answering node, as leader, does not hear and a peer does. They stay recorded.
	MissedDEAs int `json:"missed_deas,omitempty"`

	Unreadable Unreadable `json:"unreadable"`        // what the answering node cannot read
	DoubledIDs int        `json:"doubled_ids"`       // ids that two DEAs use, as far as the answering node knows
	Doubled    []string   `json:"doubled,omitempty"` // the first few of them
}

// DriftCounts counts the findings of each kind in the newest pass over the fleet. A pass is used for up to twenty
// times as long as it took, and one that takes long for up to 30 s while another one is made.
type DriftCounts struct {
	Missing    int `json:"missing"`
	Crashed    int `json:"crashed"`
	Evacuating int `json:"evacuating"`
	Extra      int `json:"extra"`
	Duplicate  int `json:"duplicate"`
	Undesired  int `json:"undesired"`
	// Foreign counts instances that may be another cell's (R65). hm leaves them alone; they are no drift.
	Foreign int `json:"foreign,omitempty"`
	// Due counts the findings that hm acts on now. hm status --exit-code uses it.
	Due int `json:"due"`
	// AgeMS is how long before the answer's basis the findings were counted, in milliseconds. It is missing if nothing was
	// recorded since. A large fleet is not counted for each answer.
	AgeMS int64 `json:"age_ms,omitempty"`
}

// Total is the number of all findings.
func (d DriftCounts) Total() int {
	return d.Missing + d.Crashed + d.Evacuating + d.Extra + d.Duplicate + d.Undesired
}

// CommandsStatus counts the outstanding commands that are not sent yet, and all commands that were ever sent.
type CommandsStatus struct {
	PendingStarts int    `json:"pending_starts"`
	PendingStops  int    `json:"pending_stops"`
	SentStarts    uint64 `json:"sent_starts"`
	SentStops     uint64 `json:"sent_stops"`
}

// Queue says what hm still has to do. Waiting, Since and ByCause come from the pass over the fleet that also counts the
// drift.
type Queue struct {
	// Apps counts apps that changed and wait to be evaluated. Only the leader evaluates; while its gate is closed they
	// become more.
	Apps int `json:"apps"`
	// Waiting counts apps that drift and whose command is not sent yet.
	Waiting int `json:"waiting"`
	// Since is when the first of them began to be late: when the gate closed, or when its command became due. null:
	// none is late.
	Since Timestamp `json:"since"`
	// ByCause counts the waiting apps by what they wait for: the reasons of a closed gate, or due, start-limit,
	// stop-limit, grace, back-off, staging, canary, starts-first, other-stop, quiet-dea, newer-read, replacement,
	// duplicate-grace, no-effect, unknown-state, unplaced. An app may wait for several. Never null.
	ByCause map[string]int `json:"by_cause"`
	// Draining is missing unless the answering node leads, and works off what waited when its gate opened.
	Draining *Draining `json:"draining,omitempty"`
}

// Draining says what became of the commands that were to be sent when the leader's gate opened.
type Draining struct {
	Since          Timestamp `json:"since"`            // when the gate opened
	Waiting        int       `json:"waiting"`          // not settled yet
	HealedByItself int       `json:"healed_by_itself"` // the drift was gone before the command was sent
	StartsSent     int       `json:"starts_sent"`      // in shadow mode: decided
	StopsSent      int       `json:"stops_sent"`       // in shadow mode: decided
	Dropped        int       `json:"dropped"`          // the desired state changed before the command was sent
	StillWaiting   int       `json:"still_waiting"`    // for something that may last: a back-off, an instance that hm cannot read
}

// Hold is a recorded reason to send nothing.
type Hold struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	SetAt  Timestamp `json:"set_at"`
	Until  Timestamp `json:"until"` // null: until it is released
	// StopLimit, if it is not 0, is how many stops may be sent in a heartbeat period. Such a hold does not close the
	// gate.
	StopLimit uint32 `json:"stop_limit,omitempty"`
}

// HoldRequest is the body of POST /v1/holds. It has at most one of Minutes and Until; with neither the hold lasts
// until it is released.
type HoldRequest struct {
	Name    string     `json:"name"` // 1 to 64 printable ASCII bytes without spaces; "paused" is what hm pause sets
	Reason  string     `json:"reason"`
	By      string     `json:"by,omitempty"`      // who asks; added to the user that authenticated, if there is one
	Minutes float64    `json:"minutes,omitempty"` // how long it lasts, in minutes
	Until   *Timestamp `json:"until,omitempty"`   // by the wall clock of the leader
}
