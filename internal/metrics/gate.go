package metrics

// The gate and the holds.
var (
	GateOpen = &Metric{Name: "hm_gate_open", Type: Gauge, Unit: "1 or 0",
		Help: "1 if this node may send commands.",
		Do:   "The sum over the nodes is 1: only a leader's gate opens. If it is 0 for some minutes, look at hm_gate_closed."}
	GateClosed = &Metric{Name: "hm_gate_closed", Type: Gauge, Unit: "1 or 0",
		Labels: []Label{{"reason", "a gate reason; docs/operations.md has them all"}},
		Help:   "1 for each reason that closes the gate of this node.",
		Do:     "Look the reason up in the table of gate reasons in docs/operations.md."}
	HoldSeconds = &Metric{Name: "hm_hold_seconds", Type: Gauge, Unit: "seconds",
		Labels: []Label{{"hold", "the name of a hold"}},
		Help:   "For how long each hold has been in force.", When: "a hold is in force",
		Do: "A hold waits for a person: `hm status` says why it is set, `hm release NAME` ends it."}
	CCReachable = &Metric{Name: "hm_cc_reachable", Type: Gauge, Unit: "1 or 0",
		Help: "1 if the Cloud Controller answers this node, which leads and posts commands to it.",
		When: "commands.protocol is http, and this node leads",
		Do:   "0: the gate is closed (cc-unreachable). `hm status` has the error: look at commands.cc_url, the Cloud Controller and the network."}
	StateDiffers = &Metric{Name: "hm_state_differs", Type: Gauge, Unit: "1 or 0",
		Help: "1 if this node's recorded state differs from that of its peers at the same index, or it is not known whose is right.",
		Do:   "This is a bug or damage: see the section on damage in docs/operations.md, and report it."}
	StoreDamaged = &Metric{Name: "hm_store_damaged", Type: Gauge, Unit: "1 or 0",
		Help: "1 if this node found its store damaged, and has not yet taken the whole record from its peers.",
		Do:   "Check the disk. The node heals itself from its peers if a majority is up."}
)

var gateSection = Section{Title: "The gate", Text: "Whether this node may send commands, and if not, why.",
	Metrics: []*Metric{GateOpen, GateClosed, HoldSeconds, CCReachable, StateDiffers, StoreDamaged}}

// What waits.
var (
	Queue = &Metric{Name: "hm_queue_apps", Type: Gauge, Unit: "apps",
		Help: "Apps that wait to be evaluated.", Before: "Ruby queue_length",
		Do: "On a leader with an open gate it is near 0. If it stays high, the node has too little processor time."}
	Waiting = &Metric{Name: "hm_queue_waiting_apps", Type: Gauge, Unit: "apps",
		Labels: []Label{{"cause", "a gate reason, or due, start-limit, stop-limit, grace, back-off and others; docs/operations.md has them all"}},
		Help:   "Apps that drift and whose command is not sent yet, by what they wait for. An app may wait for several.",
		Do:     "It says what the drift waits for. `start-limit` for long: raise policy.start_limit if the DEAs can take more."}
	Late = &Metric{Name: "hm_queue_late_seconds", Type: Gauge, Unit: "seconds",
		Help: "How long the first of the waiting apps has been late: since the gate closed, or since its command became due. 0: none is late.",
		Do:   "If it grows while the gate is open, a limit is too low."}
	Draining = &Metric{Name: "hm_queue_draining_commands", Type: Gauge, Unit: "commands",
		Help: "Commands that this node, as leader, had to send when its gate opened and that are not settled yet.",
		Do:   "After an outage it goes down to 0. `hm status` shows of what kinds they are."}
	Backlog = &Metric{Name: "hm_backlog_deas", Type: Gauge, Unit: "DEAs",
		Help: "DEAs whose newest heartbeat is not recorded yet.",
		Do:   "It is near 0 but for a cold start. If it stays high, the log cannot follow: look at hm_proposal_seconds and the disk."}
)

var queueSection = Section{Title: "What waits", Text: "Work that is not done yet.",
	Metrics: []*Metric{Queue, Waiting, Late, Draining, Backlog}}
