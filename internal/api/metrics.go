package api

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"hm/commands"
	"hm/diff"
	"hm/internal/cluster"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// CommandTotals counts the commands that were sent, by reason, and those that ended, by action, reason and outcome.
// It is safe for concurrent use; the zero value is ready to use.
type CommandTotals struct {
	mu     sync.Mutex
	totals map[endKind]uint64
	sent   map[commands.Reason]uint64
}

type endKind struct {
	action  commands.Action
	reason  commands.Reason
	outcome commands.State
}

// Applied counts the results of an entry, unless an earlier process of this node has counted them.
func (t *CommandTotals) Applied(a raftfsm.Applied) {
	if a.Replayed {
		return
	}
	t.Add(a.Result.Ended)
	t.addSent(a.Result.Sent)
}

func (t *CommandTotals) addSent(sent []commands.Command) {
	if len(sent) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sent == nil {
		t.sent = map[commands.Reason]uint64{}
	}
	for _, c := range sent {
		t.sent[c.Reason]++
	}
}

// sentOf gives how many commands were sent for a reason.
func (t *CommandTotals) sentOf(r commands.Reason) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent[r]
}

// sentReasons are the reasons of commands, with their actions. All are exported from the start, so that the first
// command shows as an increase.
var sentReasons = []struct {
	action commands.Action
	reason commands.Reason
}{
	{commands.Start, commands.ReasonMissing}, {commands.Start, commands.ReasonCrashed}, {commands.Start, commands.ReasonEvacuating},
	{commands.Stop, commands.ReasonExtra}, {commands.Stop, commands.ReasonDuplicate}, {commands.Stop, commands.ReasonEvacuationComplete},
}

// Add counts ended commands.
func (t *CommandTotals) Add(ended []raftfsm.EndedCommand) {
	if len(ended) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.totals == nil {
		t.totals = map[endKind]uint64{}
	}
	for _, e := range ended {
		t.totals[endKind{e.Action, e.Reason, e.State}]++
	}
}

func (t *CommandTotals) each(fn func(endKind, uint64)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, n := range t.totals {
		fn(k, n)
	}
}

// gateReasons are always exported, so that an alert can tell a reason that does not hold from one that hm does not
// know.
var gateReasons = []string{
	reconcile.ReasonNotLeader, reconcile.ReasonNoLeader, reconcile.ReasonStateDiffers, reconcile.ReasonNATSDown, reconcile.ReasonNATSRefused, reconcile.ReasonNATSLate,
	reconcile.ReasonDeaf, reconcile.ReasonActualStale, reconcile.ReasonDesiredStale,
	"hold:" + reconcile.HoldDesiredShrink, "hold:" + reconcile.HoldMassLoss, "hold:" + reconcile.HoldFirstPicture, reconcile.ReasonPaused, reconcile.ReasonShadow,
}

// GateReasons returns the reasons for a closed gate, without the names of holds that people set.
func GateReasons() []string { return slices.Clone(gateReasons) }

// newMetrics makes the node's own registry: nothing is registered globally.
func (s *Server) newMetrics() (*prometheus.Registry, *prometheus.CounterVec) {
	reg := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hm_api_requests_total", Help: "API requests by route and status.",
	}, []string{"route", "code"})
	reg.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		requests, &collector{s},
	)
	return reg, requests
}

// metric is one metric of the collector: its description and type.
type metric struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("hm_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("hm_"+name, help, labels, nil), prometheus.CounterValue}
}

