package reconcile

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
)

// schedule is what goes wrong in one run: the faults with these numbers of a seed.
type schedule struct {
	seed   uint64
	faults []int // sorted
	junk   bool
	cell   bool // hm is in a cell, beside another one on the same bus
	// unnoted: the nodes record no notes for the history. A note makes an entry, and each entry draws a fault.
	unnoted bool
}

func (s schedule) has(fault int) bool {
	_, has := slices.BinarySearch(s.faults, fault)
	return has
}

func allFaults() []int {
	all := make([]int, maxFaults)
	for i := range all {
		all[i] = i
	}
	return all
}

func parseFaults(t testing.TB, list string) (faults []int) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 0 || n >= maxFaults {
			t.Fatalf("HM_TEST_FAULTS is %q, want numbers from 0 to %d with commas between them", list, maxFaults-1)
		}
		faults = append(faults, n)
	}
	slices.Sort(faults)
	return slices.Compact(faults)
}

// outcome is how a schedule ended.
type scheduleResult struct {
	violation string // the first one; empty: there was none
	told      []string
	sent      []sentCommand
	counts    map[string]int
	trace     uint64
}

// violation is what a failed check of the simulation panics with in a schedule.
type violation string

// inSchedule makes a failed check end the schedule, and not the test.
type inSchedule struct{ testing.TB }

func (inSchedule) Helper()                     {}
func (inSchedule) Fatal(a ...any)              { panic(violation(fmt.Sprint(a...))) }
func (inSchedule) Fatalf(f string, a ...any)   { panic(violation(fmt.Sprintf(f, a...))) }
func (inSchedule) Error(a ...any)              { panic(violation(fmt.Sprint(a...))) }
func (t inSchedule) Errorf(f string, a ...any) { t.Fatalf(f, a...) }

// run runs a schedule. The same schedule always gives the same result.
func (s schedule) run(t testing.TB) (r scheduleResult) {
	rnd := rand.New(rand.NewPCG(s.seed, 1))
	opts := testOptions()
	opts.StartLimit = []int{0, 5, 60}[rnd.IntN(3)]
	opts.ReadsApps = rnd.IntN(2) == 0
	opts.Policy.BackoffMax = 12 * hb
	opts.Guard.MassLossHold, opts.Guard.ConfirmReads = 10*hb, 4
	opts.partBytes = 300
	if s.cell {
		opts.Filter = cellFilter.String()
	}
	if s.unnoted {
		opts.Notes = func() bool { return false }
	}
	cf := steadyFleet(t, 6+rnd.IntN(8), 25, opts)
	cf.junk, cf.t = s.junk, inSchedule{t}
	cf.trace = &trace{hash: xxh3.New()}
	if path := os.Getenv("HM_TEST_TRACE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cf.trace.text = f
	}
	defer func() {
		for _, n := range cf.nodes {
			if n.process != nil {
				n.process.kill()
			}
		}
		r.told, r.sent, r.trace = cf.told, cf.sent, cf.trace.hash.Sum64()
		if cf.faults != nil {
			r.counts = cf.faults.counts
		}
		if r.counts == nil {
			r.counts = map[string]int{}
		}
		r.counts["commands sent"] = len(cf.sent)
	}()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case violation:
			r.violation = string(p)
		default:
			r.violation = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
		}
		if r.violation != "" {
			cf.note("violation")
			r.violation = fmt.Sprintf("at %v: %s", cf.now, r.violation)
		}
	}()
	chaos(cf, s)
	return r
}

// say notes in words what the present fault of a schedule does.
func (cf *simCF) say(format string, a ...any) {
	cf.told = append(cf.told, fmt.Sprintf("%2d at %v: ", cf.number, cf.now)+fmt.Sprintf(format, a...))
	cf.note(cf.told[len(cf.told)-1])
}

// TestSameSeedSameTrace: a schedule has the same run every time, event by event.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s := schedule{seed: 1000 + seed, faults: allFaults()}
			first := s.run(t)
			if again := s.run(t); again.trace != first.trace {
				t.Errorf("the first run's trace is %x, the second one's %x", first.trace, again.trace)
			}
			if other := (schedule{seed: 2000 + seed, faults: allFaults()}).run(t); other.trace == first.trace {
				t.Error("another seed has the same trace")
			}
		})
	}
}
