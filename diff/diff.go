// Package diff decides. From what is recorded of one app it finds what is as desired, what should be started or
// stopped, and what that waits for (App). From these findings it plans which commands to schedule, claim and end
// (MakePlan). It is pure and total: the same Input, time and Policy always give the same result, in the daemon, in hm
// explain, in a replay and in a test. Rules has the rules (R01...); docs/rules.md is generated from it.
package diff

import (
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// Policy holds the times and limits that findings depend on. The configuration gives them in heartbeats.
type Policy struct {
	HeartbeatPeriod      time.Duration
	Grace                time.Duration // from when an index is missing until its start is due; also for how long a sent command is outstanding
	CrashesBeforeBackoff int           // crash restarts without a delay
	BackoffStart         time.Duration // first back-off delay; doubles with each further crash
	BackoffMax           time.Duration // longest back-off delay
	DuplicateGrace       int           // for how many graces a duplicate is left alone
	StopYield            time.Duration // for how long stops wait for a wanted index of the app that does not run; 0: one grace at most, as in HM9000
	StartingTTL          time.Duration // for how long a STARTING instance counts as live; 0: for ever
	Shadow               bool          // claimed commands are not sent: another health manager sends its own
}

// CrashMemory is how long a crash series is remembered after its last restart (R08).
func (p Policy) CrashMemory() time.Duration { return 2 * p.BackoffMax }

// UnclearTTL is for how long a start waits because of an instance that may be the wanted one: its state is unknown,
// or its index cannot be read.
func (p Policy) UnclearTTL() time.Duration {
	if p.StartingTTL > 0 {
		return p.StartingTTL
	}
	return defaultUnclear * p.HeartbeatPeriod
}

const defaultUnclear = 30 // heartbeats

// HealthyRun is the running time that takes one crash off a series (W20).
func (p Policy) HealthyRun() time.Duration { return 2 * p.BackoffStart }

// Input is everything that is known of one app: one droplet in one version.
type Input struct {
	Key            app.Key
	Desired        *desired.App           // as last recorded; nil if the last complete read did not have this version
	DesiredVersion app.GUID               // the version in which the droplet is desired, zero if in none
	Elsewhere      Served                 // how that version, if it is another one, is served
	Foreign        bool                   // no version is recorded here as wanted, and another cell may have the app (R65)
	Instances      []actual.Located       // sorted by index, then guid; no guid twice
	Crashes        []actual.Crash         // sorted by index
	Outstanding    []commands.Outstanding // outstanding commands on this app, in any order
	GrewAt         app.Time               // when an instance was last added to the record of this app
	OtherGrewAt    app.Time               // the same for the other versions of the droplet that have live instances; 0 if none has
	Unplaced       []app.Time             // when each entry that names the app without a readable index was first heard; sorted
	Read           Reads                  // what is known of the reads of the desired state
	Held           []string               // the reasons of the closed gate; empty if it is open
}

// Served says whether instances run at all wanted indices of an app.
type Served struct {
	Lacking bool // an index has no running instance
	Quiet   bool // an index has only running instances that may be gone
}

// count adds an index with this many running instances. quiet of them may be gone.
func (s *Served) count(running, quiet int) {
	s.Lacking = s.Lacking || running == 0
	s.Quiet = s.Quiet || running > 0 && quiet >= running
}

// ServedBy says whether instances run at all indices below wanted. The instances are sorted by index.
func ServedBy(wanted uint32, instances []actual.Located) (s Served) {
	next := uint32(0)
	for i := 0; i < len(instances) && instances[i].Index < wanted; {
		index, running, quiet := instances[i].Index, 0, 0
		for ; i < len(instances) && instances[i].Index == index; i++ {
			if instances[i].State == actual.Running {
				running++
				if instances[i].Quiet {
					quiet++
				}
			}
		}
		s.Lacking = s.Lacking || index > next
		s.count(running, quiet)
		next = index + 1
	}
	s.Lacking = s.Lacking || next < wanted
	return s
}

// Reads says how recent the desired state is.
type Reads struct {
	Began    app.Time // when the newest complete read was begun; 0 if none is known
	Failing  bool     // the newest attempt failed
	UnderWay bool     // a newer one is under way
}

// Kind is the kind of drift that a finding is about.
type Kind uint8

// The kinds of drift, KindNone for what is as desired, and KindForeign for what may be another cell's (R65): hm does
// nothing about it, so it is no drift.
const (
	KindNone Kind = iota
	KindMissing
	KindCrashed
	KindEvacuating
	KindExtra
	KindDuplicate
	KindUndesired
	KindForeign
)

// NumKinds is the number of kinds, KindNone included.
const NumKinds = KindForeign + 1

var kindWords = [...]string{"", "missing", "crashed", "evacuating", "extra", "duplicate", "undesired", "foreign"}

// String gives the kind's word in JSON.
func (k Kind) String() string { return kindWords[min(int(k), len(kindWords)-1)] }

// Kinds lists every kind of drift, in the order in which they are shown. KindForeign is none.
func Kinds() []Kind {
	return []Kind{KindMissing, KindCrashed, KindEvacuating, KindExtra, KindDuplicate, KindUndesired}
}

// Bucket says what is done about a finding. Every recorded instance, and every desired index without a live instance,
// is in exactly one bucket.
type Bucket uint8

// The buckets.
const (
	Keep    Bucket = iota // it is as desired, or nothing is to be done about it
	ToStart               // a start is due
	ToStop                // a stop is due
	Wait                  // something is to be done, later
	Hold                  // something is due, but the gate is closed
)

// String names the bucket: keep, start, stop, wait or hold.
func (b Bucket) String() string {
	return [...]string{"keep", "start", "stop", "wait", "hold"}[min(b, 4)]
}

// Finding is the decision about one instance, or about one index without a live instance.
type Finding struct {
	Bucket   Bucket
	Kind     Kind
	Rule     string // id of the rule that made it: R01...
	Action   commands.Action
	Reason   commands.Reason // of the command that Action asks for
	Index    uint32
	Instance app.GUID // the instance; zero if the finding is about an index without a live instance
	DEA      string   // where Instance is
	State    actual.State
	Due      app.Time    // when the action is or becomes due; with Action None when to evaluate again, 0 if only after a change
	Priority float64     // of a start: the share of desired indices without a live instance; 2 for an evacuation
	Command  commands.ID // the outstanding command for this target; zero if there is none
	Expired  bool        // Command was claimed, and its time to take effect is over: another one must replace it
	Why      Why         // what it waits for, or why nothing is done
	// CrashCount and Crashed are what the crash record becomes when a start with ReasonCrashed is scheduled.
	CrashCount uint32
	Crashed    app.GUID
	Tries      uint32 // of a start: how many were sent since the index was last heard of
}
