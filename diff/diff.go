// Package diff decides. From what is recorded of one app it finds what is as desired, what should be started or
// stopped, and what that waits for. It is pure and total: the same Input, time and Policy always give the same
// findings in the same order, in the daemon, in hm explain, in a replay and in a test. The rules (R01...) are
// those of docs/rules.md.
package diff

import (
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/app"
)

// Policy holds the times and limits that findings depend on, already turned from heartbeats into durations.
type Policy struct {
	HeartbeatPeriod      time.Duration
	Grace                time.Duration // how long an index may be missing before its start is due; how long a sent command stays outstanding
	CrashesBeforeBackoff int           // crash restarts without a delay
	BackoffStart         time.Duration // first back-off delay; doubles with each further crash
	BackoffMax           time.Duration // longest back-off delay
	DuplicateGrace       int           // graces that a duplicate is left alone for
	StopYield            time.Duration // for how long stops wait for a wanted index of the app that does not run; 0: as HM9000 did, one grace at most
	StartingTTL          time.Duration // how long an instance may be STARTING and count as live; 0: for ever
}

// CrashMemory is how long a crash series is remembered after its last restart (R08).
func (p Policy) CrashMemory() time.Duration { return 2 * p.BackoffMax }

// UnclearTTL is for how long an instance keeps a start away that may be the wanted one: it is in a state that hm does not
// know, or its index cannot be read.
func (p Policy) UnclearTTL() time.Duration {
	if p.StartingTTL > 0 {
		return p.StartingTTL
	}
	return defaultUnclear * p.HeartbeatPeriod
}

const defaultUnclear = 30 // heartbeats

// HealthyRun is how much running time takes one crash off a series (W20).
func (p Policy) HealthyRun() time.Duration { return 2 * p.BackoffStart }

// Input is everything that is known of one app (one droplet in one version).
type Input struct {
	Key            app.Key
	Desired        *desired.App           // as last recorded; nil if the last complete read did not have this version
	DesiredVersion app.GUID               // the version in which the droplet is desired, zero if in none
	Elsewhere      Served                 // how that version, if it is another one, is served
	Instances      []actual.Located       // sorted by index, then guid; no guid twice
	Crashes        []actual.Crash         // sorted by index
	Outstanding    []commands.Outstanding // commands on this app that are not resolved, in any order
	GrewAt         app.Time               // when an instance was last added to what is recorded of this app
	OtherGrewAt    app.Time               // the same of the droplet's other versions that have live instances; 0 if none has
	Unplaced       []app.Time             // when each entry was first heard that names the app, and no index that can be read; sorted
	Read           Reads                  // what is known of the reads of the desired state
	Held           []string               // why nothing may be sent now: the gate's reasons; empty if it is open
}

// Served says how well the indices of an app that are wanted are served.
type Served struct {
	Lacking bool // one has no running instance
	Quiet   bool // one has, but only such as may have gone
}

// count takes in one index: how many instances run there, and how many of these may have gone.
func (s *Served) count(running, quiet int) {
	s.Lacking = s.Lacking || running == 0
	s.Quiet = s.Quiet || running > 0 && quiet >= running
}

// ServedBy says how well the indices below wanted are served by an app's instances, which are sorted by index.
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

// Kind is the sort of drift that a finding is about.
type Kind uint8

// The kinds of drift, and KindNone for what is as desired.
const (
	KindNone Kind = iota
	KindMissing
	KindCrashed
	KindEvacuating
	KindExtra
	KindDuplicate
	KindUndesired
)

var kindWords = [...]string{"", "missing", "crashed", "evacuating", "extra", "duplicate", "undesired"}

// String gives the kind's word in JSON.
func (k Kind) String() string { return kindWords[min(int(k), len(kindWords)-1)] }

// Kinds lists every kind of drift, in the order in which people see them.
func Kinds() []Kind {
	return []Kind{KindMissing, KindCrashed, KindEvacuating, KindExtra, KindDuplicate, KindUndesired}
}

// Bucket says what becomes of a finding. Every recorded instance, and every desired index without a live
// instance, is in exactly one.
type Bucket uint8

// The buckets.
const (
	Keep    Bucket = iota // as desired, or nothing is to be done about it
	ToStart               // a start is due
	ToStop                // a stop is due
	Wait                  // something is to be done, later
	Hold                  // something is due, but the gate is closed
)

// String names the bucket: keep, start, stop, wait or hold.
func (b Bucket) String() string {
	return [...]string{"keep", "start", "stop", "wait", "hold"}[min(b, 4)]
}

// Finding is what one app's instance or index comes to.
type Finding struct {
	Bucket   Bucket
	Kind     Kind
	Rule     string // id of the rule that made it: R01...
	Action   commands.Action
	Reason   commands.Reason // of the command that Action asks for
	Index    uint32
	Instance app.GUID // the instance it is about; zero when it is about an index without a live instance
	DEA      string   // where Instance is
	State    actual.State
	Due      app.Time    // when the action is or becomes due; with Action None when to look again, 0 if only after a change
	Priority float64     // of a start: the share of desired indices without a live instance; 2 for an evacuation
	Command  commands.ID // the outstanding command for this target, zero if there is none
	Expired  bool        // Command was sent, and its time to take effect is over: it is to be replaced
	Why      Why         // what it waits for, or why nothing is done
	// CrashCount and Crashed are what the crash record becomes when a start with ReasonCrashed is scheduled.
	CrashCount uint32
	Crashed    app.GUID
	Tries      uint32 // of a start: how many were sent before it, since anything was heard of the index
}
