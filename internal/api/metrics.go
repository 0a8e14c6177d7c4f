package api

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"hm/commands"
	"hm/desired"
	"hm/diff"
	"hm/internal/access"
	"hm/internal/app"
	"hm/internal/boltfile"
	"hm/internal/cluster"
	"hm/internal/metrics"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

// CommandTotals counts the commands that were sent, by reason, those that ended, by action, reason and outcome, and the
// crashes.
// It is safe for concurrent use; the zero value is ready to use.
type CommandTotals struct {
	mu     sync.Mutex
	totals map[endKind]uint64
	sent   map[commands.Reason]uint64

	crashes atomic.Uint64
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
	for _, f := range a.Result.Facts {
		if _, crashed := f.(raftfsm.CrashFact); crashed {
			t.crashes.Add(1)
		}
	}
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
	reconcile.ReasonDeaf, reconcile.ReasonActualStale, reconcile.ReasonDesiredStale, reconcile.ReasonCCUnreachable,
	"hold:" + reconcile.HoldDesiredShrink, "hold:" + reconcile.HoldMassLoss, "hold:" + reconcile.HoldFirstPicture, "hold:" + reconcile.HoldRestored, reconcile.ReasonPaused, reconcile.ReasonShadow,
}

// GateReasons returns the reasons for a closed gate, without the names of holds that people set.
func GateReasons() []string { return slices.Clone(gateReasons) }

// newMetrics makes the node's own registry: nothing is registered globally.
func (s *Server) newMetrics() (*prometheus.Registry, *prometheus.CounterVec) {
	reg := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: metrics.Requests.Name, Help: metrics.Requests.Help,
	}, metrics.Requests.LabelNames())
	reg.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		requests, &collector{s},
	)
	reg.MustRegister(s.opts.Times.Collectors()...)
	return reg, requests
}

// collector computes all metrics of hm for one scrape.
type collector struct{ s *Server }