// The metrics. The first ten have the names of HM9000 (M01 to M10). HM9000 gave -1 for all of them when its data was
// not fresh (M11); hm always gives what is recorded, and hm_actual_fresh and hm_desired_fresh say whether that is
// fresh.
var (
	mAppsAllReporting = gauge("number_of_apps_with_all_instances_reporting", "Desired, staged apps with an instance, in any state, at every desired index.")
	mAppsMissing      = gauge("number_of_apps_with_missing_instances", "Desired, staged apps with a desired index that has no instance at all.")
	mUndesiredRunning = gauge("number_of_undesired_running_apps", "App versions that are not desired and have a live instance.")
	mRunning          = gauge("number_of_running_instances", "Live instances (STARTING or RUNNING), desired or not.")
	mMissingIndices   = gauge("number_of_missing_indices", "Indices of desired, staged apps without any instance.")
	mCrashedInstances = gauge("number_of_crashed_instances", "CRASHED instances, desired or not.")
	mCrashedIndices   = gauge("number_of_crashed_indices", "Indices with a CRASHED and no live instance.")
	mDesiredApps      = gauge("number_of_desired_apps", "Desired, staged apps.")
	mDesiredInstances = gauge("number_of_desired_instances", "Instances of the desired, staged apps.")
	mPendingStaging   = gauge("number_of_desired_apps_pending_staging", "Desired apps that are being staged.")

	mActualFresh  = gauge("actual_fresh", "1 if what this node heard from the DEAs is fresh.")
	mDesiredFresh = gauge("desired_fresh", "1 if the desired state was read completely not long ago.")
	mReadAge      = gauge("desired_read_age_seconds", "Time since the newest complete read of the desired state began; missing if none is known.")
	mInstances    = gauge("instances", "Recorded instances by state.", "state")
	mDEAs         = gauge("deas", "Recorded DEAs that are not gone.")
	mGoneDEAs     = gauge("gone_deas", "Recorded DEAs that fell silent.")
	mDrift        = gauge("drift", "Findings by kind of drift.", "kind")
	mDriftDue     = gauge("drift_due", "Findings that are acted on now.")
	mPassSeconds  = gauge("fleet_pass_seconds", "How long the newest pass over the whole fleet for the API took.")

	mGateOpen   = gauge("gate_open", "1 if this node may send commands.")
	mGateClosed = gauge("gate_closed", "1 for each reason that closes the gate of this node.", "reason")
	mQueue      = gauge("queue_apps", "Apps that wait to be evaluated.")
	mWaiting    = gauge("queue_waiting_apps", "Apps that drift and whose command is not sent yet, by what they wait for. An app may wait for several.", "cause")
	mLate       = gauge("queue_late_seconds", "How long the first of the waiting apps has been late: since the gate closed, or since its command became due. 0: none is late.")
	mDraining   = gauge("queue_draining_commands", "Commands that this node, as leader, had to send when its gate opened and that are not settled yet.")
	mBacklog    = gauge("backlog_deas", "DEAs whose newest heartbeat is not recorded yet.")

	mUnreadableDEAs = gauge("unreadable_deas", "DEAs with something that cannot be read in their newest messages.")
	mUnreadable     = gauge("unreadable", "What cannot be read in the newest messages of the DEAs, by kind: entries that are left out of heartbeats, those of them that name an app, entries in unknown states, and messages since the last one that could be decoded.", "kind")
	mDoubled        = gauge("doubled_dea_ids", "Ids that two DEAs use.")

	mPending = gauge("commands_pending", "Commands that are scheduled and not claimed yet.", "action")
	mSent    = counter("commands_sent_total", "Commands that any node has sent since this node started (HM9000's StartMissing to StopEvacuationComplete).", "action", "reason")
	mEnded   = counter("commands_ended_total", "Commands that have ended since this node started.", "action", "reason", "outcome")

	mLeader      = gauge("raft_leader", "1 if this node leads.")
	mLeaderKnown = gauge("raft_leader_known", "1 if a leader is known.")
	mTerm        = gauge("raft_term", "Raft term.")
	mIndex       = gauge("raft_applied_index", "Raft index of the newest entry in the recorded state.")
	mDisk        = gauge("disk_stalled_seconds", "For how long the disk of this node has not worked: it hangs, is full or has failed; 0 if it works.")
	mMembers     = gauge("raft_members", "Members of the cluster by state.", "state")

	mStateDiffers = gauge("state_differs", "1 if this node's recorded state differs from that of its peers at the same index, or it is not known whose is right.")
	mStoreDamaged = gauge("store_damaged", "1 if this node found its store damaged, and has not yet taken the whole record from its peers.")
	mUnanswered   = counter("app_state_not_fresh_total", "Questions for the state of apps (app.state, app.state.bulk, POST /bulk_app_state) that were answered with {} because the record was not trusted, by reason.", "reason")

	mStrangers   = counter("cluster_connections_refused_total", "Connections on the cluster port that were closed because of what they sent or did not send, or because there were too many.")
	mBadMessages = counter("cluster_messages_refused_total", "Messages of peers that were refused.")
	mBadNumbers  = counter("cluster_numbers_refused_total", "Numbers in messages of peers that were ignored because they cannot be true.")

	mJournalUsable     = gauge("journal_usable", "1 if this node's journal can be read and written.")
	mJournalEvents     = gauge("journal_events", "Events in this node's journal.")
	mJournalBytes      = gauge("journal_bytes", "Bytes of the events in this node's journal.")
	mJournalGaps       = gauge("journal_gaps", "Ranges of the log whose events this node lacks and asks its peers for.")
	mJournalLost       = counter("journal_lost_total", "Events that were lost since this node started, because its disk was full, broken or too slow.")
	mJournalFailures   = counter("journal_failures_total", "Accesses to the journal's file that failed since this node started.")
	mJournalReplaced   = counter("journal_files_replaced_total", "Files of the journal that were set aside since this node started, because they were damaged or of another log.")
	mJournalFetched    = counter("journal_fetched_total", "Events that this node got from its peers since it started.")
	mJournalUnreadable = counter("journal_unreadable_total", "Stored events that could not be read since this node started.")

	mTransfers = counter("leadership_transfers_total", "Times that this node handed over its leadership by itself, by reason and outcome.", "reason", "outcome")

	mNATSLag     = gauge("nats_lag_seconds", "How long a message takes from its sender to this node; missing if that is not known.")
	mNATSProved  = gauge("nats_proved_age_seconds", "For how long it has not been certain that the link is alive: the time since a message of this node to itself was sent that came back; missing if none ever did.")
	mHeardDEAs   = gauge("heard_deas", "DEAs that this node has heard within the last time to live.")
	mMissedDEAs  = gauge("missed_deas", "DEAs that this node, as leader, does not hear and a peer does.")
	mNATSUp      = gauge("nats_connected", "1 if this node's link to NATS is up.")
	mNATSOutages = counter("nats_outages_total", "Times that the link went down.")
	mNATSMoves   = counter("nats_moves_total", "Times that the link moved, without a gap, from a server that shuts down to another.")
	mNATSGaps    = counter("nats_gaps_total", "Times that messages were lost while the link was up.")
	mNATSDropped = counter("nats_dropped_messages_total", "Messages lost while the link was up.")

	mNATSRefused = counter("nats_refused_total", "Times that the NATS server refused a subject to this node, or a message that was too large.", "action", "subject")
	mAnswering   = gauge("app_state_answering", "1 if this node is in the queue group that answers app.state and app.state.bulk.")
	mLeftOut     = counter("app_state_left_out_total", "Apps left out of answers over NATS because the answer would have been larger than the server accepts.", "subject")

	mHeartbeats         = counter("heartbeats_received_total", "Heartbeat messages taken in (HM9000's ReceivedHeartbeats, as a running total).")
	mHeartbeatsSame     = counter("heartbeats_unchanged_total", "Heartbeat messages that repeated what was recorded.")
	mHeartbeatsRejected = counter("heartbeats_rejected_total", "Heartbeat messages that could not be understood.")
	mInstancesRejected  = counter("heartbeat_instances_rejected_total", "Instances left out of heartbeats because a field was missing or wrong.")
	mInstancesUnplaced  = counter("heartbeat_instances_unplaced_total", "Of the instances left out of heartbeats, those that name an app and lack a readable index or instance.")
	mUnknownStates      = counter("heartbeat_instances_unknown_state_total", "Instances in heartbeats in a state that hm does not know.")
	mExits              = counter("exits_received_total", "droplet.exited messages taken in.")
	mExitsRejected      = counter("exits_rejected_total", "droplet.exited messages that could not be understood.")
	mUpdates            = counter("updates_received_total", "droplet.updated messages taken in.")

	mOther         = counter("other_messages_total", "Messages with commands of another health manager that were heard in shadow mode.")
	mOtherRejected = counter("other_messages_rejected_total", "Messages with commands of another health manager that could not be understood.")
	mOtherHeard    = gauge("other_heard", "1 if this node, in shadow mode, hears the commands of another health manager.")

	mBuild = gauge("build_info", "1, labelled with this program's version.", "version", "goversion")
)

