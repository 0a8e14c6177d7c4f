package faulttest

import (
	"time"

	"hm/internal/app"
)

// Record is everything that the judge knows of a run. All times are since the begin of the run.
type Record struct {
	Seed   uint64 `json:"seed"`
	Policy Policy `json:"policy"`
	// Stalls are the times in which the bench itself did not run: what it noticed then happened earlier.
	Stalls []Span `json:"stalls"`

	Commands []Command                `json:"commands"` // in the order in which they were sent
	Rows     map[app.GUID][]RowChange `json:"rows"`     // of each droplet, in the order of time
	Lives    map[app.GUID]*Life       `json:"lives"`    // of each instance
	Exits    []Exit                   `json:"exits"`    // in the order in which they were heard
	Beats    []time.Duration          `json:"beats"`    // when any DEA's heartbeat was heard

	Nodes map[string]*NodeRecord `json:"nodes"`
	// Outages are the times in which the NATS server accepted no connection of a node.
	Outages []Span `json:"outages"`
	// Deaf are further times in which no node could hear anything.
	Deaf    []Span     `json:"deaf"`
	Doubled []Doubling `json:"doubled"`
	// Paused are the times between the answer to a pause and the request to end it.
	Paused []Span `json:"paused"`

	Healed    time.Duration   `json:"healed"`    // when the last fault had ended
	Converged time.Duration   `json:"converged"` // when the DEAs ran what the Cloud Controller wants; 0: never
	Watched   time.Duration   `json:"watched"`   // until when the bench waited for that
	Hashes    map[string]Hash `json:"hashes"`    // of each node, in the end

	Requests uint64    `json:"requests"` // that users sent to apps
	Refused  []Refusal `json:"refused"`  // those without an answer, although an instance served all the while
}

// Policy is the part of hm's policy by which commands are judged.
type Policy struct {
	Period     time.Duration `json:"period"` // of the heartbeats
	TTL        time.Duration `json:"ttl"`
	Freshness  time.Duration `json:"freshness"`
	Grace      time.Duration `json:"grace"`
	DesiredTTL time.Duration `json:"desired_ttl"`
	Lease      time.Duration `json:"lease"` // of the leader
	MassLoss   float64       `json:"mass_loss"`
	LossHold   time.Duration `json:"loss_hold"`
	Bound      time.Duration `json:"bound"` // see Settings.Bound
}

// Span is a time from From on, and before Until. Until 0: it has not ended.
type Span struct {
	From  time.Duration `json:"from"`
	Until time.Duration `json:"until"`
}

// holds reports whether at is in the span.
func (s Span) holds(at time.Duration) bool { return s.From <= at && (s.Until == 0 || at < s.Until) }

// Doubling is a time in which somebody else used the id of a DEA.
type Doubling struct {
	Span
	DEA string `json:"dea"`
}

// Command is one start or stop as a node sent it to NATS.
type Command struct {
	At       time.Duration `json:"at"`
	ID       string        `json:"id"`
	Stop     bool          `json:"stop"`
	App      app.Key       `json:"app"`
	Index    uint32        `json:"index"`
	Instance app.GUID      `json:"instance,omitzero"` // of a stop
	Node     string        `json:"node"`              // that sent it; empty: the bench only heard it
	LinkAge  time.Duration `json:"link_age"`          // how old that node's connection to NATS was

	// What the Cloud Controller found when the command arrived there. Arrived 0: it did not.
	Arrived  time.Duration `json:"arrived"`
	Accepted bool          `json:"accepted"`
	Harmful  bool          `json:"harmful"` // it ended the last live instance of a wanted index
}

func (c Command) place() place { return place{c.App, c.Index} }

// place is an index of an app.
type place struct {
	app   app.Key
	index uint32
}

// RowChange is a droplet's row at the Cloud Controller from a time on.
type RowChange struct {
	At        time.Duration `json:"at"`
	Exists    bool          `json:"exists"`
	Version   app.GUID      `json:"version"`
	Instances uint32        `json:"instances"`
	Started   bool          `json:"started"`
	Staged    bool          `json:"staged"`
	Failed    bool          `json:"failed"` // to stage
}

// wants reports whether the row wants an index to run, staged or not.
func (r RowChange) wants(p place) bool {
	return r.Exists && r.Started && !r.Failed && r.Version == p.app.Version && p.index < r.Instances
}

// Life is the life of one instance. Between Born and Live it was live without a doubt; from Ended on, if that is not 0,
// it was not live.
type Life struct {
	App   app.Key       `json:"app"`
	Index uint32        `json:"index"`
	Born  time.Duration `json:"born"`
	Live  time.Duration `json:"live"`
	Ended time.Duration `json:"ended"`
	// Evacuating is when it was first seen to evacuate; 0: never.
	Evacuating time.Duration `json:"evacuating"`
	DEA        string        `json:"dea"`   // that told of it last
	Heard      []Hearing     `json:"heard"` // the heartbeats with it, in the order of time
}

func (l *Life) place() place { return place{l.App, l.Index} }

// Hearing is a heartbeat with an instance.
type Hearing struct {
	At    time.Duration `json:"at"`
	State string        `json:"state"`
}

func (h Hearing) live() bool { return h.State == "RUNNING" || h.State == "STARTING" }

// Exit is a droplet.exited.
type Exit struct {
	At       time.Duration `json:"at"`
	App      app.Key       `json:"app"`
	Index    uint32        `json:"index"`
	Instance app.GUID      `json:"instance"`
	Reason   string        `json:"reason"`
}

// Refusal is a user's request that no instance answered.
type Refusal struct {
	At     time.Duration `json:"at"`
	App    app.GUID      `json:"app"`
	Detail string        `json:"detail"`
}

// NodeRecord is what happened to a node.
type NodeRecord struct {
	// Weak are the times in which it may not have heard the DEAs, or may not have recorded what it heard: it did not
	// run, had no link, did not reach its peers, or had not yet recovered from that.
	Weak []Span `json:"weak"`
	// Deaf are the times in which it surely did not hear the DEAs.
	Deaf   []Span `json:"deaf"`
	CutOff []Span `json:"cut_off"` // the bench let nothing pass between it and its peers
	// Ended says how its process ended by itself, in a line each.
	Ended []string `json:"ended"`
}

// Hash is the state of a node at an index.
type Hash struct {
	Index uint64 `json:"index"`
	Hash  string `json:"hash"`
}
