package api

import (
	"context"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"hm/internal/app"
	"hm/raftfsm"
)

// Bounds on the series of counts.
const (
	seriesLength    = 2160 // samples: six hours at one each ten seconds
	shortestSample  = time.Second
	longestSample   = 10 * time.Second
	maxSeriesPoints = seriesLength
)

// Series is the answer to GET /v1/series: how the counts of the fleet have changed, as the answering node saw it.
type Series struct {
	Since    Timestamp `json:"since"`     // the oldest sample that the node keeps; null if it has none yet
	PeriodMS int64     `json:"period_ms"` // between two samples
	Samples  []Sample  `json:"samples"`   // the oldest first; never null
	Basis    Basis     `json:"basis"`
}

// Sample has the counts of one time.
type Sample struct {
	At    Timestamp `json:"at"`
	Leads bool      `json:"leads"` // the answering node led
	// GateOpen says whether the leader sends commands; on another node as far as it knows. HeldBy has the reasons if it
	// does not, and is missing if it does.
	GateOpen     bool     `json:"gate_open"`
	HeldBy       []string `json:"held_by,omitempty"`
	DesiredFresh bool     `json:"desired_fresh"`
	ActualFresh  bool     `json:"actual_fresh"`

	Drift   DriftCounts `json:"drift"`
	Waiting int         `json:"waiting"` // apps that drift and whose command is not sent yet

	Apps       int `json:"apps"`   // that should run
	Wanted     int `json:"wanted"` // instances of these apps
	Instances  int `json:"instances"`
	Starting   int `json:"starting"`
	Running    int `json:"running"`
	Crashed    int `json:"crashed"`
	Evacuating int `json:"evacuating"`
	DEAs       int `json:"deas"`      // not counting those that are gone
	GoneDEAs   int `json:"gone_deas"` // silent for their whole time to live

	PendingStarts int    `json:"pending_starts"`
	PendingStops  int    `json:"pending_stops"`
	SentStarts    uint64 `json:"sent_starts"` // ever: the difference of two samples is what was sent between them
	SentStops     uint64 `json:"sent_stops"`
}

// series keeps the newest samples.
type series struct {
	period time.Duration

	mu    sync.Mutex
	ring  []sample // grows to seriesLength
	first int      // of the ring: the oldest
}

// sample is a Sample in hm time.
type sample struct {
	at app.Time
	Sample
}

// samplePeriod gives the time between two samples: a heartbeat period, within bounds.
func samplePeriod(heartbeat time.Duration) time.Duration {
	return min(max(heartbeat, shortestSample), longestSample)
}

// add adds a sample. One that is not later than the newest replaces it.
func (s *series) add(x sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.ring); n > 0 {
		if newest := (s.first + n - 1) % n; s.ring[newest].at >= x.at {
			s.ring[newest] = x
			return
		}
	}
	if len(s.ring) < seriesLength {
		s.ring = append(s.ring, x)
		return
	}
	s.ring[s.first] = x
	s.first = (s.first + 1) % seriesLength
}

// from gives when the oldest sample was taken (0: there is none), and the samples at or after a time.
func (s *series) from(since app.Time) (oldest app.Time, out []sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.ring)
	if n == 0 {
		return 0, nil
	}
	at := func(i int) *sample { return &s.ring[(s.first+i)%n] }
	begin := sort.Search(n, func(i int) bool { return at(i).at >= since })
	for i := begin; i < n; i++ {
		out = append(out, *at(i))
	}
	return at(0).at, out
}

// keepSamples takes a sample in each period until the server is closed.
func (s *Server) keepSamples() {
	tick := time.NewTicker(s.samples.period)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
			s.samples.add(s.sample())
		}
	}
}

// sample takes a sample.
func (s *Server) sample() sample {
	n := s.wholeSnapshot(context.Background())
	p := s.fleet.recent(n)
	out := sampleOf(n.view.Counts(), p)
	out.at, out.Leads, out.DesiredFresh, out.ActualFresh = n.hm, n.lead.Leader, n.over.DesiredFresh, n.over.ActualFresh
	if p.view.DesiredMeta().Generation == 0 {
		out.Drift = DriftCounts{} // before the first complete read of all, nothing is known to be undesired
	}
	g := s.gate(n)
	switch {
	case n.lead.Leader:
		out.GateOpen, out.HeldBy = g.Open, slices.Clone(g.Reasons)
	case g.OnLeader != "":
		if out.GateOpen = g.OnLeader == "open"; !out.GateOpen {
			out.HeldBy = strings.Split(g.OnLeader, ", ")
		}
	default:
		out.GateOpen, out.HeldBy = !g.Closed(), n.held()
	}
	return out
}

func sampleOf(c raftfsm.Counts, p *pass) (x sample) {
	x.Drift, x.Waiting = DriftCountsOf(p.kinds, p.due), p.waits.apps
	x.Apps, x.Wanted, x.Instances = c.Apps, c.DesiredInstances, c.Instances
	x.Starting, x.Running, x.Crashed, x.Evacuating = c.Starting, c.Running, c.Crashed, c.Evacuating
	x.DEAs, x.GoneDEAs = c.DEAs, c.GoneDEAs
	x.PendingStarts, x.PendingStops, x.SentStarts, x.SentStops = c.PendingStarts, c.PendingStops, c.SentStarts, c.SentStops
	return x
}

// seriesOf answers GET /v1/series?since=&points=: the samples since a time or of the newest part of a duration, and with
// points at most so many of them, spread evenly.
func (s *Server) seriesOf(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	n := s.snapshot()
	var since app.Time
	var err error
	if text := q.Get("since"); text != "" {
		if since, err = sinceOf(text, n); err != nil {
			return err
		}
	}
	points := maxSeriesPoints
	if text := q.Get("points"); text != "" {
		if points, err = strconv.Atoi(text); err != nil || points < 1 || points > maxSeriesPoints {
			return badRequest("points %.20q must be a number from 1 to %d", text, maxSeriesPoints)
		}
	}
	oldest, samples := s.samples.from(since)
	samples = spread(samples, points)
	answer := Series{Since: n.wall.Time(oldest), PeriodMS: s.samples.period.Milliseconds(), Samples: make([]Sample, len(samples)), Basis: n.basis(n.view)}
	for i := range samples {
		answer.Samples[i] = samples[i].Sample
		answer.Samples[i].At = n.wall.Time(samples[i].at)
	}
	return writeJSON(w, http.StatusOK, answer.Basis, answer)
}

// spread gives at most n of the samples: the last of each of n equal parts, so the newest is among them.
func spread(samples []sample, n int) []sample {
	if len(samples) <= n {
		return samples
	}
	out := make([]sample, n)
	for i := range out {
		out[i] = samples[(i+1)*len(samples)/n-1]
	}
	return out
}
