package replay

import (
	"bytes"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"hm/internal/config"
	"hm/internal/recording"
)

func optionsForTests() Options { return OptionsOf(config.Default()) }

// underRace says that the race detector is on, which makes everything several times slower.
var underRace bool

// Every recording gives the same result many times, with one processor and with two.
func TestSameResultEveryTime(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for name, path := range corpus(t) {
		rounds := 100
		if underRace {
			rounds = 10
		}
		if strings.HasPrefix(name, "large-") {
			rounds = 2
		}
		if testing.Short() {
			rounds = min(rounds, 4)
		}
		files, err := recording.Files(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, react := range []*React{nil, {}} {
			opts := optionsFor(t, files...)
			opts.React = react
			var want []byte
			for round := range rounds {
				runtime.GOMAXPROCS(1 + round%2)
				r, err := Run(t.Context(), opts, files...)
				if err != nil {
					t.Fatal(err)
				}
				if got := r.JSON(); want == nil {
					want = got
				} else if !bytes.Equal(got, want) {
					t.Fatalf("%s: round %d gives\n%s\nthe first gave\n%s", name, round, got, want)
				}
			}
		}
	}
}

// The order of the heartbeats that were received in one instant does not matter.
func TestOrderWithinAnInstant(t *testing.T) {
	for _, name := range []string{"outage-dea-lost", "outage-deas-lost-for-good", "R51-start-limit", "R26-evacuation", "R07-crash-loop"} {
		data, err := os.ReadFile(corpus(t)[name])
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(strings.TrimSpace(string(data))+"\n", "\n")
		together := roundTimes(lines) // all heartbeats of a period are received in one instant
		want := replay(t, recording.Text("f", []byte(strings.Join(together, "")))).JSON()
		rnd := rand.New(rand.NewPCG(1, 2))
		moved := 0
		for range 20 {
			shuffled := append([]string(nil), together...)
			for from := 0; from < len(shuffled); {
				to := from
				for to < len(shuffled) && isHeartbeat(shuffled[to]) && timeOf(shuffled[to]) == timeOf(shuffled[from]) {
					to++
				}
				rnd.Shuffle(to-from, func(i, j int) {
					shuffled[from+i], shuffled[from+j] = shuffled[from+j], shuffled[from+i]
					moved++
				})
				from = max(to, from+1)
			}
			if got := replay(t, recording.Text("f", []byte(strings.Join(shuffled, "")))).JSON(); !bytes.Equal(got, want) {
				t.Fatalf("%s: shuffled, the result is\n%s\nwant\n%s", name, got, want)
			}
		}
		if moved < 100 {
			t.Errorf("%s: only %d heartbeats were exchanged", name, moved)
		}
	}
}

func isHeartbeat(line string) bool { return strings.Contains(line, `"subject":"dea.heartbeat"`) }

func timeOf(line string) string { return line[:strings.Index(line, `","type"`)] }

// roundTimes moves every heartbeat to the last second of its period: 12:00:14.3 to 12:00:19.
func roundTimes(lines []string) []string {
	var out, held []string
	for _, line := range lines {
		if !isHeartbeat(line) {
			out = append(out, held...)
			out, held = append(out, line), nil
			continue
		}
		tens := len(`{"t":"2026-01-15T12:00:1`)
		rest := line[strings.Index(line, `","type"`):]
		line = line[:tens] + "9Z" + rest
		held = append(held, line)
	}
	return sortLines(append(out, held...))
}

// sortLines sorts the lines after the header by time. It keeps the order of equal times.
func sortLines(lines []string) []string {
	body := lines[1:]
	for i := 1; i < len(body); i++ {
		for j := i; j > 0 && body[j] != "" && body[j-1] != "" && second(body[j]) < second(body[j-1]); j-- {
			body[j], body[j-1] = body[j-1], body[j]
		}
	}
	return lines
}

// second returns the time of a line without its fraction.
func second(line string) string { return line[:len(`{"t":"2026-01-15T12:00:19`)] }

// Frozen views, which the daemon has, give the same results as the state itself.
func TestFrozenViewsMakeNoDifference(t *testing.T) {
	for name, path := range corpus(t) {
		files, err := recording.Files(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, react := range []*React{nil, {}} {
			opts := optionsFor(t, files...)
			opts.React = react
			live, err := Run(t.Context(), opts, files...)
			if err != nil {
				t.Fatal(err)
			}
			opts.freeze = true
			frozen, err := Run(t.Context(), opts, files...)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(live.JSON(), frozen.JSON()) {
				t.Errorf("%s: with frozen views the result is\n%s\nwithout\n%s", name, frozen.JSON(), live.JSON())
			}
		}
	}
}
