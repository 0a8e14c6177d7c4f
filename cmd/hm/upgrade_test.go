package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hm/internal/api"
)

// The tests of rolling upgrades run real processes of two versions of hm: `make upgrade N=20`. In the normal tests each
// does one upgrade from the last release and back.

const (
	// upgradesVariable says how many upgrades to do.
	upgradesVariable = "HM_TEST_UPGRADE"
	// upgradeFromVariable names the commit of the older version instead of the last release.
	upgradeFromVariable = "HM_TEST_UPGRADE_FROM"
	// upgradeProgramVariable is the path of the older version's program, such as one from a release's archive.
	upgradeProgramVariable = "HM_TEST_UPGRADE_PROGRAM"
)

// upgradePeriod is the heartbeat period of these tests.
const upgradePeriod = time.Second

// moduleRoot is the root of the repository, seen from this package.
const moduleRoot = "../.."

// skipUnlessRequired skips a test that cannot run here. It fails the test if HM_TEST_REQUIRE=all asks for every test.
func skipUnlessRequired(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("HM_TEST_REQUIRE") == "all" {
		t.Fatalf("HM_TEST_REQUIRE=all asks for every test: "+format, args...)
	}
	t.Skipf(format, args...)
}

// lastRelease gives the version and the commit of the newest release in testdata/releases, or the commit that the environment
// names. Without a release, or without its history, it skips the test.
func lastRelease(t *testing.T) (version, commit string) {
	t.Helper()
	for _, tool := range []string{"git", "go", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			skipUnlessRequired(t, "this test builds the last release: %v", err)
		}
	}
	if commit = os.Getenv(upgradeFromVariable); commit != "" {
		out, err := exec.Command("git", "-C", moduleRoot, "rev-parse", "--verify", "--quiet", commit+"^{commit}").Output()
		if err != nil {
			t.Fatalf("%s names a commit that the history of the repository does not have: %s", upgradeFromVariable, commit)
		}
		return "v0.0.0-other", strings.TrimSpace(string(out))
	}
	dirs, err := filepath.Glob(filepath.Join(moduleRoot, "testdata", "releases", "*.*.*"))
	if err != nil || len(dirs) == 0 {
		skipUnlessRequired(t, "there is no release in testdata/releases; %s names a commit instead", upgradeFromVariable)
	}
	slices.SortFunc(dirs, func(a, b string) int {
		return slices.Compare(numbers(filepath.Base(a)), numbers(filepath.Base(b)))
	})
	newest := dirs[len(dirs)-1]
	version = "v" + filepath.Base(newest)
	if out, err := exec.Command("git", "-C", moduleRoot, "rev-parse", "--verify", "--quiet", version+"^{commit}").Output(); err == nil {
		return version, strings.TrimSpace(string(out))
	}
	// It is not tagged. Then it is the commit that has its files; in a shallow clone that may be one that came later.
	out, err := exec.Command("git", "-C", moduleRoot, "log", "-1", "--format=%H", "--", "testdata/releases/"+filepath.Base(newest)).Output()
	if commit = strings.TrimSpace(string(out)); err != nil || commit == "" {
		skipUnlessRequired(t, "the history of the repository does not have the release %s; %s names a commit instead", version, upgradeFromVariable)
	}
	return version, commit
}

// numbers gives the numbers of a version such as 0.1.0.
func numbers(version string) (n []int) {
	for _, part := range strings.Split(version, ".") {
		i, _ := strconv.Atoi(part)
		n = append(n, i)
	}
	return n
}

// buildRelease builds hm as a commit has it.
func buildRelease(t *testing.T, version, commit string) (program string) {
	t.Helper()
	dir := t.TempDir()
	archive := exec.Command("git", "-C", moduleRoot, "archive", "--format=tar", commit)
	unpack := exec.Command("tar", "-xf", "-", "-C", dir)
	var err error
	if unpack.Stdin, err = archive.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := unpack.Start(); err != nil {
		t.Fatal(err)
	}
	if err := archive.Run(); err != nil {
		t.Fatal(err)
	}
	if err := unpack.Wait(); err != nil {
		t.Fatal(err)
	}
	return buildHM(t, dir, version, "lean")
}

// buildHM builds the hm in a directory with a version and build tags. Like this test it has the race detector or not, so
// that the libraries are compiled only once for both.
func buildHM(t *testing.T, dir, version, tags string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "hm-"+version)
	began := time.Now()
	args := []string{"build", "-buildvcs=false", "-tags", tags, "-ldflags", "-s -w -X main.release=" + version, "-o", program}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/hm")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building hm %s: %v\n%s", version, err, out)
	}
	t.Logf("built hm %s in %.0f s", version, time.Since(began).Seconds())
	return program
}

