//go:build !race

package browsertest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/sim"
)

// nodeProcess is a node in a process of its own, which is the whole cluster.
type nodeProcess struct {
	url string
	cmd *exec.Cmd
	log string // path
}

// startNode builds hm and starts a node. The test ends it.
func startNode(t testing.TB, nats string, cc string, heartbeat time.Duration) *nodeProcess {
	t.Helper()
	dir := t.TempDir()
	program := build(t, "hm/cmd/hm")
	port := bustest.FreePorts(t, 2)
	n := &nodeProcess{url: fmt.Sprintf("http://127.0.0.1:%d", port[0]), log: filepath.Join(dir, "log")}
	args := []string{program, "server"}
	for _, s := range []string{
		"node.id=hm-0", "node.data_dir=" + filepath.Join(dir, "data"), fmt.Sprintf("raft.listen=127.0.0.1:%d", port[1]),
		"api.listen=" + strings.TrimPrefix(n.url, "http://"), "nats.servers=" + nats, "desired.bulk.url=" + cc,
		"desired.bulk.batch_size=5000", "log.level=warn", "policy.heartbeat_period=" + heartbeat.String(),
	} {
		args = append(args, "--set", s)
	}
	n.cmd = elsewhere(args...)
	log, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		_ = n.cmd.Wait()
		log.Close()
		if text, _ := os.ReadFile(n.log); t.Failed() {
			t.Logf("end of the node's log:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return n
}

// build builds a program and returns its path.
func build(t testing.TB, pkg string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", program, pkg).CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
	return program
}

// elsewhere is a command that has the processors before the simulated Cloud Foundry and the onlookers, as far as the
// user may say so: in production those are on other machines.
func elsewhere(args ...string) *exec.Cmd {
	if os.Geteuid() == 0 {
		args = append([]string{"nice", "-n", "-10"}, args...)
	}
	return exec.Command(args[0], args[1:]...)
}

// startNATS starts a NATS server in a process of its own and returns its URL. A command counts as published when the
// server has confirmed it, so a server in the busy process of the simulation would be measured, too.
func startNATS(t testing.TB) string {
	t.Helper()
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(bustest.FreePorts(t, 1)[0]))
	_, port, _ := net.SplitHostPort(at)
	cmd := elsewhere(build(t, "github.com/nats-io/nats-server/v2"), "-a", "127.0.0.1", "-p", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if conn, err := net.Dial("tcp", at); err == nil {
			_ = conn.Close()
			return "nats://" + at
		} else if time.Since(began) > 30*time.Second {
			t.Fatalf("the NATS server does not answer: %v", err)
		}
	}
}

// memory returns the resident memory of the node and its peak, in MB.
func (n *nodeProcess) memory(t testing.TB) (now, peak int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &now)
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
	}
	return now >> 10, peak >> 10
}

