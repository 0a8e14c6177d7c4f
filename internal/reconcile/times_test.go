package reconcile

import (
	"slices"
	"testing"
	"time"
)

// seen keeps the times that it is told.
type seen struct{ times []float64 }

func (s *seen) Observe(seconds float64) { s.times = append(s.times, seconds) }

func (s *seen) want(t *testing.T, what string, n int, from, below time.Duration) {
	t.Helper()
	if len(s.times) != n || n > 0 && (slices.Min(s.times) < from.Seconds() || slices.Max(s.times) >= below.Seconds()) {
		t.Errorf("%s: %v, want %d times from %v to below %v", what, s.times, n, from, below)
	}
}

// TestTimesLeaveOutWhatIsNotThisLeadersDelay: three starts, of which the limit lets through one in a heartbeat, behind a
// gate that is closed for long. The time until they are published counts neither the limit nor the gate.
func TestTimesLeaveOutWhatIsNotThisLeadersDelay(t *testing.T) {
	var recorded, published, confirmed, stopped seen
	opts := testOptions()
	opts.StartLimit = 1
	opts.Times = Times{
		HeartbeatRecorded: &recorded, StartPublished: &published, StartConfirmed: &confirmed,
		StopPublished: &stopped, StopConfirmed: &stopped,
	}
	cf := steadyFleet(t, 8, 10, opts)
	recorded = seen{}
	cf.lose(1)
	cf.lose(2)
	cf.lose(3)
	cf.run(2 * hb)
	cf.pause(10 * hb)
	cf.run(30 * hb)
	cf.wantSent("three instances were lost", 3, 0)
	published.want(t, "from due to published", 3, 0, hb/5)
	confirmed.want(t, "from sent to confirmed", 3, time.Millisecond, 4*hb)
	stopped.want(t, "stops", 0, 0, 0)
	if len(recorded.times) < 2 {
		t.Errorf("the changed heartbeats of %d DEAs were measured", len(recorded.times))
	}
	recorded.want(t, "from heard to recorded", len(recorded.times), 0, hb/5)

	before := len(recorded.times)
	cf.run(20 * hb)
	recorded.want(t, "a fleet that does not change", before, 0, hb/5)
}
