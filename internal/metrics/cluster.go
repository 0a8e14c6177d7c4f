package metrics

// The cluster and its log.
var (
	Leader = &Metric{Name: "hm_raft_leader", Type: Gauge, Unit: "1 or 0",
		Help: "1 if this node leads.",
		Do:   "The sum over the nodes is 1. It may be 2 for less than a second while a leader is replaced."}
	LeaderKnown = &Metric{Name: "hm_raft_leader_known", Type: Gauge, Unit: "1 or 0",
		Help: "1 if a leader is known.",
		Do:   "0 on all nodes: a majority is down or cannot reach each other. Start the missing nodes."}
	Term = &Metric{Name: "hm_raft_term", Type: Gauge, Unit: "terms",
		Help: "Raft term.",
		Do:   "If it grows again and again, the nodes lose each other: look at the network and at the load of the machines."}
	Index = &Metric{Name: "hm_raft_applied_index", Type: Gauge, Unit: "entries",
		Help: "Raft index of the newest entry in the recorded state.",
		Do:   "Its rate is how much changes. A node whose index stays behind the others' does not follow."}
	CommitIndex = &Metric{Name: "hm_raft_commit_index", Type: Gauge, Unit: "entries",
		Help: "Raft index of the newest entry that this node knows a majority has stored.",
		Do:   "If hm_raft_applied_index stays behind it, applying is slow: look at hm_apply_seconds."}
	LastIndex = &Metric{Name: "hm_raft_last_index", Type: Gauge, Unit: "entries",
		Help: "Raft index of the newest entry that this node has stored.",
		Do:   "If hm_raft_commit_index stays behind it on the leader, no majority stores what the leader writes."}
	SnapshotIndex = &Metric{Name: "hm_raft_snapshot_index", Type: Gauge, Unit: "entries",
		Help: "Raft index of the newest snapshot of this node; 0 if there is none.",
		Do:   "If it stays more than a few times raft.snapshot_threshold behind, snapshots fail: the log of hm says why."}
	Members = &Metric{Name: "hm_raft_members", Type: Gauge, Unit: "members",
		Labels: []Label{{"state", "leader, follower, candidate, unreachable"}},
		Help:   "Members of the cluster by state.",
		Do:     "As this node sees it. `hm status` names the members and their problems."}
	Voters = &Metric{Name: "hm_raft_voters", Type: Gauge, Unit: "members",
		Help: "Voting members of the cluster.",
		Do:   "1, 3 or 5. An even number is no safer than one less."}
	HealthyVoters = &Metric{Name: "hm_raft_voters_healthy", Type: Gauge, Unit: "members",
		Help: "Voting members that are reachable and report no problem, this node included.",
		Do:   "hm needs more than half of hm_raft_voters. At that edge the next loss stops all commands: bring nodes back."}
	Versions = &Metric{Name: "hm_cluster_versions", Type: Gauge, Unit: "versions",
		Help: "Different versions of hm that members run, as they last told.",
		Do:   "1, except during an upgrade. If it stays above 1, an upgrade was not finished: `hm status` shows the version of each node."}
	MemberInfo = &Metric{Name: "hm_member_info", Type: Gauge, Unit: "1",
		Labels: []Label{{"member", "the id of a member"}, {"version", "of hm on it"}, {"kinds", "the highest kind of log record that it knows"}, {"snapshots", "the newest format of snapshots that it reads"}},
		Help:   "1 for each member that has told its version.", When: "a member has told it",
		Do: "For tables and joins: which node runs which version. See docs/formats.md."}
	TooOld = &Metric{Name: "hm_too_old", Type: Gauge, Unit: "1 or 0",
		Help: "1 if this node's version of hm cannot read the snapshot that the leader sends.",
		Do:   "The node does not follow: run the version of hm on it that the other nodes run."}
	PeerSilent = &Metric{Name: "hm_peer_silent_seconds", Type: Gauge, Unit: "seconds",
		Labels: []Label{{"peer", "the id of another member"}},
		Help:   "Time since this node last received a message from a peer; missing if it never did.", When: "a peer has sent a message",
		Do: "Below 0.5 in a healthy cluster. If it grows, that node or the network between the two is down."}
	PeerBehind = &Metric{Name: "hm_peer_behind_entries", Type: Gauge, Unit: "entries",
		Labels: []Label{{"peer", "the id of another member"}},
		Help:   "How many entries of this node's record a peer, as it last told, had not applied.", When: "a peer has sent a message",
		Do: "If it stays high for a follower, its disk or its network is too slow."}
	Proposals = &Metric{Name: "hm_proposals_total", Type: Counter, Unit: "proposals",
		Help: "Groups of changes that this node, as leader, has taken for the log since it started.",
		Do:   "For planning: a fleet that does not change causes none."}
	Entries = &Metric{Name: "hm_raft_entries_total", Type: Counter, Unit: "entries",
		Help: "Entries that this node, as leader, has made of proposals since it started.",
		Do:   "For planning: how much is written."}
	EntryBytes = &Metric{Name: "hm_raft_entry_bytes_total", Type: Counter, Unit: "bytes",
		Help: "Bytes of the entries that this node, as leader, has made since it started.",
		Do:   "For planning: each node writes this much, and a little more, to its disk."}
	Disk = &Metric{Name: "hm_disk_stalled_seconds", Type: Gauge, Unit: "seconds",
		Help: "For how long the disk of this node has not worked: it hangs, is full or has failed; 0 if it works.",
		Do:   "See when a disk hangs or is full in docs/operations.md. Watch free space with the node exporter."}
	Transfers = &Metric{Name: "hm_leadership_transfers_total", Type: Counter, Unit: "handovers",
		Labels: []Label{{"reason", "a gate reason, or the lost link"}, {"outcome", "done, failed"}},
		Help:   "Times that this node handed over its leadership by itself, by reason and outcome.", When: "the node has handed over",
		Do: "The reason says what is wrong with the node: its link, what it hears, or its disk."}
	Strangers = &Metric{Name: "hm_cluster_connections_refused_total", Type: Counter, Unit: "connections",
		Help: "Connections on the cluster port that were closed because of what they sent or did not send, or because there were too many.",
		Do:   "Find out who connects: the log has a sample with the addresses. A port scan, or a node of another cluster."}
	PortConnections = &Metric{Name: "hm_cluster_connections", Type: Gauge, Unit: "connections",
		Labels: []Label{{"of", "members, others, unsaid"}},
		Help:   "Connections on the cluster port that others opened: of members, of others, and of those that have not said yet what they are for.",
		Do:     "Others and unsaid are near 0 in a healthy cluster, and have a bound. If they stay high, find out who connects; members have places of their own."}
	PeerMessages = &Metric{Name: "hm_cluster_messages_total", Type: Counter, Unit: "messages",
		Help: "Messages of peers that were accepted.",
		Do:   "About four a second from each peer."}
	BadMessages = &Metric{Name: "hm_cluster_messages_refused_total", Type: Counter, Unit: "messages",
		Help: "Messages of peers that were refused.",
		Do:   "The log says why: another version, or somebody who is not a node."}
	BadNumbers = &Metric{Name: "hm_cluster_numbers_refused_total", Type: Counter, Unit: "numbers",
		Help: "Numbers in messages of peers that were ignored because they cannot be true.",
		Do:   "Look at the clocks and the versions of the nodes; if both are right, report a bug."}
	ClockAhead = &Metric{Name: "hm_clock_ahead_seconds", Type: Gauge, Unit: "seconds",
		Help: "How far hm time is ahead of this node's wall clock; negative: behind it, because time in which no node ran does not count.",
		Do:   "Compare the nodes: if they differ, a wall clock is wrong; set it with NTP. No deadline depends on it, but people read wrong times."}
	Suspended = &Metric{Name: "hm_machine_suspended_seconds_total", Type: Counter, Unit: "seconds",
		Help: "For how long this node's machine was suspended since it booted, as far as the system tells.",
		Do:   "A machine of a health manager should never be suspended. Look at the hypervisor: live migration, snapshots."}
)

