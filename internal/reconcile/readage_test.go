package reconcile

import (
	"testing"
	"time"
)

// TestI1TheAgeOfAReadCountsSuspensions: hm time stands still while the machine is suspended, and the
// Cloud Controller does not.
func TestI1TheAgeOfAReadCountsSuspensions(t *testing.T) {
	cf := steadyFleet(t, 4, 10, testOptions())
	cf.readErr = errTest
	cf.suspended += time.Hour
	cf.run(hb)
	cf.wantGate("an hour of suspension, and no read since", ReasonDesiredStale)
	cf.deas["dea-001"].list = nil
	cf.run(20 * hb)
	cf.wantSent("the desired state is an hour old", 0, 0)
	cf.readErr = nil
	cf.run(8 * hb)
	cf.wantGate("it was read again")
}

// TestTheAgeOfAReadStaysWhenTheClockIsSet: a follower's clock is set by its leader's, forward or back.
func TestTheAgeOfAReadStaysWhenTheClockIsSet(t *testing.T) {
	for name, d := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			cf := steadyFleet(t, 4, 10, testOptions())
			cf.core.noteClock(cf.now)
			age := cf.now.Sub(cf.core.reads.began)
			cf.core.noteClock(cf.now.Add(d))
			if got := cf.now.Add(d).Sub(cf.core.reads.began); got != age {
				t.Errorf("the newest read is %v old, it was %v old before", got, age)
			}
		})
	}
}

// TestI3AReadThatIsNotRecordedCountsAsFailed: a start or stop that waits for a newer read must not go ahead
// because a read ended that could not be recorded.
func TestI3AReadThatIsNotRecordedCountsAsFailed(t *testing.T) {
	cf := steadyFleet(t, 6, 10, testOptions())
	cf.apps[0].Instances++
	cf.fail = errTest
	cf.run(7 * hb)
	if r := cf.core.reads; !r.known().Failing || r.lastError == "" {
		t.Errorf("no read could be recorded: failing %v, error %q", r.known().Failing, r.lastError)
	}
	cf.fail = nil
	cf.run(2 * hb)
	if r := cf.core.reads; r.known().Failing || r.lastError != "" {
		t.Errorf("a read is recorded: failing %v, error %q", r.known().Failing, r.lastError)
	}
}
