package faulttest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Fault is one thing that goes wrong, or that somebody does. Times are in heartbeat periods since the begin of the
// schedule.
type Fault struct {
	At, For float64 // For 0: it is over at once
	Kind    Kind
	Target  Target  // of a node's fault
	Count   int     // how many DEAs, instances or seconds
	Pick    uint64  // chooses the app, the DEAs or the direction
	After   float64 // of nats-kill: how much later than the nodes Count of the DEAs get their links back, 0 for all
	Bulk    string  // of cc-bulk
}

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	NodeKill    Kind = "node-kill"    // SIGKILL, and a start when it is over
	NodeStop    Kind = "node-stop"    // SIGTERM, and a start when it is over
	NodeFreeze  Kind = "node-freeze"  // SIGSTOP, SIGCONT
	NodeWipe    Kind = "node-wipe"    // SIGKILL; its disk is empty when it starts
	NodeDisk    Kind = "node-disk"    // its disk is full
	NodeClock   Kind = "node-clock"   // its wall clock is off by Count seconds
	NodeNoNATS  Kind = "node-no-nats" // its connection to NATS is cut
	NodeDeaf    Kind = "node-deaf"    // NATS tells it nothing, and its connection stays
	NodeCut     Kind = "node-cut"     // its connections to its peers are cut
	NodeHold    Kind = "node-hold"    // nothing passes between it and its peers, in both directions or in one
	NodeNoCC    Kind = "node-no-cc"   // it does not reach the Cloud Controller
	NATSKill    Kind = "nats-kill"    // SIGKILL of nats-server
	NATSFreeze  Kind = "nats-freeze"  // SIGSTOP of nats-server
	NATSFlap    Kind = "nats-flap"    // every connection is cut again and again
	DEAsNoNATS  Kind = "deas-no-nats" // all DEAs and the Cloud Controller lose NATS, the nodes do not
	CFFreeze    Kind = "cf-freeze"    // SIGSTOP of the Cloud Controller and the DEAs
	CCBulk      Kind = "cc-bulk"      // the bulk API fails in the way that Bulk names
	CCSlow      Kind = "cc-slow"      // the bulk API takes Count tenths of a heartbeat for a page
	CCLost      Kind = "cc-lost"      // no node reaches the Cloud Controller
	CCDeaf      Kind = "cc-deaf"      // the Cloud Controller drops commands
	CCLoses     Kind = "cc-loses"     // half of the starts get lost behind the Cloud Controller
	StartsFail  Kind = "starts-fail"  // half of the starting instances crash
	DEAKill     Kind = "dea-kill"     // DEAs die; they come back empty when it is over
	DEAPause    Kind = "dea-pause"    // DEAs are cut off, their instances run on
	DEARestart  Kind = "dea-restart"  // the DEA's process restarts under a new id
	DEAEvacuate Kind = "dea-evacuate" // and new DEAs come when it is over
	DEAShutdown Kind = "dea-shutdown" //
	DEADoubled  Kind = "dea-doubled"  // somebody else heartbeats with the id of a DEA, and has nothing
	AppScale    Kind = "app-scale"    //
	AppDelete   Kind = "app-delete"   //
	AppStop     Kind = "app-stop"     // and a start when it is over
	AppUpdate   Kind = "app-update"   // a new version, at once
	AppRestage  Kind = "app-restage"  // a new version, after staging
	AppCreate   Kind = "app-create"   //
	AppCrash    Kind = "app-crash"    // Count instances crash
	AppLoop     Kind = "app-loop"     // the instances of an app crash again and again
	Pause       Kind = "pause"        // a person pauses hm
)

// Target says which nodes a fault is for.
type Target string

// The targets. Which node leads is asked when the fault begins.
const (
	Leader   Target = "leader"
	Follower Target = "follower"
	Majority Target = "majority" // the leader and a follower
	All      Target = "all"
)

func (f Fault) String() string {
	text := fmt.Sprintf("%6.1f  %s", f.At, f.Kind)
	for _, part := range []struct {
		is   bool
		text string
	}{
		{f.Target != "", string(f.Target)}, {f.Bulk != "", f.Bulk}, {f.Count != 0, fmt.Sprint(f.Count)},
		{f.For > 0, fmt.Sprintf("for %.1f", f.For)}, {f.After > 0, fmt.Sprintf("the DEAs %.1f later", f.After)},
	} {
		if part.is {
			text += " " + part.text
		}
	}
	return text
}