var clusterSection = Section{Title: "The cluster",
	Text: "The Raft library's own metrics are not exported: they are global to the process, have no bound and no stable names. " +
		"These are the figures of it that matter.",
	Metrics: []*Metric{Leader, LeaderKnown, Term, Index, CommitIndex, LastIndex, SnapshotIndex, Members, Voters, HealthyVoters, Versions, MemberInfo, TooOld, PeerSilent, PeerBehind, Proposals, Entries,
		EntryBytes, Disk, Transfers, Strangers, PortConnections, PeerMessages, BadMessages, BadNumbers, ClockAhead, Suspended}}

// The journal.
var (
	JournalUsable = &Metric{Name: "hm_journal_usable", Type: Gauge, Unit: "1 or 0",
		Help: "1 if this node's journal can be read and written.",
		Do:   "Commands do not depend on it. Look at the disk and the log."}
	JournalEvents = &Metric{Name: "hm_journal_events", Type: Gauge, Unit: "events",
		Help: "Events in this node's journal.",
		Do:   "At most four times commands.journal_entries, and as many again of another health manager in shadow mode."}
	JournalBytes = &Metric{Name: "hm_journal_bytes", Type: Gauge, Unit: "bytes",
		Help: "Bytes of the events in this node's journal.",
		Do:   "The file is about twice as large: see hm_file_bytes."}
	JournalGaps = &Metric{Name: "hm_journal_gaps", Type: Gauge, Unit: "ranges",
		Help: "Ranges of the log whose events this node lacks and asks its peers for.",
		Do:   "It goes to 0 by itself within a minute. If it stays, the peers cannot be reached."}
	JournalLost = &Metric{Name: "hm_journal_lost_total", Type: Counter, Unit: "events",
		Help: "Events that were lost since this node started, because its disk was full, broken or too slow.",
		Do:   "Make room, or replace the disk. The node then asks its peers for what it lost."}
	JournalFailures = &Metric{Name: "hm_journal_failures_total", Type: Counter, Unit: "accesses",
		Help: "Accesses to the journal's file that failed since this node started.",
		Do:   "The log says how they failed."}
	JournalReplaced = &Metric{Name: "hm_journal_files_replaced_total", Type: Counter, Unit: "files",
		Help: "Files of the journal that were set aside since this node started, because they were damaged or of another log.",
		Do:   "Check the disk. The peers fill the new file; the old one may be deleted."}
	JournalFetched = &Metric{Name: "hm_journal_fetched_total", Type: Counter, Unit: "events",
		Help: "Events that this node got from its peers since it started.",
		Do:   "Nothing: the node fills its gaps."}
	JournalUnreadable = &Metric{Name: "hm_journal_unreadable_total", Type: Counter, Unit: "events",
		Help: "Stored events that could not be read since this node started.",
		Do:   "A newer version of hm wrote them, or the disk is at fault."}
)

