package api

// Explanation is the answer to GET /v1/apps/{guid}/explain: for every index what is desired, what is recorded, and
// what hm decides by which rule.
type Explanation struct {
	App      string             `json:"app"`
	Versions []ExplainedVersion `json:"versions"`
	Gate     Gate               `json:"gate"`
	Reads    Reads              `json:"reads"`
	Basis    Basis              `json:"basis"`
}

// Reads says how recent the desired state is.
type Reads struct {
	Began    Timestamp `json:"began"`     // when the newest complete read was begun
	Failing  bool      `json:"failing"`   // the newest attempt failed
	UnderWay bool      `json:"under_way"` // a newer one is under way, as far as the node that answers knows
	Error    string    `json:"error,omitempty"`
}

// ExplainedVersion is one version of the app.
type ExplainedVersion struct {
	Version        string           `json:"version"`
	Desired        *Desired         `json:"desired"`
	DesiredVersion string           `json:"desired_version,omitempty"` // the desired version, if it is another one
	GrewAt         Timestamp        `json:"grew_at"`                   // when an instance was last added to the record
	Verdict        string           `json:"verdict"`                   // a summary in a line, for people
	Unplaced       *UnplacedEntries `json:"unplaced,omitempty"`        // entries that may be instances of it at an unknown index
	Indices        []ExplainedIndex `json:"indices"`
	Truncated      bool             `json:"truncated,omitempty"` // more indices than are listed
}

// ExplainedIndex is one index of an app. Every recorded instance at the index has exactly one finding. So has the index
// itself, if it is desired and has no live instance.
type ExplainedIndex struct {
	Index     uint32       `json:"index"`
	Instances []Instance   `json:"instances"`
	Crash     *CrashRecord `json:"crash,omitempty"` // the crash series of the index, if it has one
	Commands  []Command    `json:"commands"`        // outstanding
	Findings  []Finding    `json:"findings"`
}

// Finding is the decision about one instance, or about one index without a live instance.
type Finding struct {
	Bucket   string    `json:"bucket"` // keep, start, stop, wait, hold
	Kind     string    `json:"kind"`   // empty with keep
	Rule     string    `json:"rule"`   // empty for an instance that is simply as desired
	RuleText string    `json:"rule_text,omitempty"`
	Action   string    `json:"action"`
	Reason   string    `json:"reason,omitempty"`
	Instance string    `json:"instance"`
	DEA      string    `json:"dea,omitempty"`
	Due      Timestamp `json:"due"`
	DueInMS  int64     `json:"due_in_ms,omitempty"`
	WaitsFor string    `json:"waits_for,omitempty"`
	Command  string    `json:"command,omitempty"`
	Priority float64   `json:"priority,omitempty"`
	HeldBy   []string  `json:"held_by"`
	Detail   string    `json:"detail"`
	Evidence string    `json:"evidence,omitempty"` // for people: the first part of Detail, what drift rests on
}