// Describe sends nothing: the collector is unchecked, because the names of holds are not known beforehand.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of now. Those of the whole fleet come from a pass that may be as old as fleet allows.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.s
	n := s.wholeSnapshot(context.Background())
	send := func(m *metrics.Metric, v float64, labels ...string) { out <- m.Value(v, labels...) }
	count := n.view.Counts()
	p := s.fleet.recent(n)
	c.fleet(send, p, count)

	send(metrics.ActualFresh, bit(n.over.ActualFresh))
	send(metrics.DesiredFresh, bit(n.over.DesiredFresh))
	if n.over.Reads.Began != 0 {
		send(metrics.ReadAge, max(0, n.hm.Sub(n.over.Reads.Began).Seconds()))
	}
	send(metrics.DEAs, float64(count.DEAs))
	send(metrics.GoneDEAs, float64(count.GoneDEAs))
	c.gate(send, n)
	send(metrics.Queue, float64(n.over.Queue))
	c.queue(send, n, p)
	send(metrics.Backlog, float64(n.over.Backlog))
	unreadable := n.over.Unreadable
	send(metrics.UnreadableDEAs, float64(unreadable.DEAs))
	send(metrics.Unreadable, float64(unreadable.Entries), "entry")
	send(metrics.Unreadable, float64(unreadable.Unplaced), "unplaced")
	send(metrics.Unreadable, float64(unreadable.UnknownStates), "unknown_state")
	send(metrics.Unreadable, float64(unreadable.Messages), "message")
	send(metrics.Doubled, float64(unreadable.DoubledIDs))

	send(metrics.Crashes, float64(s.opts.Ended.crashes.Load()))
	send(metrics.Pending, float64(count.PendingStarts), "start")
	send(metrics.Pending, float64(count.PendingStops), "stop")
	for _, r := range sentReasons {
		send(metrics.Sent, float64(s.opts.Ended.sentOf(r.reason)), r.action.String(), strings.ToLower(r.reason.String()))
	}
	s.opts.Ended.each(func(k endKind, total uint64) {
		send(metrics.Ended, float64(total), k.action.String(), k.reason.String(), k.outcome.String())
	})

	send(metrics.Leader, bit(n.lead.Leader))
	send(metrics.LeaderKnown, bit(n.lead.LeaderID != ""))
	send(metrics.Term, float64(n.lead.Term))
	send(metrics.Index, float64(n.view.Index()))
	fault := s.fault()
	send(metrics.StateDiffers, bit(fault != nil && fault.Kind == cluster.FaultState))
	send(metrics.StoreDamaged, bit(fault != nil && (fault.Kind == cluster.FaultStore || fault.Kind == cluster.FaultHealing)))
	send(metrics.TooOld, bit(fault != nil && fault.Kind == cluster.FaultTooOld))
	stalled, _ := s.opts.Node.DiskTrouble()
	send(metrics.Disk, stalled.Seconds())
	send(metrics.MissedDEAs, float64(n.over.Missed))
	c.members(send, n)
	c.log(send, n)
	if s.opts.JournalStats != nil {
		j := s.opts.JournalStats()
		send(metrics.JournalUsable, bit(j.Err == nil))
		send(metrics.JournalEvents, float64(j.Entries))
		send(metrics.JournalBytes, float64(j.Bytes))
		send(metrics.JournalGaps, float64(j.Gaps))
		send(metrics.JournalLost, float64(j.Lost))
		send(metrics.JournalFailures, float64(j.Failures))
		send(metrics.JournalReplaced, float64(j.Replaced))
		send(metrics.JournalFetched, float64(j.Fetched))
		send(metrics.JournalUnreadable, float64(j.Unreadable))
		c.file(send, "journal.db", j.File, j.Compactions)
	}
	c.heard(send)
	for _, t := range s.opts.Transfers() {
		send(metrics.Transfers, float64(t.Done), t.Reason, "done")
		send(metrics.Transfers, float64(t.Failed), t.Reason, "failed")
	}
	send(metrics.Answering, bit(s.answering.Load()))
	for i, subject := range questionSubjects {
		q := &s.questions[i]
		send(metrics.Questions, float64(q.received.Load()), subject)
		send(metrics.QuestionsAnswered, float64(q.answered.Load()), subject)
		send(metrics.LeftOut, float64(q.leftOut.Load()), subject)
		if subject != subjectAppState && subject != subjectAppStateBulk {
			send(metrics.QuestionsUnreadable, float64(q.unreadable.Load()), subject)
		}
	}
	s.unanswered.each(func(why distrust, total uint64) { send(metrics.Unanswered, float64(total), string(why)) })
	for _, reason := range access.Reasons() {
		send(metrics.LoginsRefused, float64(s.door.refused[reason].Load()), string(reason))
	}
	send(metrics.AuditLost, float64(s.audit.lost.Load()))
	c.component(send)
	c.certificates(send)
	send(metrics.Build, 1, s.opts.Version, runtime.Version())
}

// file sends how large a file is and how much of it is free.
func (c *collector) file(send func(*metrics.Metric, float64, ...string), name string, use boltfile.Use, compactions uint64) {
	if use.Size > 0 {
		send(metrics.FileBytes, float64(use.Size), name)
		send(metrics.FileFree, float64(use.Free), name)
	}
	send(metrics.FileCompactions, float64(compactions), name)
}

func (c *collector) fleet(send func(*metrics.Metric, float64, ...string), p *pass, count raftfsm.Counts) {
	send(metrics.AppsAllReporting, float64(p.gauges.appsAllReporting))
	send(metrics.AppsMissing, float64(p.gauges.appsMissing))
	send(metrics.UndesiredRunning, float64(p.gauges.undesiredRunning))
	send(metrics.Running, float64(count.Starting+count.Running))
	send(metrics.MissingIndices, float64(p.gauges.missingIndices))
	send(metrics.CrashedInstances, float64(count.Crashed))
	send(metrics.CrashedIndices, float64(p.gauges.crashedIndices))
	send(metrics.DesiredApps, float64(p.gauges.desiredApps))
	send(metrics.DesiredInstances, float64(p.gauges.desiredInstances))
	send(metrics.PendingStaging, float64(p.gauges.pendingStaging))
	for _, k := range diff.Kinds() {
		send(metrics.Drift, float64(p.kinds[k]), k.String())
	}
	if desired.FilterOf(p.view.DesiredMeta().Source) != "" {
		send(metrics.Drift, float64(p.kinds[diff.KindForeign]), diff.KindForeign.String())
	}
	send(metrics.DriftDue, float64(p.due))
	send(metrics.PassSeconds, p.took.Seconds())
	send(metrics.Instances, float64(count.Starting), "starting")
	send(metrics.Instances, float64(count.Running), "running")
	send(metrics.Instances, float64(count.Crashed), "crashed")
	send(metrics.Instances, float64(count.Evacuating), "evacuating")
}

