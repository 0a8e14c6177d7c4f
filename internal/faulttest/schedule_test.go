package faulttest

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestPlanIsMadeByItsSeed(t *testing.T) {
	for seed := range uint64(50) {
		if a, b := Plan(seed, 40), Plan(seed, 40); !reflect.DeepEqual(a, b) {
			t.Errorf("seed %d gives %v and %v", seed, a, b)
		}
	}
	if reflect.DeepEqual(Plan(1, 40), Plan(2, 40)) {
		t.Error("two seeds give one schedule")
	}
}

// TestPlanEnds: all faults are in order and over in the end, at most one at a time hits nodes, and every kind comes up.
func TestPlanEnds(t *testing.T) {
	const periods = 40
	kinds := map[Kind]bool{}
	for seed := range uint64(1000) {
		free := 0.0 // when the fault of a node is over
		faults := Plan(seed, periods)
		for _, f := range faults {
			kinds[f.Kind] = true
			if f.At < 0 || f.For < 0 || f.At+f.For > periods {
				t.Errorf("seed %d: %v is not over after %d periods", seed, f, periods)
			}
			if f.Target == "" {
				continue
			}
			if f.At < free {
				t.Errorf("seed %d: %v begins before the fault of another node is over", seed, f)
			}
			free = f.At + f.For
		}
		if !slices.IsSortedFunc(faults, func(a, b Fault) int { return int(10*a.At) - int(10*b.At) }) {
			t.Errorf("seed %d: not in order:\n%s", seed, Describe(faults))
		}
	}
	for _, k := range []Kind{NodeKill, NodeStop, NodeFreeze, NodeWipe, NodeDisk, NodeClock, NodeNoNATS, NodeDeaf, NodeCut, NodeHold, NodeNoCC,
		NATSKill, NATSFreeze, NATSFlap, DEAsNoNATS, CFFreeze, CCBulk, CCSlow, CCLost, CCDeaf, CCLoses, StartsFail, DEAKill, DEAPause,
		DEARestart, DEAEvacuate, DEAShutdown, DEADoubled, AppScale, AppDelete, AppStop, AppUpdate, AppRestage, AppCreate, AppCrash,
		AppLoop, Pause} {
		if !kinds[k] {
			t.Errorf("no schedule has %s", k)
		}
	}
}

func TestDescribe(t *testing.T) {
	text := Describe([]Fault{{At: 3.5, For: 12, Kind: NATSKill, Count: 2, After: 4.5}, {At: 20, Kind: CCBulk, Bulk: "html", For: 1}})
	for _, want := range []string{"   3.5  nats-kill 2 for 12.0 the DEAs 4.5 later\n", "  20.0  cc-bulk html for 1.0\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
