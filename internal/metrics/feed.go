package metrics

// What is heard.
var (
	Heartbeats = &Metric{Name: "hm_heartbeats_received_total", Type: Counter, Unit: "messages",
		Help:   "Heartbeat messages taken in, over NATS, over HTTPS and from peers (HM9000's ReceivedHeartbeats, as a running total).",
		Before: "HM9000 ReceivedHeartbeats; Ruby heartbeat_msgs_received",
		Do:     "Its rate is the number of DEAs divided by the heartbeat period. A lower one means that heartbeats do not arrive."}
	HeartbeatsPosted = &Metric{Name: "hm_heartbeats_posted_total", Type: Counter, Unit: "messages",
		Help: "Of the heartbeat messages taken in, those that DEAs posted to this node over HTTPS.",
		Do:   "Compare the nodes: DEAs that do not find a node post to the others. See heartbeats over HTTPS in docs/operations.md."}
	HeartbeatsRelayed = &Metric{Name: "hm_heartbeats_relayed_total", Type: Counter, Unit: "messages",
		Help: "Of the heartbeat messages taken in, those that DEAs posted to another node, which passed them on.",
		Do:   "The sum with hm_heartbeats_posted_total is about the same on every node. A lower one means that the nodes do not reach each other."}
	PostConnections = &Metric{Name: "hm_heartbeat_connections", Type: Gauge, Unit: "connections",
		Help: "Connections of DEAs over HTTPS.", When: "heartbeats.listen is set",
		Do: "Each DEA keeps one. More than 16,384 have to wait."}
	PostsRefused = &Metric{Name: "hm_heartbeats_refused_total", Type: Counter, Unit: "connections, messages",
		Labels: []Label{{"reason", "certificate, handshake, request, too-large, unreadable, rate, busy"}},
		Help:   "Connections and heartbeats over HTTPS that were refused.", When: "heartbeats.listen is set",
		Do: "certificate: renew it on the DEA, or find out who else connects. Otherwise see heartbeats over HTTPS in docs/operations.md."}
	Relays = &Metric{Name: "hm_heartbeat_relays_total", Type: Counter, Unit: "messages",
		Labels: []Label{{"outcome", "told, refused, late, unreached"}},
		Help:   "Heartbeats that this node got over HTTPS and was to pass on to a peer, once for each peer, by what became of them.",
		When:   "heartbeats.listen is set, and the node has peers",
		Do:     "late or unreached, while the peer runs: the network between the nodes is slow or cut. The peer hears the DEA's next heartbeat."}
	RelayBytes = &Metric{Name: "hm_heartbeat_relay_bytes_total", Type: Counter, Unit: "bytes",
		Help: "Bytes that this node sent to its peers to pass on heartbeats, before TLS.",
		When: "heartbeats.listen is set, and the node has peers",
		Do:   "For planning: a heartbeat that repeats the last one costs 37 bytes, another one its whole length."}
	HeartbeatsSame = &Metric{Name: "hm_heartbeats_unchanged_total", Type: Counter, Unit: "messages",
		Help: "Heartbeat messages that repeated what was recorded.",
		Do:   "For planning: these cost almost nothing. In a quiet fleet nearly all are unchanged."}
	HeartbeatsSuperseded = &Metric{Name: "hm_heartbeats_superseded_total", Type: Counter, Unit: "messages",
		Help: "Heartbeat messages that were not looked at, because the DEA's next one came while they waited.",
		Do: "For planning: more than a few a second mean that instances start in great numbers, or that the node has too little of a processor. " +
			"Nothing is lost: the next heartbeat says everything that this one said."}
	HeartbeatsRejected = &Metric{Name: "hm_heartbeats_rejected_total", Type: Counter, Unit: "messages",
		Help: "Heartbeat messages that could not be understood.",
		Do:   "`hm deas` shows who sends them, `hm dea ID` why they cannot be read."}
	InstancesRejected = &Metric{Name: "hm_heartbeat_instances_rejected_total", Type: Counter, Unit: "entries",
		Help: "Instances left out of heartbeats because a field was missing or wrong.",
		Do:   "The same: `hm deas` and `hm dea ID`."}
	InstancesUnplaced = &Metric{Name: "hm_heartbeat_instances_unplaced_total", Type: Counter, Unit: "entries",
		Help: "Of the instances left out of heartbeats, those that name an app and lack a readable index or instance.",
		Do:   "hm may start nothing for such an app: `hm explain APP` shows the entry as unplaced."}
	UnknownStates = &Metric{Name: "hm_heartbeat_instances_unknown_state_total", Type: Counter, Unit: "entries",
		Help: "Instances in heartbeats in a state that hm does not know.",
		Do:   "Find out which DEAs send it: a DEA of another kind or version."}
	UnreadableDEAs = &Metric{Name: "hm_unreadable_deas", Type: Gauge, Unit: "DEAs",
		Help: "DEAs with something that cannot be read in their newest messages.",
		Do:   "Repair or drain them: see heartbeats that hm cannot read in docs/operations.md."}
	Unreadable = &Metric{Name: "hm_unreadable", Type: Gauge, Unit: "entries, messages",
		Labels: []Label{{"kind", "entry, unplaced, unknown_state, message"}},
		Help:   "What cannot be read in the newest messages of the DEAs, by kind: entries that are left out of heartbeats, those of them that name an app, entries in unknown states, and messages since the last one that could be decoded.",
		Do:     "The kind decides what hm does meanwhile: docs/operations.md has a table."}
	Doubled = &Metric{Name: "hm_doubled_dea_ids", Type: Gauge, Unit: "DEA ids",
		Help: "Ids that two DEAs use.",
		Do:   "Restart one of the two: a DEA gets a new id when it starts."}
	Exits = &Metric{Name: "hm_exits_received_total", Type: Counter, Unit: "messages",
		Help: "droplet.exited messages taken in.", Before: "Ruby droplet_exited_msgs_received",
		Do: "A storm without crashes is a deployment or a drain."}
	ExitsRejected = &Metric{Name: "hm_exits_rejected_total", Type: Counter, Unit: "messages",
		Help: "droplet.exited messages that could not be understood.",
		Do:   "Nothing is lost: the next heartbeat says the same. The log has a sample of them."}
	Updates = &Metric{Name: "hm_updates_received_total", Type: Counter, Unit: "messages",
		Help: "droplet.updated messages taken in.", Before: "Ruby droplet_updated_msgs_received",
		Do: "0 for long means that the Cloud Controller does not announce changes; hm then learns of them by its reads."}
	HeardDEAs = &Metric{Name: "hm_heard_deas", Type: Gauge, Unit: "DEAs",
		Help: "DEAs that this node has heard within the last time to live.",
		Do:   "Compare the nodes. One that hears fewer is on the wrong side of a broken route of NATS."}
	MissedDEAs = &Metric{Name: "hm_missed_deas", Type: Gauge, Unit: "DEAs",
		Help: "DEAs that this node, as leader, does not hear and a peer does.",
		Do:   "Repair the route between the NATS servers. The leader hands over to a node that hears more."}
	Other = &Metric{Name: "hm_other_messages_total", Type: Counter, Unit: "messages",
		Help: "Messages with commands of another health manager that were heard in shadow mode.", When: "commands.mode is shadow",
		Do: "`hm commands compare` says how far hm and the other agree."}
	OtherRejected = &Metric{Name: "hm_other_messages_rejected_total", Type: Counter, Unit: "messages",
		Help: "Messages with commands of another health manager that could not be understood.", When: "commands.mode is shadow",
		Do: "They are missing in the comparison. The log has a sample of them."}
	OtherHeard = &Metric{Name: "hm_other_heard", Type: Gauge, Unit: "1 or 0",
		Help: "1 if this node, in shadow mode, hears the commands of another health manager.", When: "commands.mode is shadow",
		Do: "0: the link is down, or NATS refuses the subjects; `hm status` says which."}
)