func (c *collector) queue(send func(*metrics.Metric, float64, ...string), n snapshot, p *pass) {
	shut := p.shut()
	for _, reason := range gateReasons {
		if reason != reconcile.ReasonNotLeader && reason != reconcile.ReasonShadow && !slices.Contains(shut, reason) {
			send(metrics.Waiting, 0, reason)
		}
	}
	p.waits.each(n.over, shut, func(cause string, apps int) { send(metrics.Waiting, float64(apps), cause) })
	late := time.Duration(0)
	if since := p.waits.since(n.over); since != 0 {
		late = max(0, n.hm.Sub(since))
	}
	send(metrics.Late, late.Seconds())
	draining := 0
	if n.over.Drain != nil {
		draining = n.over.Drain.Waiting
	}
	send(metrics.Draining, float64(draining))
}

func (c *collector) gate(send func(*metrics.Metric, float64, ...string), n snapshot) {
	send(metrics.GateOpen, bit(n.over.GateOpen))
	for _, r := range gateReasons {
		send(metrics.GateClosed, bit(slices.Contains(n.over.GateReasons, r)), r)
	}
	for _, r := range n.over.GateReasons {
		if strings.HasPrefix(r, "hold:") && !slices.Contains(gateReasons, r) {
			send(metrics.GateClosed, 1, r)
		}
	}
	if cc := c.s.cc(); cc != nil && cc.Reachable != nil {
		send(metrics.CCReachable, bit(*cc.Reachable))
	}
	for _, h := range n.view.Holds() {
		if h.InForce(n.hm) {
			send(metrics.HoldSeconds, max(0, n.hm.Sub(h.SetAt).Seconds()), h.Name)
		}
	}
}

// members sends what this node knows of the members of the cluster.
func (c *collector) members(send func(*metrics.Metric, float64, ...string), n snapshot) {
	states := map[string]int{"leader": 0, "follower": 0, "candidate": 0, "unreachable": 0}
	voters, healthy := 0, 0
	versions := map[string]bool{}
	for _, m := range c.s.opts.Node.Members() {
		states[m.State]++
		if m.Voter {
			voters++
			if m.Healthy {
				healthy++
			}
		}
		if m.HasInfo {
			versions[m.Info.Version] = true
			send(metrics.MemberInfo, 1, m.ID, m.Info.Version, strconv.FormatUint(uint64(m.Info.Kinds), 10), strconv.FormatUint(uint64(m.Info.SnapshotFormat), 10))
		}
		if m.ID == c.s.opts.ID {
			send(metrics.HeardDEAs, float64(m.Info.HeardDEAs))
			continue
		}
		if !m.LastContact.IsZero() {
			send(metrics.PeerSilent, time.Since(m.LastContact).Seconds(), m.ID)
		}
		if m.HasInfo {
			behind := uint64(0)
			if index := n.view.Index(); index > m.Info.AppliedIndex {
				behind = index - m.Info.AppliedIndex
			}
			send(metrics.PeerBehind, float64(behind), m.ID)
		}
	}
	for state, total := range states {
		send(metrics.Members, float64(total), state)
	}
	send(metrics.Versions, float64(len(versions)))
	send(metrics.Voters, float64(voters))
	send(metrics.HealthyVoters, float64(healthy))
}