// collector computes all metrics of hm for one scrape.
type collector struct{ s *Server }

// Describe sends nothing: the collector is unchecked, because the names of holds are not known beforehand.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of now. Those of the whole fleet come from a pass that may be as old as fleet allows.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.s
	n := s.snapshot()
	send := func(m metric, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(m.Desc, m.kind, v, labels...)
	}
	count := n.view.Counts()
	p := s.fleet.recent(n)
	c.fleet(send, p, count)

	send(mActualFresh, bit(n.over.ActualFresh))
	send(mDesiredFresh, bit(n.over.DesiredFresh))
	if n.over.Reads.Began != 0 {
		send(mReadAge, max(0, n.hm.Sub(n.over.Reads.Began).Seconds()))
	}
	send(mDEAs, float64(count.DEAs))
	send(mGoneDEAs, float64(count.GoneDEAs))
	c.gate(send, n)
	send(mQueue, float64(n.over.Queue))
	c.queue(send, n, p)
	send(mBacklog, float64(n.over.Backlog))
	unreadable := n.over.Unreadable
	send(mUnreadableDEAs, float64(unreadable.DEAs))
	send(mUnreadable, float64(unreadable.Entries), "entry")
	send(mUnreadable, float64(unreadable.Unplaced), "unplaced")
	send(mUnreadable, float64(unreadable.UnknownStates), "unknown_state")
	send(mUnreadable, float64(unreadable.Messages), "message")
	send(mDoubled, float64(unreadable.DoubledIDs))

	send(mPending, float64(count.PendingStarts), "start")
	send(mPending, float64(count.PendingStops), "stop")
	for _, r := range sentReasons {
		send(mSent, float64(s.opts.Ended.sentOf(r.reason)), r.action.String(), strings.ToLower(r.reason.String()))
	}
	s.opts.Ended.each(func(k endKind, total uint64) {
		send(mEnded, float64(total), k.action.String(), k.reason.String(), k.outcome.String())
	})

	send(mLeader, bit(n.lead.Leader))
	send(mLeaderKnown, bit(n.lead.LeaderID != ""))
	send(mTerm, float64(n.lead.Term))
	send(mIndex, float64(n.view.Index()))
	fault := s.fault()
	send(mStateDiffers, bit(fault != nil && fault.Kind == cluster.FaultState))
	send(mStoreDamaged, bit(fault != nil && fault.Kind != cluster.FaultState))
	stalled, _ := s.opts.Node.DiskTrouble()
	send(mDisk, stalled.Seconds())
	members := map[string]int{"leader": 0, "follower": 0, "candidate": 0, "unreachable": 0}
	for _, m := range s.opts.Node.Members() {
		members[m.State]++
		if m.ID == s.opts.ID {
			send(mHeardDEAs, float64(m.Info.HeardDEAs))
		}
	}
	send(mMissedDEAs, float64(n.over.Missed))
	for state, total := range members {
		send(mMembers, float64(total), state)
	}
	told := s.opts.Node.Stats()
	send(mStrangers, float64(told.Refused))
	send(mBadMessages, float64(told.BadMessages))
	send(mBadNumbers, float64(told.BadNumbers))
	if s.opts.JournalStats != nil {
		j := s.opts.JournalStats()
		send(mJournalUsable, bit(j.Err == nil))
		send(mJournalEvents, float64(j.Entries))
		send(mJournalBytes, float64(j.Bytes))
		send(mJournalGaps, float64(j.Gaps))
		send(mJournalLost, float64(j.Lost))
		send(mJournalFailures, float64(j.Failures))
		send(mJournalReplaced, float64(j.Replaced))
		send(mJournalFetched, float64(j.Fetched))
		send(mJournalUnreadable, float64(j.Unreadable))
	}
	c.heard(send)
	for _, t := range s.opts.Transfers() {
		send(mTransfers, float64(t.Done), t.Reason, "done")
		send(mTransfers, float64(t.Failed), t.Reason, "failed")
	}
	send(mAnswering, bit(s.answering.Load()))
	send(mLeftOut, float64(s.leftOut[0].Load()), subjectAppState)
	send(mLeftOut, float64(s.leftOut[1].Load()), subjectAppStateBulk)
	s.unanswered.each(func(why distrust, total uint64) { send(mUnanswered, float64(total), string(why)) })
	send(mBuild, 1, s.opts.Version, runtime.Version())
}