// Describe gives a schedule for people, in a line for each fault.
func Describe(faults []Fault) string {
	var b strings.Builder
	b.WriteString("    at  what (in heartbeat periods)\n")
	for _, f := range faults {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// Plan gives the schedule of a seed: faults in the order of time, all over after a number of heartbeat periods. At no
// time do two faults hit nodes; so a minority of nodes is hit, unless a fault is for more.
func Plan(seed uint64, periods float64) []Fault { return plan(seed, periods, tracks) }

func plan(seed uint64, periods float64, tracks []track) []Fault {
	rnd := rand.New(rand.NewPCG(seed, 11))
	var faults []Fault
	for _, t := range tracks {
		if rnd.Float64() >= t.chance {
			continue
		}
		at := 1 + rnd.Float64()*t.gap
		for at < periods-1 {
			f := t.draw(rnd)
			f.At = round(at)
			f.For = round(min(f.For, periods-at))
			f.Pick = rnd.Uint64()
			faults = append(faults, f)
			at += f.For + f.After + 1 + rnd.Float64()*t.gap
		}
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return faults
}

func round(f float64) float64 { return float64(int(f*10)) / 10 }

// track is a sequence of faults of which none overlaps another.
type track struct {
	chance float64 // with which a schedule has it
	gap    float64 // at most this much and 1 period between two faults
	draw   func(*rand.Rand) Fault
}

var tracks = []track{
	{0.8, 10, drawNode},
	{0.6, 20, drawNATS},
	{0.5, 12, drawCC},
	{0.75, 8, drawDEA},
	{0.85, 4, drawApp},
	{0.25, 15, drawPerson},
}

// lasting is how long a fault lasts: shorter than every time of the policy, about as long, or longer.
func lasting(rnd *rand.Rand) float64 {
	switch n := rnd.IntN(10); {
	case n < 3:
		return 0.3 + 2*rnd.Float64()
	case n < 8:
		return 3 + 6*rnd.Float64()
	}
	return 10 + 10*rnd.Float64()
}

func drawNode(rnd *rand.Rand) Fault {
	kinds := []Kind{NodeKill, NodeKill, NodeStop, NodeFreeze, NodeFreeze, NodeWipe, NodeDisk, NodeClock, NodeNoNATS, NodeNoNATS,
		NodeDeaf, NodeCut, NodeHold, NodeHold, NodeNoCC}
	f := Fault{Kind: kinds[rnd.IntN(len(kinds))], For: lasting(rnd), Target: Leader}
	switch n := rnd.IntN(10); {
	case n < 3:
		f.Target = Follower
	case n == 3 && f.Kind != NodeWipe:
		f.Target = Majority
	case n == 4 && f.Kind != NodeWipe:
		f.Target = All
	}
	if f.Kind == NodeClock {
		seconds := []int{-86_400, -3_600, -30, -2, 2, 30, 3_600, 86_400}
		f.Count = seconds[rnd.IntN(len(seconds))]
	}
	return f
}

func drawNATS(rnd *rand.Rand) Fault {
	kinds := []Kind{NATSKill, NATSKill, NATSKill, NATSFreeze, NATSFlap, DEAsNoNATS, DEAsNoNATS}
	f := Fault{Kind: kinds[rnd.IntN(len(kinds))], For: lasting(rnd)}
	if f.Kind == NATSKill && rnd.IntN(4) > 0 {
		f.After = round(1 + 9*rnd.Float64())
		f.Count = rnd.IntN(4)
	}
	return f
}

func drawCC(rnd *rand.Rand) Fault {
	kinds := []Kind{CCBulk, CCBulk, CCBulk, CCSlow, CCLost, CCDeaf, CCLoses, StartsFail, CFFreeze}
	f := Fault{Kind: kinds[rnd.IntN(len(kinds))], For: lasting(rnd)}
	switch f.Kind {
	case CCBulk:
		ways := []string{"401", "500", "timeout", "truncated", "html", "second-page", "empty", "empty", "empty"}
		f.Bulk = ways[rnd.IntN(len(ways))]
	case CCSlow:
		f.Count = 1 + rnd.IntN(20)
	}
	return f
}

func drawDEA(rnd *rand.Rand) Fault {
	kinds := []Kind{DEAKill, DEAKill, DEAPause, DEAPause, DEARestart, DEAEvacuate, DEAShutdown, DEADoubled}
	f := Fault{Kind: kinds[rnd.IntN(len(kinds))], For: lasting(rnd), Count: 1}
	switch n := rnd.IntN(6); {
	case n < 2:
		f.Count = 2
	case n == 2: // more than half
		f.Count = 5
	}
	if f.Kind == DEADoubled {
		f.Count = 1
	}
	return f
}

func drawApp(rnd *rand.Rand) Fault {
	kinds := []Kind{AppScale, AppScale, AppScale, AppDelete, AppStop, AppUpdate, AppRestage, AppCreate, AppCrash, AppCrash, AppLoop}
	f := Fault{Kind: kinds[rnd.IntN(len(kinds))]}
	switch f.Kind {
	case AppScale:
		f.Count = 1 + rnd.IntN(6) // instances
	case AppCrash:
		f.Count = 1 + rnd.IntN(3)
	case AppCreate:
		f.Count = 1 + rnd.IntN(4)
	case AppStop, AppLoop:
		f.For = lasting(rnd)
	}
	return f
}

func drawPerson(rnd *rand.Rand) Fault {
	return Fault{Kind: Pause, For: lasting(rnd)}
}
