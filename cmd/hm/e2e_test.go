package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/journal"
	"hm/internal/sim"
	"hm/internal/sim/cc"
)

// The end-to-end tests run real processes over loopback: nats-server, hm server and hm sim.

// e2ePeriod is the heartbeat period of the end-to-end tests. All times of the policy scale with it.
const e2ePeriod = 500 * time.Millisecond

// asVariable is the environment variable that says which program the test binary runs instead of the tests.
const asVariable = "HM_TEST_BINARY_AS"

// actAs runs hm or nats-server if the environment says so. With it the end-to-end tests can start and kill these programs
// without building them.
func actAs() {
	switch os.Getenv(asVariable) {
	case "hm":
		os.Exit(run())
	case "nats-server":
		opts := &server.Options{Host: "127.0.0.1", NoSigs: true, MaxPayload: 8 << 20}
		flags := flag.NewFlagSet("nats-server", flag.ExitOnError)
		flags.IntVar(&opts.Port, "p", 4222, "port")
		_ = flags.Parse(os.Args[1:]) // exits on errors
		s, err := server.NewServer(opts)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		s.ConfigureLogger()
		s.Start()
		s.WaitForShutdown()
		os.Exit(0)
	}
}

// process is a child process. After it was killed, start starts it again.
type process struct {
	t    *testing.T
	as   string // the program: hm or nats-server
	args []string
	log  *os.File
	cmd  *exec.Cmd

	program string // path of a copy of the test binary; empty: the test binary itself
	env     []string
	user    uint32 // id of the user to run as; 0: the user of the test
}

func startProcess(t *testing.T, name, as string, args ...string) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, as: as, args: args, log: log}
	p.start()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		if t.Failed() {
			tail, _ := os.ReadFile(log.Name())
			t.Logf("end of %s's log:\n%s", name, tail[max(0, len(tail)-6000):])
		}
		log.Close()
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd = exec.Command(cmp.Or(p.program, self), p.args...)
	if p.user != 0 {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.user, Gid: p.user}}
	}
	p.cmd.Env = append(os.Environ(), asVariable+"="+p.as)
	p.cmd.Env = append(p.cmd.Env, p.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// signal sends s. If s ends the process, signal waits for the end.
func (p *process) signal(s syscall.Signal) {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(s)
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		_ = p.cmd.Wait()
	}
}

// foundry is a NATS server, a simulated Cloud Foundry and three nodes, each a process.
type foundry struct {
	t       *testing.T
	nats    *process
	natsURL string
	nodes   []*process
	apis    []string
	sim     *process
	control string
	bulk    string
}

// newFoundry starts a nats-server, a simulated Cloud Foundry, and three nodes with extra settings.
func newFoundry(t *testing.T, period time.Duration, simArgs []string, sets ...string) *foundry {
	t.Helper()
	port := bustest.FreePorts(t, 9)
	f := &foundry{t: t, natsURL: fmt.Sprintf("nats://127.0.0.1:%d", port[0])}
	f.nats = startProcess(t, "nats", "nats-server", "-p", fmt.Sprint(port[0]))
	f.bulk, f.control = fmt.Sprintf("127.0.0.1:%d", port[1]), fmt.Sprintf("127.0.0.1:%d", port[2])
	f.sim = startProcess(t, "sim", "hm", append([]string{"sim", "--nats", f.natsURL, "--heartbeat", period.String(),
		"--cc-listen", f.bulk, "--control-listen", f.control}, simArgs...)...)
	var peers []string
	for i := range 3 {
		peers = append(peers, fmt.Sprintf("hm-%d=127.0.0.1:%d", i, port[3+i]))
	}
	for i := range 3 {
		api := fmt.Sprintf("127.0.0.1:%d", port[6+i])
		f.apis = append(f.apis, "http://"+api)
		args := []string{"server"}
		for _, s := range append([]string{
			fmt.Sprintf("node.id=hm-%d", i), "node.data_dir=" + t.TempDir(), fmt.Sprintf("raft.listen=127.0.0.1:%d", port[3+i]),
			"raft.peers=" + strings.Join(peers, ","), "api.listen=" + api, "nats.servers=" + f.natsURL,
			"desired.bulk.url=http://" + f.bulk, "policy.heartbeat_period=" + period.String(),
		}, sets...) {
			args = append(args, "--set", s)
		}
		f.nodes = append(f.nodes, startProcess(t, fmt.Sprintf("hm-%d", i), "hm", args...))
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var s sim.State
		err := getJSON("http://"+f.control+"/state", &s)
		if err == nil {
			return f
		}
		if time.Now().After(end) {
			t.Fatalf("the simulation does not start: %v", err)
		}
	}
}

