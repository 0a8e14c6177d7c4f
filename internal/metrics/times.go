package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// How long things take. The bounds of the buckets include the budgets: 0.05 s from due to published, and 0.1 s from
// heard to recorded.
var (
	HeardRecorded = &Metric{Name: "hm_heard_to_recorded_seconds", Type: Histogram, Unit: "seconds",
		Labels: []Label{{"message", "heartbeat, exit"}},
		Help: "From hearing a message that changes something until the change was recorded, on the leader. " +
			"While a message still waits to be decoded, it counts for hm_nats_lag_seconds.",
		Bounds: Duration{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10},
		Do:     "99 of 100 take less than 0.1 s. If not, look at hm_proposal_seconds, the disks and the network between the nodes."}
	DuePublished = &Metric{Name: "hm_due_to_published_seconds", Type: Histogram, Unit: "seconds",
		Labels: []Label{{"action", "start, stop"}},
		Help:   "From the moment at which a command was due, the gate open and the limit of commands not used up, until it was published.",
		Bounds: Duration{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10, 60},
		Do:     "99 of 100 take less than 0.05 s. A command that waits for another one or for a newer read counts with that wait; hm_queue_waiting_apps shows those."}
	SentConfirmed = &Metric{Name: "hm_sent_to_confirmed_seconds", Type: Histogram, Unit: "seconds",
		Labels: []Label{{"action", "start, stop"}},
		Help:   "From sending a command until its effect was heard.",
		Bounds: Duration{0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300},
		Do:     "How fast the Cloud Controller and the DEAs carry out commands. A start takes as long as the app takes to come up; a heartbeat tells of it."}
	StepSeconds = &Metric{Name: "hm_step_seconds", Type: Histogram, Unit: "seconds",
		Help:   "How long one step of the loop took: to record what was heard, decide and send.",
		Bounds: Duration{0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5},
		Do:     "Long steps delay commands. A step waits for the log: compare with hm_proposal_seconds."}
	ProposalSeconds = &Metric{Name: "hm_proposal_seconds", Type: Histogram, Unit: "seconds",
		Help:   "From proposing changes until a majority stored them and this node, the leader, applied them.",
		Bounds: Duration{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 10},
		Do:     "Most of it is the time for a sync of the disks. If it grows, look at the disks, then at the network."}
	ApplySeconds = &Metric{Name: "hm_apply_seconds", Type: Histogram, Unit: "seconds",
		Help:   "How long it took to apply one entry to the recorded state.",
		Bounds: Duration{0.00001, 0.0001, 0.001, 0.005, 0.01, 0.02, 0.1, 1},
		Do:     "Nothing is applied for more than 0.02 s but entries of a cold start. If it grows, the node has too little processor time."}
	ReadSeconds = &Metric{Name: "hm_desired_read_seconds", Type: Histogram, Unit: "seconds",
		Labels: []Label{{"outcome", "complete, failed"}},
		Help:   "How long a read of the whole desired state took.",
		Bounds: Duration{0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60},
		Do:     "If it comes near desired.poll_interval, make desired.bulk.batch_size larger or read with desired.source: sql."}
	PostSeconds = &Metric{Name: "hm_cc_post_seconds", Type: Histogram, Unit: "seconds",
		Labels: []Label{{"action", "start, stop"}, {"status", "2xx, 3xx, 4xx, 5xx, none"}},
		Help:   "How long the Cloud Controller took to answer the post of a command, by the class of its status; none: it gave no answer.",
		When:   "commands.protocol is http, and this node, as leader, has posted a command",
		Bounds: Duration{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2},
		Do:     "Its count is the number of posts. `none` and `5xx`: look at the Cloud Controller and at what stands in front of it. `4xx`: `hm status` says what it refuses."}
)

var timesSection = Section{Title: "How long things take",
	Text: "Histograms with fixed buckets. Every Prometheus can store and query them, and the budgets are bounds of buckets, so that an " +
		"alert can ask exactly for them. An unchanged heartbeat is measured by none of them, so that a fleet that does not change costs nothing.",
	Metrics: []*Metric{HeardRecorded, DuePublished, SentConfirmed, StepSeconds, ProposalSeconds, ApplySeconds, ReadSeconds, PostSeconds}}

// Times are the histograms that the parts of one node fill. To observe a time takes some 20 ns and allocates nothing.
type Times struct {
	HeartbeatRecorded, ExitRecorded prometheus.Observer
	StartPublished, StopPublished   prometheus.Observer
	StartConfirmed, StopConfirmed   prometheus.Observer
	Step, Proposal, Apply           prometheus.Observer
	ReadComplete, ReadFailed        prometheus.Observer

	requests   *prometheus.HistogramVec
	posts      *prometheus.HistogramVec
	collectors []prometheus.Collector
}

// NewTimes makes the histograms of one node, empty. Each series is there from the start, except those of requests and of
// posts to the Cloud Controller.
func NewTimes() *Times {
	t := &Times{}
	vec := func(m *Metric) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: m.Bounds}, m.LabelNames())
		t.collectors = append(t.collectors, v)
		return v
	}
	heard, due, sent, read := vec(HeardRecorded), vec(DuePublished), vec(SentConfirmed), vec(ReadSeconds)
	t.HeartbeatRecorded, t.ExitRecorded = heard.WithLabelValues("heartbeat"), heard.WithLabelValues("exit")
	t.StartPublished, t.StopPublished = due.WithLabelValues("start"), due.WithLabelValues("stop")
	t.StartConfirmed, t.StopConfirmed = sent.WithLabelValues("start"), sent.WithLabelValues("stop")
	t.ReadComplete, t.ReadFailed = read.WithLabelValues("complete"), read.WithLabelValues("failed")
	t.Step, t.Proposal, t.Apply = vec(StepSeconds).WithLabelValues(), vec(ProposalSeconds).WithLabelValues(), vec(ApplySeconds).WithLabelValues()
	t.requests, t.posts = vec(RequestSeconds), vec(PostSeconds)
	return t
}

// Request gives the histogram of the requests of a route. There must be a bounded number of routes.
func (t *Times) Request(route string) prometheus.Observer { return t.requests.WithLabelValues(route) }

// Post gives the histogram of posts to the Cloud Controller with this action and status of the answer; 0: there was none.
func (t *Times) Post(action string, status int) prometheus.Observer {
	class := "none"
	if status >= 100 && status < 600 {
		class = string(rune('0'+status/100)) + "xx"
	}
	return t.posts.WithLabelValues(action, class)
}

// Collectors gives the histograms, to be registered.
func (t *Times) Collectors() []prometheus.Collector { return t.collectors }
