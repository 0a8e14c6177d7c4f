package api

// DriftItem is one finding in GET /v1/drift.
type DriftItem struct {
	App      string    `json:"app"`
	Version  string    `json:"version"`
	Index    uint32    `json:"index"`
	Instance string    `json:"instance"` // empty for an index without a live instance
	Kind     string    `json:"kind"`     // missing, crashed, evacuating, extra, duplicate, undesired, foreign
	Rule     string    `json:"rule"`
	Action   string    `json:"action"`  // start, stop or none
	Due      Timestamp `json:"due"`     // null with action none
	HeldBy   []string  `json:"held_by"` // the reasons of the closed gate; never null
	Detail   string    `json:"detail"`  // for people: what it waits for and why

	Bucket  string `json:"bucket"`            // start, stop, wait, hold
	Reason  string `json:"reason,omitempty"`  // of the command: MISSING, CRASHED, ...
	DEA     string `json:"dea,omitempty"`     // where Instance is
	Command string `json:"command,omitempty"` // id of the outstanding command
}

// Command is one start or stop command in GET /v1/commands.
type Command struct {
	ID        string    `json:"id"`
	Action    string    `json:"action"` // start or stop
	App       string    `json:"app"`
	Version   string    `json:"version"`
	Index     uint32    `json:"index"`
	Instance  string    `json:"instance"` // of a stop
	Reason    string    `json:"reason"`
	Priority  float64   `json:"priority"`
	CreatedAt Timestamp `json:"created_at"`
	DueAt     Timestamp `json:"due_at"`
	State     string    `json:"state"` // pending, claimed, sent, confirmed, expired, dropped, abandoned
	SentAt    Timestamp `json:"sent_at"`
	EndedAt   Timestamp `json:"ended_at"`
	Detail    string    `json:"detail"` // why it ended, or why it was claimed and not published
	// WaitsFor says, for people, what an outstanding command waits for.
	WaitsFor string `json:"waits_for,omitempty"`
}

// AppItem sums up one app (one droplet in one version) in GET /v1/apps.
type AppItem struct {
	App       string         `json:"app"`
	Version   string         `json:"version"`
	Desired   *Desired       `json:"desired"` // null if it is not in the desired state
	Instances InstanceCounts `json:"instances"`
	Drift     int            `json:"drift"` // findings
	// Kinds counts the findings by kind; missing without drift.
	Kinds map[string]int `json:"kinds,omitempty"`
	// Crashes counts the crashes that count now, of all indices together: those of a series that is forgotten do not.
	Crashes uint64 `json:"crashes,omitempty"`
	Verdict string `json:"verdict"` // sums the findings up, for people
}

// Desired is what the Cloud Controller wants of an app.
type Desired struct {
	State        string `json:"state"`         // STARTED or STOPPED
	PackageState string `json:"package_state"` // PENDING, STAGED or FAILED
	Instances    uint32 `json:"instances"`
}

// InstanceCounts counts recorded instances by state.
type InstanceCounts struct {
	Starting   int `json:"starting"`
	Running    int `json:"running"`
	Crashed    int `json:"crashed"`
	Evacuating int `json:"evacuating"`
	Unknown    int `json:"unknown,omitempty"`  // in a state that hm does not know
	Stopping   int `json:"stopping,omitempty"` // on their way out
}

// Instance is one recorded instance.
type Instance struct {
	App      string    `json:"app,omitempty"` // left out where the context gives it
	Version  string    `json:"version,omitempty"`
	Index    uint32    `json:"index"`
	Instance string    `json:"instance"`
	State    string    `json:"state"` // STARTING, RUNNING, CRASHED, EVACUATING, STOPPING or UNKNOWN
	Since    Timestamp `json:"since"` // by the DEA's own clock; only shown
	DEA      string    `json:"dea,omitempty"`
	// LastHeard is when the answering node last heard the DEA.
	LastHeard Timestamp `json:"last_heard"`
	// RecordedAt is when the instance was recorded in this state.
	RecordedAt Timestamp `json:"recorded_at"`
	// Crash of a crashed instance: new, counted (a restart was scheduled for it) or answered (another instance was
	// live at the index after it). Empty for others.
	Crash string `json:"crash,omitempty"`
}

// CrashRecord is the crash series of an index.
type CrashRecord struct {
	Index     uint32    `json:"index"`
	Count     uint32    `json:"count"`     // restarts in this series
	Effective uint32    `json:"effective"` // crashes that count now: fewer after a healthy run, none once the series is forgotten
	First     Timestamp `json:"first"`
	Last      Timestamp `json:"last"`
	Instance  string    `json:"instance"`             // the crashed instance that was counted last
	Exited    string    `json:"exited,omitempty"`     // an instance that exited before any heartbeat showed it, and is not counted yet
	ExitedBy  string    `json:"exited_by,omitempty"`  // CRASHED, DEA_SHUTDOWN or DEA_EVACUATION
	Answered  bool      `json:"answered"`             // another instance has been live at the index since the newest counted crash
	Tries     uint32    `json:"tries"`                // starts that had no effect since the index was last heard of
	TriedAt   Timestamp `json:"tried_at"`             // when the newest of these was sent
	BackoffMS int64     `json:"backoff_ms"`           // delay of the restart after the next crash
	Forgotten Timestamp `json:"forgotten_at"`         // when the series is forgotten unless the index crashes
	RunningMS int64     `json:"running_ms,omitempty"` // healthy running time since the last restart
}

// App is the answer to GET /v1/apps/{guid}.
type App struct {
	App      string       `json:"app"`
	Versions []AppVersion `json:"versions"` // sorted by version
	Basis    Basis        `json:"basis"`
}

// AppVersion is everything that is recorded of one version of an app. It lists at most maxDetail instances and as many
// findings; Truncated says that there are more. The parameter index selects one index.
type AppVersion struct {
	Version   string         `json:"version"`
	Desired   *Desired       `json:"desired"`
	Counts    InstanceCounts `json:"counts"`
	Instances []Instance     `json:"instances"` // sorted by index
	Crashes   []CrashRecord  `json:"crashes"`
	Commands  []Command      `json:"commands"` // outstanding
	Drift     []DriftItem    `json:"drift"`
	Truncated bool           `json:"truncated,omitempty"`
}

// DEA sums up one DEA in GET /v1/deas; GET /v1/deas/{id} adds its instances and a basis.
type DEA struct {
	DEA       string    `json:"dea"`
	Count     int       `json:"count"`      // of instances
	FirstSeen Timestamp `json:"first_seen"` // when it was first recorded
	ChangedAt Timestamp `json:"changed_at"` // when its record last changed
	LastHeard Timestamp `json:"last_heard"` // by the answering node; null if never
	GoneAt    Timestamp `json:"gone_at"`    // null unless it is gone
	// State is gone (recorded as silent for its whole time to live), doubled (two DEAs use the id), silent (the answering
	// node has not heard it for a time to live), unreadable (parts of its messages) or heard: the first that is true.
	State string `json:"state"`
	// HeardByPeer says of a silent DEA that a peer hears it: it stays recorded. Only the leader knows that.
	HeardByPeer bool `json:"heard_by_peer,omitempty"`
	// States counts the recorded instances by state.
	States InstanceCounts `json:"states"`
	// Unreadable is missing if everything can be read.
	Unreadable   *DEAUnreadable `json:"unreadable,omitempty"`
	DoubledSince Timestamp      `json:"doubled_since,omitzero"` // since when two DEAs use the id; missing unless they do
	Instances    []Instance     `json:"instances,omitempty"`    // sorted by app, version and index
	Basis        *Basis         `json:"basis,omitempty"`
}