var feedSection = Section{Title: "What is heard",
	Text:    "Messages of the DEAs and the Cloud Controller. Each node counts what it hears itself.",
	Metrics: []*Metric{Heartbeats, HeartbeatsPosted, HeartbeatsRelayed, PostConnections, PostsRefused, Relays, RelayBytes, HeartbeatsSame, HeartbeatsSuperseded, HeartbeatsRejected, InstancesRejected, InstancesUnplaced, UnknownStates, UnreadableDEAs, Unreadable, Doubled, Exits, ExitsRejected, Updates, HeardDEAs, MissedDEAs, Other, OtherRejected, OtherHeard}}

// The NATS link.
var (
	NATSUp = &Metric{Name: "hm_nats_connected", Type: Gauge, Unit: "1 or 0",
		Help: "1 if this node's link to NATS is up.",
		Do:   "0 on all nodes: NATS is away, and hm waits. 0 on one: its network, or its credentials."}
	NATSLag = &Metric{Name: "hm_nats_lag_seconds", Type: Gauge, Unit: "seconds",
		Help: "How long a message takes from its sender to this node; missing if that is not known.", When: "the lag is known",
		Do: "From half a heartbeat on nothing expires; above a whole one the gate closes (nats-late). Look for load on NATS, the network and this node."}
	NATSProved = &Metric{Name: "hm_nats_proved_age_seconds", Type: Gauge, Unit: "seconds",
		Help: "For how long it has not been certain that the link is alive: the time since a message of this node to itself was sent that came back; missing if none ever did.",
		When: "a message of the node to itself came back", Do: "About 0.25 on a link that works. It grows on a connection that hangs."}
	NATSOutages = &Metric{Name: "hm_nats_outages_total", Type: Counter, Unit: "outages",
		Help: "Times that the link went down.",
		Do:   "A link that comes and goes keeps the gate closed for a freshness window each time."}
	NATSMoves = &Metric{Name: "hm_nats_moves_total", Type: Counter, Unit: "moves",
		Help: "Times that the link moved, without a gap, from a server that shuts down to another.",
		Do:   "Nothing: this is a server in lame duck mode."}
	NATSGaps = &Metric{Name: "hm_nats_gaps_total", Type: Counter, Unit: "gaps",
		Help: "Times that messages were lost while the link was up.",
		Do:   "The node is too slow to take in what NATS sends: give it more processor time."}
	NATSDropped = &Metric{Name: "hm_nats_dropped_messages_total", Type: Counter, Unit: "messages",
		Help: "Messages lost while the link was up.",
		Do:   "The same."}
	NATSRefused = &Metric{Name: "hm_nats_refused_total", Type: Counter, Unit: "refusals",
		Labels: []Label{{"action", "subscribe, publish"}, {"subject", "a NATS subject that hm uses"}},
		Help:   "Times that the NATS server refused a subject to this node, or a message that was too large.", When: "the server has refused something",
		Do: "Grant the subject to the user in nats.username: see what NATS refuses in docs/operations.md."}
)

var natsSection = Section{Title: "The NATS link", Text: "Each node has a link of its own.",
	Metrics: []*Metric{NATSUp, NATSLag, NATSProved, NATSOutages, NATSMoves, NATSGaps, NATSDropped, NATSRefused}}