// TestOnlookersDoNotDelayCommands measures, on a real node, how long after it was due a command is published: first alone,
// then while ten browsers look at its pages. Instances crash all the time, so that commands flow. It needs
// HM_TEST_DEAS; HM_TEST_SECONDS is the length of each half.
func TestOnlookersDoNotDelayCommands(t *testing.T) {
	if os.Getenv("HM_TEST_DEAS") == "" {
		t.Skip("set HM_TEST_DEAS to the number of DEAs, such as 10000, and have an idle machine")
	}
	const heartbeat = 10 * time.Second
	deas := largeDEAs(t)
	half := secondsOf(t, "HM_TEST_SECONDS", 120)
	nats := startNATS(t)
	cf, err := sim.Start(t.Context(), sim.Options{
		NATS: []string{nats}, DEAs: deas, Apps: deas * 40, InstancesPerApp: 3, Seed: 1, HeartbeatPeriod: heartbeat, Passive: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cf.Close()
	n := startNode(t, nats, cf.CCURL(), heartbeat)
	c := client(t, n.url)
	began := time.Now()
	for !calm(c) {
		if time.Since(began) > 10*time.Minute {
			t.Fatal("the node is not calm after 10 minutes")
		}
		time.Sleep(time.Second)
	}
	s := statusOf(t.Context(), t, c)
	t.Logf("%d instances of %d apps run on %d DEAs; the node was calm after %v", s.Actual.Running, s.Desired.Apps, s.Actual.DEAs, time.Since(began).Round(time.Second))

	crashing, endCrashes := context.WithCancel(t.Context())
	defer endCrashes()
	crashed := make(chan int, 1)
	go func() { crashed <- crashInstances(crashing, cf) }()

	alone, _ := n.memory(t)
	measure(t, "alone", c, half)
	all, end := lookAt(t.Context(), n.url, []string{
		"/", "/", "/apps", "/apps?show=drift", "/apps/" + url.PathEscape(cf.Apps(0, 1)[0].GUID.String()), "/deas", "/deas?sort=instances", "/commands",
		"/events", "/cluster",
	})
	p99 := measure(t, "ten browsers", c, half)
	watched, peak := n.memory(t)
	end()
	answers, median, slow, bytes, errs := all.sums()
	t.Logf("ten browsers had %d answers of %d MB in all, half of them within %v, 99%% within %v", answers, bytes>>20,
		median.Round(time.Millisecond), slow.Round(time.Millisecond))
	t.Logf("the node uses %d MB alone, %d MB while ten browsers look on; its peak is %d MB", alone, watched, peak)
	for _, err := range errs {
		t.Errorf("an onlooker: %v", err)
	}
	endCrashes()
	t.Logf("%d instances crashed", <-crashed)
	if p99 >= 50*time.Millisecond {
		t.Errorf("99%% of the commands were published within %v of being due, want 50 ms", p99)
	}
}

func secondsOf(t testing.TB, variable string, standard int) time.Duration {
	t.Helper()
	n := standard
	if set := os.Getenv(variable); set != "" {
		if _, err := fmt.Sscan(set, &n); err != nil {
			t.Fatalf("%s=%q is not a number of seconds", variable, set)
		}
	}
	return time.Duration(n) * time.Second
}

// calm reports whether the gate is open and there is nothing to do.
func calm(c *api.Client) bool {
	s, _, err := c.Status(context.Background())
	return err == nil && s.Gate.Open && s.Drift.Total() == 0 && s.Actual.DEAs > 0
}

// crashInstances crashes four instances a second, each of another app, until ctx ends. That is below the limit on starts.
func crashInstances(ctx context.Context, cf *sim.Sim) (crashed int) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	var after int64
	for ctx.Err() == nil {
		apps := cf.Apps(after, 100)
		if len(apps) == 0 {
			after = 0
		}
		for _, a := range apps {
			after = a.ID
			select {
			case <-ctx.Done():
				return crashed
			case <-tick.C:
			}
			if len(a.Running) > 0 && cf.Fleet.CrashInstance(a.GUID, int(a.Running[0].Index)) == nil {
				crashed++
			}
		}
	}
	return crashed
}

// measure lets time pass and shows how long after they were due the commands of that time were published.
func measure(t testing.TB, what string, c *api.Client, lasts time.Duration) (p99 time.Duration) {
	t.Helper()
	from := statusOf(t.Context(), t, c).Basis.At
	time.Sleep(lasts)
	if g := statusOf(t.Context(), t, c).Gate; !g.Open || g.Since.After(from.Time) {
		t.Errorf("%s: the gate was closed meanwhile (reasons now: %v), so commands waited for it: the machine is too busy, measure again", what, g.Reasons)
	}
	history, err := c.History(t.Context(), "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for _, k := range history.Items {
		if !k.SentAt.IsZero() && k.DueAt.After(from.Time) {
			took = append(took, k.SentAt.Sub(k.DueAt.Time))
		}
	}
	p99 = quantile(took, 0.99)
	t.Logf("%s: %d commands, half of them published within %v of being due, 90%% within %v, 99%% within %v, the last within %v",
		what, len(took), quantile(took, 0.5), quantile(took, 0.9), p99, quantile(took, 1))
	if len(took) == 0 {
		t.Error("no command was published")
	}
	return p99
}