// gateWatch finds out for how long no node had an open gate.
type gateWatch struct {
	stop chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	open    time.Time // when a gate was last seen open
	longest time.Duration
	shut    []string // what kept the leaders' gates shut since open, in order
	why     []string // the same, of the longest time
}

func watchGates(f *foundry) *gateWatch {
	w := &gateWatch{stop: make(chan struct{}), open: time.Now()}
	for i := range f.apis {
		w.wg.Go(func() {
			for {
				select {
				case <-w.stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				asked := time.Now()
				switch s, err := f.status(i); {
				case err != nil:
				case s.Gate.Open:
					w.saw(asked, time.Now())
				default:
					w.sawShut(i, s.Gate.Reasons)
				}
			}
		})
	}
	return w
}

// saw notes that a gate was open at a time between from and to.
func (w *gateWatch) saw(from, to time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := from.Sub(w.open); d > w.longest {
		w.longest, w.why = d, w.shut
	}
	if to.After(w.open) {
		w.open, w.shut = to, nil
	}
}

func (w *gateWatch) sawShut(node int, reasons []string) {
	if slices.Contains(reasons, "not-leader") {
		return
	}
	text := fmt.Sprintf("hm-%d: %s", node, strings.Join(reasons, " "))
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.shut, text) {
		w.shut = append(w.shut, text)
	}
}

// lap gives the longest time without an open gate since the last lap, and what kept the gates shut then.
func (w *gateWatch) lap() (longest time.Duration, why []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest, why = w.longest, w.why
	w.longest, w.why = 0, nil
	return longest, why
}

func (w *gateWatch) end() {
	close(w.stop)
	w.wg.Wait()
}

// upgrade is a foundry whose nodes change their version.
type upgrade struct {
	*foundry
	gates *gateWatch
}

func newUpgrade(t *testing.T, program string) *upgrade {
	t.Helper()
	f := newFoundry(t, upgradePeriod, []string{"--apps", "100", "--deas", "10", "--instances-per-app", "3"}, "raft.snapshot_threshold=256", "raft.snapshot_interval=1s")
	for _, n := range f.nodes { // before anything is recorded
		n.signal(syscall.SIGKILL)
		n.program = program
		n.start()
	}
	u := &upgrade{foundry: f}
	u.awaitAll("at the start")
	f.act("PUT", "unrest", `{"crash":0.01}`) // each crash needs a start, and writes several entries
	u.gates = watchGates(f)
	t.Cleanup(u.gates.end)
	return u
}

// awaitAll waits until a gate is open and each node could command if it led. It gives the leader.
func (u *upgrade) awaitAll(what string) (leader int) {
	u.t.Helper()
	u.await(what+": all nodes are ready", 60*time.Second, func() bool {
		leader = -1
		for i := range u.apis {
			s, err := u.foundry.status(i)
			if err != nil || !s.Gate.Open && !slices.Equal(s.Gate.Reasons, []string{"not-leader"}) {
				return false
			}
			if slices.ContainsFunc(s.Cluster.Nodes, func(n api.ClusterNode) bool { return !n.Healthy }) {
				return false
			}
			if s.Gate.Open {
				leader = i
			}
		}
		return leader >= 0
	})
	return leader
}

// roll gives every node another program, one after the other, the leader last.
func (u *upgrade) roll(program string, env ...string) {
	u.t.Helper()
	leader := u.awaitAll("before a node is replaced")
	for _, i := range []int{(leader + 1) % 3, (leader + 2) % 3, leader} {
		u.nodes[i].signal(syscall.SIGTERM)
		u.nodes[i].program, u.nodes[i].env = program, env
		u.nodes[i].start()
		u.awaitAll(fmt.Sprintf("hm-%d was replaced", i))
	}
}

// checkNothingNeedless checks the commands that the Cloud Controller has received so far, and gives their number.
func (u *upgrade) checkNothingNeedless(what string) (commands uint64) {
	u.t.Helper()
	c := u.state().Commands
	if c.Needless+c.Harmful+c.Repeated+c.Malformed > 0 {
		u.t.Fatalf("%s: %d needless starts, %d harmful stops, %d commands with an id seen before, %d malformed", what, c.Needless, c.Harmful, c.Repeated, c.Malformed)
	}
	if c.StopsAccepted+c.StopsRefused > 0 {
		u.t.Fatalf("%s: %d stops, and nothing was to be stopped", what, c.StopsAccepted+c.StopsRefused)
	}
	return c.StartsAccepted + c.StartsRefused
}

