package faulttest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hm/internal/bus/bustest"
	"hm/internal/sim"
)

const asNATS = "HM_FAULTTEST_AS=nats-server"

// TestMain runs a NATS server instead of the tests, if the environment says so.
func TestMain(m *testing.M) {
	if name, as, _ := strings.Cut(asNATS, "="); os.Getenv(name) != as {
		os.Exit(m.Run())
	}
	port, err := strconv.Atoi(os.Args[1])
	if err == nil {
		_, err = sim.StartNATS(sim.NATSOptions{Port: port})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// TestChaos runs HM_CHAOS_N seeds from HM_CHAOS_SEED on, or nothing if HM_CHAOS_N is not set: `make chaos` sets it. A
// failing seed leaves its logs, its record and a recording in HM_CHAOS_DIR, or in a directory that it names.
func TestChaos(t *testing.T) {
	first, n := number(t, "HM_CHAOS_SEED", 1), number(t, "HM_CHAOS_N", 0)
	if n == 0 {
		t.Skip("the fault bench runs for minutes: use make chaos SEED=1 N=10")
	}
	clock := os.Getenv("HM_CHAOS_CLOCK") != "0"
	hm := buildHM(t, clock, nil)
	kept := cmp.Or(os.Getenv("HM_CHAOS_DIR"), filepath.Join(os.TempDir(), "hm-chaos"))
	var took []time.Duration
	commands, failed := 0, 0
	for seed := first; seed < first+n; seed++ {
		r := chaos(t, settings(t, hm, clock), seed, kept)
		if r == nil {
			failed++
			continue
		}
		if len(r.Violations) > 0 {
			failed++
		}
		if seed == first {
			replays(t, hm, r.Recording)
		}
		if r.Record.Converged > 0 {
			took = append(took, r.Record.Converged-r.Record.Healed)
		}
		commands += len(r.Record.Commands)
	}
	t.Logf("%d seeds, %d of them with violations or without a result; %d commands; agreement after healing: %s", n, failed, commands, spread(took))
}

// chaos runs one seed and reports what it finds.
func chaos(t *testing.T, s Settings, seed uint64, kept string) *Result {
	t.Helper()
	began := time.Now()
	r, err := Run(t.Context(), s, seed)
	if err != nil {
		t.Errorf("%v\n%s", err, keep(s.Dir, kept, seed))
		return nil
	}
	t.Logf("seed %d: %d faults, %d commands, agreement %v after healing, the bench stalled up to %v, in %v", seed, len(r.Schedule), len(r.Record.Commands),
		(r.Record.Converged - r.Record.Healed).Round(time.Millisecond), longest(r.Record.Stalls).Round(time.Millisecond), time.Since(began).Round(100*time.Millisecond))
	if r.Record.TooBusy() {
		t.Logf("seed %d: the machine was too busy for I9 to be judged; use HM_CHAOS_PERIOD=500ms, or less load", seed)
	}
	if len(r.Violations) > 0 {
		var b strings.Builder
		for _, v := range r.Violations {
			fmt.Fprintln(&b, " ", v)
		}
		t.Errorf("seed %d: %d violations\n%sthe schedule was\n%swhat was done:\n  %s\nrun it again: make chaos SEED=%d N=1\n%s", seed, len(r.Violations), b.String(),
			Describe(r.Schedule), strings.Join(r.Done, "\n  "), seed, keep(s.Dir, kept, seed))
	}
	return r
}

// replays requires that hm plays what the bench recorded.
func replays(t *testing.T, hm, recording string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, hm, "replay", recording, "-o", "json").CombinedOutput(); err != nil {
		t.Errorf("hm replay %s: %v\n%s", recording, err, out[max(0, len(out)-2000):])
	}
}

// TestJudgeAgain judges the record that a seed left in HM_CHAOS_JUDGE.
func TestJudgeAgain(t *testing.T) {
	dir := os.Getenv("HM_CHAOS_JUDGE")
	if dir == "" {
		t.Skip("HM_CHAOS_JUDGE names no directory of a seed")
	}
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range Judge(r) {
		t.Error(v)
	}
}

func longest(spans []Span) (most time.Duration) {
	for _, s := range spans {
		most = max(most, s.Until-s.From)
	}
	return most
}

// keep moves what a seed left to a place where it stays, and says how to look at it.
func keep(dir, kept string, seed uint64) string {
	to := filepath.Join(kept, fmt.Sprintf("seed-%d-%s", seed, time.Now().Format("150405")))
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return err.Error()
	}
	if out, err := exec.Command("cp", "-r", dir, to).CombinedOutput(); err != nil {
		return fmt.Sprintf("copying %s: %v: %s", dir, err, out)
	}
	return fmt.Sprintf("logs and the record are in %s\nplay the recording: hm replay %s", to, filepath.Join(to, "recording.jsonl.zst"))
}

func spread(d []time.Duration) string {
	if len(d) == 0 {
		return "never"
	}
	var sum, most time.Duration
	for _, x := range d {
		sum += x
		most = max(most, x)
	}
	return fmt.Sprintf("%v on average, %v at most", (sum / time.Duration(len(d))).Round(time.Millisecond), most.Round(time.Millisecond))
}

// settings are those of one run.
func settings(t *testing.T, hm string, clock bool) Settings {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	period := 200 * time.Millisecond
	if text := os.Getenv("HM_CHAOS_PERIOD"); text != "" {
		if period, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	return Settings{HM: hm, Server: self, AsNATS: asNATS, Dir: t.TempDir(), Ports: bustest.FreePorts(t, NeededPorts), Period: period,
		Periods: float64(number(t, "HM_CHAOS_PERIODS", 40)), Clock: clock, SmallDisks: canMount(t),
		Logger: slog.New(slog.DiscardHandler)}
}

// canMount reports whether the test may mount file systems.
var canMount = func() func(t *testing.T) bool {
	var once sync.Once
	can := false
	return func(t *testing.T) bool {
		once.Do(func() {
			dir := t.TempDir()
			if err := mountSmall(dir); err != nil {
				t.Logf("full disks are left out: they need small file systems, which only root may mount: %v", err)
				return
			}
			can = unmount(dir) == nil
		})
		return can
	}
}()

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// buildHM builds hm, with files of it replaced, and with a clock that can jump.
func buildHM(t *testing.T, clock bool, replace map[string]string) string {
	t.Helper()
	if built := os.Getenv("HM_CHAOS_HM"); built != "" && len(replace) == 0 {
		return built
	}
	dir := t.TempDir()
	args := []string{"build", "-o", filepath.Join(dir, "hm")}
	if clock || len(replace) > 0 {
		root, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			t.Fatal(err)
		}
		overlay, err := Overlay(dir, strings.TrimSpace(string(root)), clock, replace)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "-overlay", overlay)
	}
	if os.Getenv("HM_CHAOS_RACE") != "" {
		args = append(args, "-race")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append(args, "hm/cmd/hm")...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building hm: %v\n%s", err, out)
	}
	return filepath.Join(dir, "hm")
}