// log sends what this node knows of the replicated log, of the cluster port and of its clocks.
func (c *collector) log(send func(*metrics.Metric, float64, ...string), n snapshot) {
	told := c.s.opts.Node.Stats()
	send(metrics.CommitIndex, float64(told.CommitIndex))
	send(metrics.LastIndex, float64(told.LastIndex))
	send(metrics.SnapshotIndex, float64(told.SnapshotIndex))
	send(metrics.Proposals, float64(told.Proposals))
	send(metrics.Entries, float64(told.Entries))
	send(metrics.EntryBytes, float64(told.EntryBytes))
	send(metrics.Strangers, float64(told.Refused))
	send(metrics.PortConnections, float64(told.OfMembers), "members")
	send(metrics.PortConnections, float64(told.OfOthers), "others")
	send(metrics.PortConnections, float64(told.Unsaid), "unsaid")
	send(metrics.PeerMessages, float64(told.PeerMessages))
	send(metrics.BadMessages, float64(told.BadMessages))
	send(metrics.BadNumbers, float64(told.BadNumbers))
	c.file(send, "raft.db", told.File, told.Compactions)
	send(metrics.ClockAhead, n.hm.Sub(app.TimeOf(c.s.opts.Clock())).Seconds())
	send(metrics.Suspended, n.over.Suspended.Seconds())
}

// other sends what a node in shadow mode hears of another health manager.
func (c *collector) other(send func(*metrics.Metric, float64, ...string)) {
	o := c.s.opts.Compare
	if o.Hearing == nil || o.Messages == nil {
		return
	}
	heard, rejected := o.Messages()
	send(metrics.Other, float64(heard))
	send(metrics.OtherRejected, float64(rejected))
	send(metrics.OtherHeard, bit(o.Hearing().Now))
}

// component sends what the node did for collectors.
func (c *collector) component(send func(*metrics.Metric, float64, ...string)) {
	told, is := c.s.opts.Component()
	if !is {
		return
	}
	send(metrics.ComponentMessages, float64(told.Announced), "announced")
	send(metrics.ComponentMessages, float64(told.Answered), "answered")
	send(metrics.ComponentMessages, float64(told.Ignored), "ignored")
	send(metrics.ComponentMessages, float64(told.Failed), "failed")
	for code, total := range told.Requests {
		send(metrics.VarzRequests, float64(total), strconv.Itoa(code))
	}
}

func (c *collector) heard(send func(*metrics.Metric, float64, ...string)) {
	link, feed := c.s.opts.Link.State(), c.s.opts.Feed()
	send(metrics.NATSUp, bit(link.Up))
	if lag := c.s.opts.Lag(); lag.Known {
		send(metrics.NATSLag, lag.Time.Seconds())
	}
	if ago, known := c.s.opts.Proved(); known {
		send(metrics.NATSProved, ago.Seconds())
	}
	send(metrics.NATSOutages, float64(link.Outages))
	send(metrics.NATSMoves, float64(link.Moves))
	send(metrics.NATSGaps, float64(link.Gaps))
	send(metrics.NATSDropped, float64(link.Dropped))
	c.s.opts.Link.RefusalTotals(func(action, subject string, total uint64) { send(metrics.NATSRefused, float64(total), action, subject) })
	send(metrics.Heartbeats, float64(feed.Heartbeats))
	send(metrics.HeartbeatsSame, float64(feed.Unchanged))
	send(metrics.HeartbeatsSuperseded, float64(feed.Superseded))
	send(metrics.HeartbeatsPosted, float64(feed.Posted))
	send(metrics.HeartbeatsRelayed, float64(feed.Relayed))
	send(metrics.HeartbeatsRejected, float64(feed.HeartbeatsRejected))
	send(metrics.InstancesRejected, float64(feed.InstancesRejected))
	send(metrics.InstancesUnplaced, float64(feed.InstancesUnplaced))
	send(metrics.UnknownStates, float64(feed.UnknownStates))
	send(metrics.Exits, float64(feed.Exits))
	send(metrics.ExitsRejected, float64(feed.ExitsRejected))
	send(metrics.Updates, float64(feed.Updates))
	c.posts(send)
	c.other(send)
}

// posts sends what the endpoint for heartbeats over HTTPS has counted.
func (c *collector) posts(send func(*metrics.Metric, float64, ...string)) {
	s := c.s.opts.Posts()
	if s == nil {
		return
	}
	send(metrics.PostConnections, float64(s.Connections))
	for reason, total := range s.Refused {
		send(metrics.PostsRefused, float64(total), reason)
	}
	if s.Relayed == nil {
		return
	}
	for outcome, total := range s.Relayed {
		send(metrics.Relays, float64(total), outcome)
	}
	send(metrics.RelayBytes, float64(s.RelayedBytes))
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
