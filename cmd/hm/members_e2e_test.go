package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/bus/bustest"
)

// membersVariable makes TestMembers run with 100,000 instances and the default times: `make members`.
const membersVariable = "HM_TEST_MEMBERS_FLEET"

// hm runs a command of the program and gives what it prints, or fails the test.
func (f *foundry) hm(args ...string) string {
	f.t.Helper()
	out, err := f.tryHM(args...)
	if err != nil {
		f.t.Fatalf("hm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (f *foundry) tryHM(args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asVariable+"=hm", "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// grow starts one more node, which waits to be added, and gives its number and its address.
func (f *foundry) grow(period time.Duration, sets ...string) (node int, address string) {
	f.t.Helper()
	port := bustest.FreePorts(f.t, 2)
	node, address = len(f.nodes), fmt.Sprintf("127.0.0.1:%d", port[0])
	apiAddress := fmt.Sprintf("127.0.0.1:%d", port[1])
	args := []string{"server"}
	for _, s := range append([]string{
		fmt.Sprintf("node.id=hm-%d", node), "node.data_dir=" + f.t.TempDir(), "raft.listen=" + address, "raft.join=true",
		"api.listen=" + apiAddress, "nats.servers=" + f.natsURL,
		"desired.bulk.url=http://" + f.bulk, "policy.heartbeat_period=" + period.String(),
	}, sets...) {
		args = append(args, "--set", s)
	}
	f.apis = append(f.apis, "http://"+apiAddress)
	f.nodes = append(f.nodes, startProcess(f.t, fmt.Sprintf("hm-%d", node), "hm", args...))
	f.await("the new node answers", 60*time.Second, func() bool { _, err := f.status(node); return err == nil })
	return node, address
}

// TestMembers grows a cluster of three real processes to five and shrinks it to three others, under churn. Each node is
// killed once on the way. No command is needless or harmful, and everything runs in the end.
func TestMembers(t *testing.T) {
	period, simArgs, churn := e2ePeriod, []string{"--apps", "60", "--deas", "10"}, 0.002
	long := os.Getenv(membersVariable) != ""
	if long {
		period, simArgs, churn = 10*time.Second, []string{"--apps", "50000", "--instances-per-app", "2", "--deas", "1000"}, 0.0001
	}
	f := newFoundry(t, period, simArgs)
	began := time.Now()
	limit := 20*period + 60*time.Second
	ready := func(what string) {
		f.await(what+": a gate is open", limit, func() bool { return f.leader() >= 0 })
	}
	ready("at first")
	f.act("PUT", "unrest", fmt.Sprintf(`{"crash":%g}`, churn))
	var slowest time.Duration
	kill := func(node int) {
		f.nodes[node].signal(syscall.SIGKILL)
		at := time.Now()
		f.await("a gate is open without the killed node", limit, func() bool { l := f.leader(); return l >= 0 && l != node })
		slowest = max(slowest, time.Since(at))
		f.nodes[node].start()
		f.await("the killed node is healthy again", limit, func() bool {
			var s api.ClusterStatus
			if _, err := f.status(node); err != nil || getJSON(f.apis[(node+1)%len(f.apis)]+"/v1/cluster", &s) != nil {
				return false
			}
			for _, m := range s.Members {
				if m.ID == fmt.Sprintf("hm-%d", node) {
					return m.Healthy && m.Voter && !m.Joining
				}
			}
			return false
		})
	}
	ask := func(args ...string) string {
		return f.hm(append([]string{"cluster", "--addr", f.apis[len(f.apis)-1]}, args...)...)
	}
	for range 2 {
		node, address := f.grow(period)
		at := time.Now()
		f.hm("cluster", "add", "--addr", f.apis[0], fmt.Sprintf("hm-%d=%s", node, address))
		t.Logf("hm-%d voted %.1f s after hm cluster add", node, time.Since(at).Seconds())
		kill(node)
	}
	t.Logf("five members:\n%s", ask("status"))
	for node := range 3 {
		ready("before a kill")
		kill(node)
	}
	for _, node := range []int{0, 1} {
		ready("before a removal")
		ask("remove", fmt.Sprintf("hm-%d", node))
		f.nodes[node].signal(syscall.SIGKILL)
	}
	ready("with three others")
	s := ask("status", "-o", "json")
	var st api.ClusterStatus
	if err := json.Unmarshal([]byte(s), &st); err != nil || len(st.Members) != 3 || st.Voters != 3 {
		t.Errorf("at the end: %s, %v", s, err)
	}
	f.act("PUT", "unrest", `{}`)
	f.await("everything runs", limit+20*period, func() bool { return f.state().Converged })
	c := f.state().Commands
	t.Logf("in %s at %d instances: %d starts and %d stops accepted, %d needless, %d harmful, %d repeated; a gate was open %.2f s after a kill at the latest",
		time.Since(began).Round(time.Second), f.state().Desired, c.StartsAccepted, c.StopsAccepted, c.Needless, c.Harmful, c.Repeated, slowest.Seconds())
	if c.Needless > 0 {
		t.Errorf("%d needless commands", c.Needless)
	}
	f.checkCommands(period)
	if long {
		t.Logf("three members:\n%s", ask("status"))
	}
}

// TestRecoveryWalkthrough does what docs/recovery.md says, with real processes: two of three nodes are lost for ever.
func TestRecoveryWalkthrough(t *testing.T) {
	t.Parallel()
	f := newFoundry(t, e2ePeriod, []string{"--apps", "40", "--deas", "10"})
	f.awaitOpen("at first")
	dirOf := func(node int) (dir, address string) {
		for _, arg := range f.nodes[node].args {
			if v, ok := strings.CutPrefix(arg, "node.data_dir="); ok {
				dir = v
			}
			if v, ok := strings.CutPrefix(arg, "raft.listen="); ok {
				address = v
			}
		}
		return dir, address
	}
	dir, address := dirOf(0)
	before := f.state().Commands
	if out, err := f.tryHM("cluster", "recover", "--dry-run", "--data-dir", dir); err == nil || !strings.Contains(out, "in use") {
		t.Errorf("on a running node: %v %s", err, out)
	}
	for _, n := range f.nodes {
		n.signal(syscall.SIGKILL)
	}
	f.nodes[0].start() // alone it is no majority
	f.await("the survivor says that there is no leader", 30*time.Second, func() bool {
		s, err := f.status(0)
		return err == nil && strings.Contains(strings.Join(s.Gate.Reasons, " "), "no-leader")
	})
	t.Logf("hm cluster status\n%s", f.hm("cluster", "status", "--addr", f.apis[0]))
	f.nodes[0].signal(syscall.SIGKILL)
	dry := f.hm("cluster", "recover", "--dry-run", "--data-dir", dir)
	t.Logf("hm cluster recover --dry-run\n%s", dry)
	if !strings.Contains(dry, "nothing was changed") || !strings.Contains(dry, "newest") {
		t.Errorf("the dry run says:\n%s", dry)
	}
	done := f.hm("cluster", "recover", "--data-dir", dir, "--keep", "hm-0="+address)
	t.Logf("hm cluster recover --keep\n%s", done)
	if !strings.Contains(done, "left out: hm-1, hm-2") || !strings.Contains(done, "raft.before-recovery-") {
		t.Errorf("the recovery says:\n%s", done)
	}
	f.nodes[0].start()
	if s, err := f.status(0); err == nil && s.Gate.Open {
		t.Error("a recovered cluster commands before it has a fresh picture (I5)")
	}
	f.await("the gate opens", 60*time.Second, func() bool { s, err := f.status(0); return err == nil && s.Gate.Open })
	for range 2 {
		node, at := f.grow(e2ePeriod)
		t.Logf("hm cluster add\n%s", f.hm("cluster", "add", "--addr", f.apis[0], fmt.Sprintf("hm-%d=%s", node, at)))
	}
	t.Logf("hm cluster status\n%s", f.hm("cluster", "status", "--addr", f.apis[0]))
	f.await("everything runs", 60*time.Second, func() bool { return f.state().Converged })
	if after := f.state().Commands; after.StartsAccepted != before.StartsAccepted || after.StopsAccepted != before.StopsAccepted {
		t.Errorf("the recovery caused commands: %+v, before %+v", after, before)
	}
	f.nodes[0].signal(syscall.SIGKILL) // the three others are a cluster like any other
	f.awaitOpen("without the survivor")
}