func (c *collector) fleet(send func(metric, float64, ...string), p *pass, count raftfsm.Counts) {
	send(mAppsAllReporting, float64(p.gauges.appsAllReporting))
	send(mAppsMissing, float64(p.gauges.appsMissing))
	send(mUndesiredRunning, float64(p.gauges.undesiredRunning))
	send(mRunning, float64(count.Starting+count.Running))
	send(mMissingIndices, float64(p.gauges.missingIndices))
	send(mCrashedInstances, float64(count.Crashed))
	send(mCrashedIndices, float64(p.gauges.crashedIndices))
	send(mDesiredApps, float64(p.gauges.desiredApps))
	send(mDesiredInstances, float64(p.gauges.desiredInstances))
	send(mPendingStaging, float64(p.gauges.pendingStaging))
	for _, k := range diff.Kinds() {
		send(mDrift, float64(p.kinds[k]), k.String())
	}
	send(mDriftDue, float64(p.due))
	send(mPassSeconds, p.took.Seconds())
	send(mInstances, float64(count.Starting), "starting")
	send(mInstances, float64(count.Running), "running")
	send(mInstances, float64(count.Crashed), "crashed")
	send(mInstances, float64(count.Evacuating), "evacuating")
}

func (c *collector) queue(send func(metric, float64, ...string), n snapshot, p *pass) {
	shut := p.shut()
	for _, reason := range gateReasons {
		if reason != reconcile.ReasonNotLeader && reason != reconcile.ReasonShadow && !slices.Contains(shut, reason) {
			send(mWaiting, 0, reason)
		}
	}
	p.waits.each(n.over, shut, func(cause string, apps int) { send(mWaiting, float64(apps), cause) })
	late := time.Duration(0)
	if since := p.waits.since(n.over); since != 0 {
		late = max(0, n.hm.Sub(since))
	}
	send(mLate, late.Seconds())
	draining := 0
	if n.over.Drain != nil {
		draining = n.over.Drain.Waiting
	}
	send(mDraining, float64(draining))
}