// checkNothingLost ends the load, waits until all is well, and checks that every command that the Cloud Controller got is
// recorded, and that all nodes have the same record.
func (u *upgrade) checkNothingLost() {
	u.t.Helper()
	u.act("PUT", "unrest", `{}`)
	u.await("everything runs, and the nodes agree", 60*time.Second, func() bool {
		if !u.state().Converged {
			return false
		}
		var hashes []string
		for i := range u.apis {
			s, err := u.foundry.status(i)
			if err != nil || s.Drift.Total() > 0 || s.Commands.PendingStarts > 0 {
				return false
			}
			hashes = append(hashes, s.Hash)
		}
		return len(slices.Compact(hashes)) == 1
	})
	got := u.checkNothingNeedless("at the end")
	s, err := u.foundry.status(0)
	if err != nil {
		u.t.Fatal(err)
	}
	if s.Commands.SentStarts != got {
		u.t.Errorf("%d starts are recorded as sent, the Cloud Controller got %d", s.Commands.SentStarts, got)
	}
}

// rounds rolls up to one program and back to the other, again and again, and reports each time.
func (u *upgrade) rounds(n int, from, to string) {
	u.t.Helper()
	var worst []time.Duration
	var took []time.Duration
	before := u.checkNothingNeedless("before")
	first := before
	for i := range n {
		for _, way := range []struct{ name, program string }{{"up", to}, {"down", from}} {
			began := time.Now()
			u.gates.lap()
			u.roll(way.program)
			shut, why := u.gates.lap()
			commands := u.checkNothingNeedless(fmt.Sprintf("upgrade %d, %s", i+1, way.name))
			u.t.Logf("upgrade %d, %s: %.1f s; %d commands, 0 needless; longest without an open gate %.2f s %s",
				i+1, way.name, time.Since(began).Seconds(), commands-before, shut.Seconds(), why)
			before = commands
			worst, took = append(worst, shut), append(took, time.Since(began))
		}
	}
	slices.SortFunc(worst, cmp.Compare[time.Duration])
	slices.SortFunc(took, cmp.Compare[time.Duration])
	u.t.Logf("%d rolling upgrades and as many back: %d commands, 0 needless; longest time without an open gate: median %.2f s, worst %.2f s; a roll takes %.1f s (median)",
		n, before-first, worst[len(worst)/2].Seconds(), worst[len(worst)-1].Seconds(), took[len(took)/2].Seconds())
}

// TestRollingUpgrade replaces the nodes of the last release by this version, one by one, under load, and goes back.
func TestRollingUpgrade(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("builds the last release, which takes long, above all with the race detector")
	}
	old := os.Getenv(upgradeProgramVariable)
	if old == "" {
		version, commit := lastRelease(t)
		old = buildRelease(t, version, commit)
	}
	u := newUpgrade(t, old)
	n, _ := strconv.Atoi(os.Getenv(upgradesVariable))
	u.rounds(max(1, n), old, "")
	u.checkNothingLost()
}

// TestRollingUpgradeToTheFuture does the same from this version to one that knows more: with further kinds of record,
// another section in its snapshots, and a further field in its messages. At last it records what this version does not
// know. Then a node of this version does not start, says which version it needs, and has changed nothing.
func TestRollingUpgradeToTheFuture(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv(upgradesVariable))
	if n <= 0 {
		t.Skipf("builds a version from the future; `make upgrade` runs it (%s=20)", upgradesVariable)
	}
	const version = "v9.0.0-future"
	future := buildHM(t, moduleRoot, version, "lean,hm_future")
	u := newUpgrade(t, "")
	u.rounds(n, "", future)

	u.roll(future)
	u.roll(future, "HM_TEST_FUTURE=1")
	u.await("a snapshot has what only the future knows", 60*time.Second, func() bool {
		files, _ := filepath.Glob(filepath.Join(u.dataDir(0), "raft", "snapshots", "*", "state.bin"))
		return slices.ContainsFunc(files, func(f string) bool {
			text, err := os.ReadFile(f)
			return err == nil && len(text) > 8 && text[8] == 2
		})
	})
	leader := u.awaitAll("before a node goes back")
	back := (leader + 1) % 3
	u.nodes[back].signal(syscall.SIGTERM)
	u.nodes[back].program = ""
	u.nodes[back].start()
	if err := u.nodes[back].cmd.Wait(); err == nil {
		t.Error("a node that is too old ends as if nothing were wrong")
	}
	text, _ := os.ReadFile(u.nodes[back].log.Name())
	for _, want := range []string{"hm " + version + " was the newest version that used the directory", "a newer hm wrote it"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("a node that is too old does not say %q; the end of its log:\n%s", want, text[max(0, len(text)-2000):])
		}
	}
	u.nodes[back].program = future
	u.nodes[back].start()
	u.awaitAll("with the version from the future again")
	u.checkNothingLost()
}

// dataDir gives the directory of a node.
func (f *foundry) dataDir(node int) string {
	for _, a := range f.nodes[node].args {
		if dir, ok := strings.CutPrefix(a, "node.data_dir="); ok {
			return dir
		}
	}
	f.t.Fatalf("hm-%d has no data directory", node)
	return ""
}