var journalSection = Section{Title: "The journal", Text: "The history that each node keeps for `hm events` and `hm commands history`.",
	Metrics: []*Metric{JournalUsable, JournalEvents, JournalBytes, JournalGaps, JournalLost, JournalFailures, JournalReplaced, JournalFetched, JournalUnreadable}}

// The files that grow and shrink.
var (
	fileLabel = Label{"file", "raft.db, journal.db"}

	FileBytes = &Metric{Name: "hm_file_bytes", Type: Gauge, Unit: "bytes",
		Labels: []Label{fileLabel}, Help: "Size of a file in node.data_dir.", When: "the file can be used",
		Do: "It grows in a storm, and shrinks once most of it has been free for ten minutes, twenty on the leader. See docs/operations.md on what is on disk."}
	FileFree = &Metric{Name: "hm_file_free_bytes", Type: Gauge, Unit: "bytes",
		Labels: []Label{fileLabel}, Help: "Bytes of a file that are free: new entries and events use them before the file grows.", When: "the file can be used",
		Do: "If it stays above 32 MiB and three quarters of hm_file_bytes for longer than half an hour, a copy fails: the log of hm says why, most likely for want of room."}
	FileCompactions = &Metric{Name: "hm_file_compactions_total", Type: Counter, Unit: "copies",
		Labels: []Label{fileLabel}, Help: "Times that a file was replaced by a copy without free pages since this node started.",
		Do: "One after a storm is normal; several a day say that storms are."}
)