func getJSON(url string, v any) error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return json.Unmarshal(body, v)
}

func (f *foundry) status(node int) (s api.Status, err error) {
	return s, getJSON(f.apis[node]+"/v1/status", &s)
}

func (f *foundry) state() (s sim.State) {
	f.t.Helper()
	if err := getJSON("http://"+f.control+"/state", &s); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *foundry) commands() (all []cc.Command) {
	f.t.Helper()
	for since := uint64(0); ; {
		var page []cc.Command
		if err := getJSON(fmt.Sprintf("http://%s/commands?since=%d&limit=1000", f.control, since), &page); err != nil {
			f.t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		since = page[len(page)-1].Seq
	}
}

// act calls the control API of the simulation, for example with "POST", "deas/random/kill".
func (f *foundry) act(method, path, body string) {
	f.t.Helper()
	req, err := http.NewRequest(method, "http://"+f.control+"/"+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	if msg, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		f.t.Fatalf("%s: %s: %s", path, resp.Status, msg)
	}
}

// leader gives the number of the node that leads with an open gate, or -1.
func (f *foundry) leader() int {
	for i := range f.apis {
		if s, err := f.status(i); err == nil && s.Gate.Open {
			return i
		}
	}
	return -1
}

func (f *foundry) awaitOpen(what string) (leader int) {
	f.t.Helper()
	f.await(what+": a gate opens", 30*time.Second, func() bool { leader = f.leader(); return leader >= 0 })
	return leader
}

// await polls until done. If that takes longer than limit, it fails the test and shows the state of the nodes.
func (f *foundry) await(what string, limit time.Duration, done func() bool) {
	f.t.Helper()
	for end := time.Now().Add(limit); !done(); {
		if time.Now().After(end) {
			var told []string
			for i := range f.apis {
				s, err := f.status(i)
				told = append(told, fmt.Sprintf("hm-%d: gate %+v drift %+v commands %+v desired %+v actual %+v error %v", i, s.Gate, s.Drift, s.Commands, s.Desired, s.Actual, err))
			}
			f.t.Fatalf("%s: not within %v\n%s\nsim: %+v", what, limit, strings.Join(told, "\n"), f.state())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// pass waits for a number of heartbeat periods, so that a test can see that nothing happens.
func pass(periods int) { time.Sleep(time.Duration(periods) * e2ePeriod) }

func (f *foundry) wantNoCommands(what string) {
	f.t.Helper()
	if c := f.commands(); len(c) > 0 {
		f.t.Fatalf("%s: %d commands were sent; the first: %+v", what, len(c), c[0])
	}
}

// checkCommands checks the commands that the Cloud Controller received against the invariants I2 and I3.
func (f *foundry) checkCommands(period time.Duration) {
	f.t.Helper()
	counts := f.state().Commands
	if counts.Harmful > 0 || counts.Repeated > 0 || counts.Malformed > 0 {
		f.t.Errorf("%d harmful stops, %d commands with an id seen before, %d malformed", counts.Harmful, counts.Repeated, counts.Malformed)
	}
	type place struct {
		app   string
		index int
	}
	last := map[place]cc.Command{}
	for _, c := range f.commands() {
		p := place{c.App.String(), c.Index}
		if before, ok := last[p]; ok && c.Action == cc.ActionStart && before.Action == cc.ActionStart && c.At.Sub(before.At) < 3*period {
			f.t.Errorf("%s/%d was started twice, %v apart, while the first was outstanding", p.app, p.index, c.At.Sub(before.At))
		}
		last[p] = c
	}
}

func TestE2ELeaderKilledWhileCommanding(t *testing.T) {
	// hm must start all instances, 20 in a period, so the leader dies while it commands.
	f := newFoundry(t, e2ePeriod, []string{"--apps", "60", "--deas", "10", "--instances-per-app", "5", "--cold", "--start-delay", "50ms"}, "policy.start_limit=20")
	var reopened []time.Duration
	for range 2 {
		var leader int
		before := f.state().Commands.StartsAccepted
		f.await("the leader commands", 30*time.Second, func() bool {
			leader = f.leader()
			return leader >= 0 && f.state().Commands.StartsAccepted > before+20
		})
		killed := time.Now()
		f.nodes[leader].signal(syscall.SIGKILL)
		f.await("the gate opens on another node", 15*time.Second, func() bool { l := f.leader(); return l >= 0 && l != leader })
		reopened = append(reopened, time.Since(killed))
		f.nodes[leader].start()
	}
	f.await("everything runs", 60*time.Second, func() bool { return f.state().Converged })
	f.checkCommands(e2ePeriod)
	s := f.state()
	t.Logf("gates reopened %v after SIGKILL; %d starts for %d indices, %d of them needless", reopened, s.Commands.StartsAccepted, s.Desired, s.Commands.Needless)
	if s.Commands.Needless > 0 {
		t.Errorf("%d needless starts", s.Commands.Needless)
	}
}

func TestE2ERestartOfAllNodesCausesNoCommand(t *testing.T) {
	t.Parallel()
	f := newFoundry(t, e2ePeriod, []string{"--apps", "40", "--deas", "10"})
	f.awaitOpen("first")
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		for _, n := range f.nodes {
			n.signal(s)
		}
		for _, n := range f.nodes {
			n.start()
		}
		f.awaitOpen("after a restart of all")
		pass(10)
	}
	f.wantNoCommands("restarts of all nodes")
	f.wantSameRecord(0)
}

// wantSameRecord requires that a node's history has nothing but leaderships after the first read of the desired state.
func (f *foundry) wantSameRecord(node int) {
	f.t.Helper()
	client, err := api.NewClient(api.ClientOptions{Addr: f.apis[node], Timeout: 5 * time.Second})
	if err != nil {
		f.t.Fatal(err)
	}
	var events []api.Event
	f.await("the node gives its history", 10*time.Second, func() bool {
		list, err := client.Events(f.t.Context(), api.EventQuery{}, 1000)
		events = list.Items
		return err == nil
	})
	read := slices.IndexFunc(events, func(e api.Event) bool { return e.Kind == string(journal.DesiredRead) })
	if read < 0 {
		f.t.Fatalf("the history has no read of the desired state: %+v", events)
	}
	for _, e := range events[read+1:] {
		if e.Node == "" && e.Kind != string(journal.LeaderChanged) {
			f.t.Errorf("the restarts changed the record: %+v", e)
		}
	}
}

func TestE2ENATSOutageCausesNoCommand(t *testing.T) {
	t.Parallel()
	f := newFoundry(t, e2ePeriod, []string{"--apps", "40", "--deas", "10"})
	f.awaitOpen("first")
	f.nats.signal(syscall.SIGKILL)
	f.await("every gate has the reason nats-down", 10*time.Second, func() bool {
		for i := range f.apis {
			if s, err := f.status(i); err != nil || !strings.Contains(fmt.Sprint(s.Gate.Reasons), "nats-down") {
				return false
			}
		}
		return true
	})
	pass(20) // longer than every time to live of the policy
	f.nats.start()
	f.awaitOpen("after the outage")
	pass(10)
	f.wantNoCommands("an outage of NATS")
}

func TestE2ESteadyFleetWritesNothing(t *testing.T) {
	t.Parallel()
	f := newFoundry(t, e2ePeriod, []string{"--apps", "4000", "--deas", "100", "--instances-per-app", "2"}, "desired.poll_interval=3")
	leader := f.awaitOpen("first")
	f.await("no drift", 20*time.Second, func() bool { return f.state().Converged })
	index := f.index(leader)
	pass(50)
	if now := f.index(leader); now != index {
		t.Errorf("the log went from %d to %d in 50 heartbeat periods of a steady fleet of %d instances", index, now, f.state().Running)
	}
	f.wantNoCommands("a steady fleet")
	t.Logf("index %d before and after 50 periods, %d instances", index, f.state().Running)
}

// index gives the applied index that a node shows of itself.
func (f *foundry) index(node int) uint64 {
	f.t.Helper()
	s, err := f.status(node)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, n := range s.Cluster.Nodes {
		if n.ID == fmt.Sprintf("hm-%d", node) && n.AppliedIndex != nil {
			return *n.AppliedIndex
		}
	}
	f.t.Fatalf("hm-%d does not list itself", node)
	return 0
}

func TestE2ELostDEAIsReplaced(t *testing.T) {
	t.Parallel()
	f := newFoundry(t, e2ePeriod, []string{"--apps", "50", "--deas", "20", "--start-delay", "50ms"})
	f.awaitOpen("first")
	f.act("POST", "deas/random/kill", "")
	f.await("the loss is noticed", 10*time.Second, func() bool { return !f.state().Converged })
	f.await("everything runs again", 20*time.Second, func() bool { return f.state().Converged })
	f.checkCommands(e2ePeriod)
	if c := f.state().Commands; c.Needless > 0 || c.StopsAccepted > 0 || c.StartsAccepted == 0 {
		t.Errorf("commands: %+v", c)
	}
}

func TestE2EBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFoundry(t, e2ePeriod, []string{"--apps", "40", "--deas", "10"}, "desired.poll_interval=2")
	leader := f.awaitOpen("first")
	nc, err := nats.Connect(f.natsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	index := f.index(leader)
	bad := [][]byte{
		nil, []byte("{"), []byte("null"), []byte("[]"), []byte(`"text"`), []byte("\x00\xff\xfe"), []byte(`{"droplets":[]}`), []byte(`{"dea":"","droplets":[]}`),
		[]byte(`{"dea":"x","droplets":null}`), []byte(`{"dea":7,"droplets":[]}`), bytes.Repeat([]byte("["), 100_000), bytes.Repeat([]byte("a"), 900_000),
		[]byte(`{"droplet":"a","version":"b","instance":"c","index":"x","reason":"CRASHED"}`), []byte(`{"dea":"` + strings.Repeat("d", 1000) + `","droplets":[]}`),
	}
	for _, subject := range []string{"dea.heartbeat", "droplet.exited", "droplet.updated", "app.state", "app.state.bulk", "healthmanager.status", "healthmanager.health"} {
		for _, b := range bad {
			if err := nc.PublishRequest(subject, "nobody.listens", b); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []string{"401", "500", "timeout", "truncated", "html", "second-page", "empty"} {
		f.act("PUT", "faults", fmt.Sprintf(`{"bulk":%q}`, fault))
		pass(4) // two reads
	}
	f.act("PUT", "faults", `{}`)
	f.await("the gate opens again", 30*time.Second, func() bool {
		s, err := f.status(leader)
		return f.leader() >= 0 || err == nil && strings.Contains(fmt.Sprint(s.Gate.Reasons), "hold:desired-shrink")
	})
	if f.leader() < 0 {
		f.await("the hold ends, because the apps are back", 30*time.Second, func() bool { return f.leader() >= 0 })
	}
	unreadable := func(data string) api.Unreadable { // sends a heartbeat of a DEA that sends nothing else
		if err := nc.Publish("dea.heartbeat", []byte(data)); err != nil {
			t.Fatal(err)
		}
		s, _ := f.status(leader)
		return s.Actual.Unreadable
	}
	f.await("the status counts an unreadable instance", 30*time.Second, func() bool {
		return unreadable(`{"dea":"odd","droplets":[{"droplet":"a","version":"b","instance":"c","index":"0","state":"RUNNING"}]}`) == api.Unreadable{DEAs: 1, Entries: 1, Unplaced: 1}
	})
	f.await("the status counts messages that cannot be decoded", 30*time.Second, func() bool {
		return unreadable(`{"dea":"odd","droplets":[NaN]}`).Messages > 3
	})
	pass(5)
	f.wantNoCommands("bad input")
	t.Logf("the index went from %d to %d", index, f.index(leader))
	for i, n := range f.nodes {
		if n.cmd.ProcessState != nil {
			t.Errorf("hm-%d has ended", i)
		}
	}
}
