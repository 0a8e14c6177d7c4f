package faulttest

import (
	"fmt"
	"log/slog"
	"time"
)

// Settings are what a run needs besides its seed.
type Settings struct {
	HM      string // path of the hm program
	Server  string // path of a program that runs a NATS server, and
	AsNATS  string // the environment variable, as NAME=VALUE, that makes it do so; its argument is the port
	Dir     string // of the run: logs, data, the recording and the record
	Ports   []int  // NeededPorts free ports of 127.0.0.1
	Period  time.Duration
	Periods float64 // how long faults are injected
	// Clock says that HM reads its wall clock through the overlay of package clockjump, so that clocks can jump.
	Clock bool
	// SmallDisks says that the data of the nodes may be on small file systems of their own, which only root can mount.
	SmallDisks bool
	Keys       []string     // configuration of the nodes beside policyKeys, such as commands.journal_entries=2000
	Unrecorded bool         // no recording is made
	Logger     *slog.Logger // of the bench
}

// NeededPorts is how many ports a run needs.
const NeededPorts = 10

const (
	nodeCount = 3
	deaCount  = 8
	appCount  = 24 // more than guard.min_apps

	requestRate = 40 // requests a second that users send to the apps, over the router
)

// policyKeys is the configuration of the nodes that differs from hm's defaults, so that a run is short. All times but
// that of the Raft log scale with the heartbeat period.
func (s Settings) policyKeys() []string {
	return []string{
		"policy.heartbeat_period=" + s.Period.String(),
		"policy.heartbeat_ttl=5", // longer than the freshness window, so that one does not hide a fault of the other
		"policy.backoff_max=12",
		"desired.poll_interval=3",
		"desired.bulk.timeout=" + (5 * s.Period).String(),
		"guard.mass_loss_hold=12",
		"nats.ping_interval=" + s.Period.String(),
	}
}

// policy is what the judge goes by: hm's defaults and policyKeys.
func (s Settings) policy() Policy {
	return Policy{
		Period: s.Period, TTL: 5 * s.Period, Freshness: 3 * s.Period, Grace: 3 * s.Period, DesiredTTL: 12 * s.Period,
		Lease: 250 * time.Millisecond, MassLoss: 0.5, LossHold: 12 * s.Period, Bound: s.Bound(),
	}
}

// Bound is the time within which hm must have corrected every drift, once all faults have ended (I9). It is the sum of
// the longest waits of the policy, as if every one came after the other:
//
//   - 5 s for what does not scale with the heartbeat period: an election, the longest pause between two attempts to
//     connect to NATS, and to reach a peer that was away;
//   - 6 periods until a page of the bulk API that hangs is given up and the next read is over;
//   - 3 periods of freshness;
//   - 12 periods of a hold, set for the last fault;
//   - 5 periods until a DEA counts as lost, a grace of 3, and 12 as the longest back-off;
//   - 12 periods until the first of several copies is stopped, and 3 for each of three more;
//   - 18 periods for which a stop yields to a start;
//   - 12 periods until a DEA that evacuates leaves without a replacement.
func (s Settings) Bound() time.Duration {
	return 5*time.Second + (6+3+12+5+3+12+12+9+18+12)*s.Period
}

func (s Settings) validate() error {
	switch {
	case len(s.Ports) < NeededPorts:
		return fmt.Errorf("%d ports, %d are needed", len(s.Ports), NeededPorts)
	case s.Period < 50*time.Millisecond:
		return fmt.Errorf("a heartbeat period of %v: at least 50ms", s.Period)
	case s.Periods < 3:
		return fmt.Errorf("faults for %v periods: at least 3", s.Periods)
	}
	return nil
}
