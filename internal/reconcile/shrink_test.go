package reconcile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxShrunk is how many failing schedules of a test are shrunk. Shrinking one takes as long as about
// a hundred schedules.
const maxShrunk = 3

// report says how a schedule failed, which faults matter, and how to run it again.
func (s schedule) report(t testing.TB, r scheduleResult, shrink bool) string {
	again := func(s schedule) string {
		line := fmt.Sprintf("HM_TEST_SEED=%d ", s.seed)
		if len(s.faults) < maxFaults {
			line += "HM_TEST_FAULTS=" + strings.Trim(strings.ReplaceAll(fmt.Sprint(s.faults), " ", ","), "[]") + " "
		}
		if s.cell {
			line += "HM_TEST_CELL=1 "
		}
		return line + "go test -run '^TestChaos$' ./internal/reconcile"
	}
	text := fmt.Sprintf("seed %d: %s\nRun it again with: %s", s.seed, r.violation, again(s))
	if !shrink {
		return text
	}
	small, r := s.shrink(t, r)
	return fmt.Sprintf("%s\nThese %d of its faults suffice:\n  %s\n%s\nRun them alone with: %s",
		text, len(small.faults), strings.Join(r.told, "\n  "), r.violation, again(small))
}

// shrink gives the schedule without the faults that do not matter to its violation, and how that
// ends: delta debugging, which leaves out ever smaller parts of the list as long as the same check
// fails.
func (s schedule) shrink(t testing.TB, r scheduleResult) (schedule, scheduleResult) {
	kind := kindOf(r.violation)
	for size := (len(s.faults) + 1) / 2; size >= 1; size /= 2 {
		for again := true; again; {
			again = false
			for from := 0; from < len(s.faults); {
				fewer := s
				fewer.faults = slices.Delete(slices.Clone(s.faults), from, min(from+size, len(s.faults)))
				if smaller := fewer.run(t); kindOf(smaller.violation) == kind {
					s, r, again = fewer, smaller, size == 1
				} else {
					from += size
				}
			}
		}
	}
	return s, r
}

var (
	atTime  = regexp.MustCompile(`^at [^ ]+ `)
	details = regexp.MustCompile(`[0-9a-fA-F]*[0-9][-0-9a-fA-F.msh]*|\{.*\}|\[.*\]|(?s)\n.*`)
)

// kindOf is the part of a violation that does not depend on who it is about.
func kindOf(violation string) string {
	return details.ReplaceAllString(atTime.ReplaceAllString(violation, ""), "#")
}