func (c *collector) gate(send func(metric, float64, ...string), n snapshot) {
	send(mGateOpen, bit(n.over.GateOpen))
	for _, r := range gateReasons {
		send(mGateClosed, bit(slices.Contains(n.over.GateReasons, r)), r)
	}
	for _, r := range n.over.GateReasons {
		if strings.HasPrefix(r, "hold:") && !slices.Contains(gateReasons, r) {
			send(mGateClosed, 1, r)
		}
	}
}

// other sends what a node in shadow mode hears of another health manager.
func (c *collector) other(send func(metric, float64, ...string)) {
	o := c.s.opts.Compare
	if o.Hearing == nil || o.Messages == nil {
		return
	}
	heard, rejected := o.Messages()
	send(mOther, float64(heard))
	send(mOtherRejected, float64(rejected))
	send(mOtherHeard, bit(o.Hearing().Now))
}

func (c *collector) heard(send func(metric, float64, ...string)) {
	link, feed := c.s.opts.Link.State(), c.s.opts.Feed()
	send(mNATSUp, bit(link.Up))
	if lag := c.s.opts.Lag(); lag.Known {
		send(mNATSLag, lag.Time.Seconds())
	}
	if ago, known := c.s.opts.Proved(); known {
		send(mNATSProved, ago.Seconds())
	}
	send(mNATSOutages, float64(link.Outages))
	send(mNATSMoves, float64(link.Moves))
	send(mNATSGaps, float64(link.Gaps))
	send(mNATSDropped, float64(link.Dropped))
	c.s.opts.Link.RefusalTotals(func(action, subject string, total uint64) { send(mNATSRefused, float64(total), action, subject) })
	send(mHeartbeats, float64(feed.Heartbeats))
	send(mHeartbeatsSame, float64(feed.Unchanged))
	send(mHeartbeatsRejected, float64(feed.HeartbeatsRejected))
	send(mInstancesRejected, float64(feed.InstancesRejected))
	send(mInstancesUnplaced, float64(feed.InstancesUnplaced))
	send(mUnknownStates, float64(feed.UnknownStates))
	send(mExits, float64(feed.Exits))
	send(mExitsRejected, float64(feed.ExitsRejected))
	send(mUpdates, float64(feed.Updates))
	c.other(send)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