var filesSection = Section{Title: "Files", Text: "The files in node.data_dir that grow and shrink.",
	Metrics: []*Metric{FileBytes, FileFree, FileCompactions}}

// The API and the program.
var (
	Requests = &Metric{Name: "hm_api_requests_total", Type: Counter, Unit: "requests",
		Labels: []Label{{"route", "the method and path of an endpoint"}, {"code", "the HTTP status"}},
		Help:   "API requests by route and status.", When: "there was a request",
		Do: "Many with 401 are somebody without the password; many with 5xx are in the log of hm."}
	RequestSeconds = &Metric{Name: "hm_api_request_seconds", Type: Histogram, Unit: "seconds",
		Labels: []Label{{"route", "the method and path of an endpoint"}},
		Help:   "How long API requests took by route, without streams and recordings, which last as long as the client wants.",
		When:   "there was a request", Bounds: Duration{0.001, 0.005, 0.025, 0.1, 0.25, 1, 2.5, 10, 60},
		Do: "Lists of a large fleet take longest. hm's decisions do not wait for requests."}
	LoginsRefused = &Metric{Name: "hm_api_logins_refused_total", Type: Counter, Unit: "requests",
		Labels: []Label{{"reason", "missing, malformed, wrong, size, algorithm, key, signature, issuer, audience, expired, early, limited"}},
		Help:   "Requests that the API did not let in, by what is wrong with their credentials.",
		Do:     "missing: browsers ask so first. wrong, signature, limited: somebody guesses, or has an old password; the log has a sample with the addresses."}
	AuditLost = &Metric{Name: "hm_api_audit_lost_total", Type: Counter, Unit: "events",
		Help: "Things that somebody did over the API of this node and that the history lacks, because no leader recorded them in time.",
		Do:   "The log of this node has them."}
	Answering = &Metric{Name: "hm_app_state_answering", Type: Gauge, Unit: "1 or 0",
		Help: "1 if this node is in the queue group that answers the Cloud Controller over NATS: app.state, app.state.bulk and healthmanager.*.",
		Do:   "At least one node has 1 outside shadow mode, or the Cloud Controller gets {}, or no answer, for every question."}
	Questions = &Metric{Name: "hm_questions_received_total", Type: Counter, Unit: "questions",
		Labels: []Label{{"subject", questionSubjects}},
		Help:   "Questions of a Cloud Controller over NATS that this node received.",
		Before: "Ruby healthmanager_status_msgs_received, healthmanager_health_request_msgs_received, healthmanager_droplet_request_msgs_received",
		Do:     "One node of the cluster gets each question: add the nodes up."}
	QuestionsAnswered = &Metric{Name: "hm_questions_answered_total", Type: Counter, Unit: "questions",
		Labels: []Label{{"subject", questionSubjects}},
		Help:   "Questions of a Cloud Controller over NATS to which this node sent at least one reply.",
		Do:     "healthmanager.* gets no reply about what hm does not know, or while it cannot rely on its record: see hm_app_state_not_fresh_total."}
	QuestionsUnreadable = &Metric{Name: "hm_questions_unreadable_total", Type: Counter, Unit: "questions",
		Labels: []Label{{"subject", "healthmanager.status, healthmanager.health, healthmanager.droplet"}},
		Help:   "Questions on healthmanager.* that this node could not read, or not read a droplet of. A question on app.state that cannot be read is answered with {}, and is not counted.",
		Do:     "The log has a sample that says why. Find out who asks."}
	LeftOut = &Metric{Name: "hm_app_state_left_out_total", Type: Counter, Unit: "apps",
		Labels: []Label{{"subject", questionSubjects}},
		Help:   "Apps left out of answers over NATS because the answer would have been larger than the server accepts, or all replies to a question together larger than 8 MiB.",
		Do:     "Raise max_payload of the NATS server, or let the Cloud Controller use POST /bulk_app_state."}
	Unanswered = &Metric{Name: "hm_app_state_not_fresh_total", Type: Counter, Unit: "questions",
		Labels: []Label{{"reason", "fault, actual-stale, unrecorded, no-leader, catching-up"}},
		Help:   "Questions for the state of apps (app.state, app.state.bulk, POST /bulk_app_state) that were answered with {}, and questions on healthmanager.* that this node did not answer itself, because the record was not trusted, by reason.",
		Do:     "Users see 0 running instances meanwhile. The reason says what to repair."}
	ComponentMessages = &Metric{Name: "hm_component_messages_total", Type: Counter, Unit: "messages",
		Labels: []Label{{"what", "announced, answered, ignored, failed"}},
		Help:   "Announcements of this node as a component, and questions for components, by what became of them.",
		When:   "compat.component is set",
		Do:     "`failed` that grows means that NATS refuses vcap.component.announce or the answers; `ignored` that too many ask."}
	VarzRequests = &Metric{Name: "hm_varz_requests_total", Type: Counter, Unit: "requests",
		Labels: []Label{{"code", "200, 401, 404, 405"}},
		Help:   "Requests for /varz and /healthz by HTTP status.", When: "compat.component is set",
		Do: "Many with 401 are somebody without the password, or a collector that has not heard of a restart."}
	CertificateExpires = &Metric{Name: "hm_tls_certificate_expires_seconds", Type: Gauge, Unit: "seconds",
		Labels: []Label{{"key", "the configuration key of the file: raft.tls.cert, raft.tls.ca, api.tls.cert and so on"}},
		Help:   "Time until a certificate of this node expires; negative: it has expired. Of a file of authorities, the one that expires last counts.",
		When:   "a certificate or an authority is configured",
		Do:     "Write a new file in time: hm reads it by itself. See certificates of the nodes in docs/operations.md."}
	CertificatesRefused = &Metric{Name: "hm_tls_files_refused", Type: Gauge, Unit: "1 or 0",
		Labels: []Label{{"files", tlsFiles}},
		Help:   "1 if newer files are there and cannot be used, so that those read before are still in force.",
		When:   "a certificate or an authority is configured",
		Do:     "`hm status` and the log say what is wrong with which file."}
	CertificatesRead = &Metric{Name: "hm_tls_files_read_total", Type: Counter, Unit: "readings",
		Labels: []Label{{"files", tlsFiles}, {"outcome", "taken, refused"}},
		Help:   "Times that newer certificates, keys or authorities were read since this node started.",
		When:   "a certificate or an authority is configured",
		Do:     "After you have written new files, taken grows by one on each node."}
	Build = &Metric{Name: "hm_build_info", Type: Gauge, Unit: "1",
		Labels: []Label{{"version", "of hm"}, {"goversion", "of Go"}},
		Help:   "1, labelled with this program's version.",
		Do:     "All nodes should have one version, but for an upgrade under way."}
)

var apiSection = Section{Title: "The API and the program", Text: "",
	Metrics: []*Metric{Requests, RequestSeconds, LoginsRefused, AuditLost, Answering, Questions, QuestionsAnswered, QuestionsUnreadable, LeftOut, Unanswered, ComponentMessages, VarzRequests, CertificateExpires,
		CertificatesRefused, CertificatesRead, Build}}

// tlsFiles are what files of TLS are for.
const tlsFiles = "raft.tls, api.tls, heartbeats.tls, nats.tls, commands.cc_ca, api.jwt.ca"

// questionSubjects are the subjects on which a Cloud Controller asks.
const questionSubjects = "app.state, app.state.bulk, healthmanager.status, healthmanager.health, healthmanager.droplet"
