package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"hm/internal/api"
	"hm/internal/bus/bustest"
	"hm/internal/config"
	"hm/internal/server"
	"hm/internal/sim"
	"hm/internal/sim/fleet"
)

// refusedNodes are three nodes in this process, on a NATS server that refuses some subjects to them and none to the
// simulated Cloud Foundry.
type refusedNodes struct {
	t     *testing.T
	nats  *bustest.Server
	nodes []*refusedNode
	sim   *sim.Sim
	log   *logBuffer
}

type refusedNode struct {
	*server.Node
	client *api.Client
}

func (n *refusedNode) url() string { return "http://" + n.APIAddr() }

// refusing edits the options of a NATS server so that it refuses subjects to the nodes.
func refusing(publish, subscribe []string) func(*natsserver.Options) {
	return func(o *natsserver.Options) {
		o.Users = []*natsserver.User{
			{Username: "hm", Password: "hm9000", Permissions: &natsserver.Permissions{ // the password is part of a subject
				Publish: &natsserver.SubjectPermission{Deny: publish}, Subscribe: &natsserver.SubjectPermission{Deny: subscribe},
			}},
			{Username: "sim", Password: "sim"},
		}
	}
}

func startRefusedNodes(t *testing.T, period time.Duration, publish, subscribe []string) *refusedNodes {
	t.Helper()
	r := &refusedNodes{t: t, nats: bustest.Run(t, refusing(publish, subscribe)), log: &logBuffer{}}
	logger := newLogger(r.log, config.Log{Level: "info"})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the nodes' log:\n%s", r.log)
		}
	})
	var err error
	r.sim, err = sim.Start(context.WithoutCancel(t.Context()), sim.Options{
		NATS: []string{"nats://sim:sim@" + r.nats.Address()}, Apps: 20, InstancesPerApp: 2, DEAs: 10, Seed: 1, HeartbeatPeriod: period,
		Passive: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.sim.Close)
	ports := bustest.FreePorts(t, 3)
	var peers []string
	for i, port := range ports {
		peers = append(peers, fmt.Sprintf("hm-%d=127.0.0.1:%d", i, port))
	}
	for i, port := range ports {
		flags := configFlags{sets: []string{
			fmt.Sprintf("node.id=hm-%d", i), "node.data_dir=" + t.TempDir(), fmt.Sprintf("raft.listen=127.0.0.1:%d", port),
			"raft.peers=" + strings.Join(peers, ","),
			// A loaded machine must not change the leader by itself.
			"raft.heartbeat_timeout=2s", "raft.election_timeout=2s", "raft.lease_timeout=1s",
			"api.listen=127.0.0.1:0", "nats.servers=" + r.nats.URL(), "nats.username=hm", "nats.password=hm9000", "nats.ping_interval=500ms",
			"desired.bulk.url=" + r.sim.CCURL(), "policy.heartbeat_period=" + period.String(), "guard.mass_loss=0",
		}}
		loaded, err := flags.load()
		if err != nil {
			t.Fatal(err)
		}
		n, err := server.Open(loaded.Config, server.Options{Version: "test", Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
		client, err := api.NewClient(api.ClientOptions{Addr: "http://" + n.APIAddr(), Timeout: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		r.nodes = append(r.nodes, &refusedNode{n, client})
	}
	return r
}

func (r *refusedNodes) await(what string, cond func() bool) {
	r.t.Helper()
	bustest.Until(r.t, what, cond)
}

// awaitOpen waits until a node leads with an open gate, and gives its number.
func (r *refusedNodes) awaitOpen(what string) (leader int) {
	r.t.Helper()
	r.await(what+": a gate is open", func() bool {
		leader = slices.IndexFunc(r.nodes, func(n *refusedNode) bool { return n.Leads() })
		return leader >= 0 && r.status(leader).Gate.Open
	})
	return leader
}

func (r *refusedNodes) status(i int) api.Status {
	r.t.Helper()
	s, _, err := r.nodes[i].client.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// outages counts how often the nodes' links went down, which happens on a machine that stalls.
func (r *refusedNodes) outages() (n uint64) {
	for i := range r.nodes {
		n += r.status(i).NATS.Outages
	}
	return n
}

// hm runs the real program against a node.
func (r *refusedNodes) hm(i int, args ...string) string {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.CommandContext(r.t.Context(), self, append(args, "--addr", r.nodes[i].url())...)
	cmd.Env = append(os.Environ(), asVariable+"=hm", "NO_COLOR=1")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("hm %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out.String()
}

var (
	aSpan  = regexp.MustCompile(`\b\d+(\.\d)?s\b|\b\d+m\d\ds\b`)
	aCount = regexp.MustCompile(`\b\d+ times?\b`)
	spaces = regexp.MustCompile(` {2,}`)
)

// wantLines looks for whole lines. T stands for every duration, and "N times" for every count.
func (r *refusedNodes) wantLines(what, text string, lines ...string) {
	r.t.Helper()
	text = aCount.ReplaceAllString(aSpan.ReplaceAllString(text, "T"), "N times")
	text = spaces.ReplaceAllString(text, " ")
	for _, line := range lines {
		found := false
		for l := range strings.Lines(text) {
			found = found || strings.TrimSpace(l) == line
		}
		if !found {
			r.t.Errorf("%s lacks the line\n%s\nthe output is\n%s", what, line, text)
		}
	}
}

func (r *refusedNodes) wantLog(parts ...string) {
	r.t.Helper()
	for _, p := range parts {
		r.await("the log has "+p, func() bool { return strings.Contains(r.log.String(), p) })
	}
}

// TestRefusedPublish: the NATS server refuses the starts. Each start waits one grace. hm status, hm explain and the log
// show the subject and the server's error, on every node. When the server permits the starts, hm goes on by itself.
func TestRefusedPublish(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 400 * time.Millisecond
	r := startRefusedNodes(t, period, []string{"hm9000.start"}, nil)
	leader := r.awaitOpen("first")
	r.await("everything runs", func() bool { return r.sim.State().Converged })
	if _, err := r.sim.Fleet.ActOnRandom(1, fleet.Kill); err != nil {
		t.Fatal(err)
	}
	var told api.Status
	r.await("a start was refused", func() bool { told = r.status(leader); return len(told.NATS.Refused) > 0 })
	if x := told.NATS.Refused[0]; x.Action != "publish" || x.Subject != "hm9000.start" || x.Error != `Permissions Violation for Publish to "hm9000.start"` || x.Count == 0 || x.Since.IsZero() || x.Last.IsZero() {
		t.Errorf("the status shows %+v", x)
	}
	if !told.Gate.Open {
		t.Errorf("a refused publish closes the gate: %v", told.Gate.Reasons)
	}
	r.wantLog(` level=ERROR msg="nats refuses a subject to this node" node=hm-` + fmt.Sprint(leader) + ` server=` + r.nats.Address() +
		` action=publish subject=hm9000.start error="Permissions Violation for Publish to \"hm9000.start\"" hint="grant the user that hm connects as the permission to publish"`)

	follower := (leader + 1) % 3
	r.await("the follower knows of the refusal", func() bool {
		for _, n := range r.status(follower).Cluster.Nodes {
			if n.NATSRefused != "" {
				return true
			}
		}
		return false
	})
	r.wantLines("hm status of the leader", r.hm(leader, "status"),
		`refused: publish hm9000.start for T, N times, last T ago: Permissions Violation for Publish to "hm9000.start"`)
	r.wantLines("hm status of the follower", r.hm(follower, "status"),
		fmt.Sprintf(`hm-%d: refused: publish hm9000.start: Permissions Violation for Publish to "hm9000.start"`, leader))
	for i, node := range []int{leader, follower} {
		// hm claims the command again and again, so the question must come between two claims.
		var text string
		r.await(fmt.Sprintf("hm explain of node %d shows the refusal", i), func() bool {
			drift, err := r.nodes[node].client.Drift(t.Context(), "", "missing", 1)
			if err != nil || len(drift.Items) == 0 {
				return false
			}
			text = r.hm(node, "explain", fmt.Sprintf("%s/%d", drift.Items[0].App, drift.Items[0].Index))
			return strings.Contains(text, "claimed") && strings.Contains(text, "decided anew in")
		})
		r.wantLines("hm explain", text,
			`command start MISSING, claimed, due T ago`,
			`nats refuses hm9000.start: Permissions Violation for Publish to "hm9000.start"`,
			`wait index: no instance is live at the index, start was not sent: nats refuses hm9000.start: Permissions Violation for Publish to "hm9000.start"; it is decided anew in T`)
	}
	var history api.Listing[api.Command]
	wasRefused := func(c api.Command) bool { return strings.Contains(c.Detail, "refuse") } // on a loaded machine other starts may end for other reasons
	r.await("refused starts have ended", func() bool {
		var err error
		history, err = r.nodes[leader].client.History(t.Context(), "", 1000)
		history.Items = slices.DeleteFunc(history.Items, func(c api.Command) bool { return !wasRefused(c) })
		return err == nil && len(history.Items) > 3
	})
	for _, c := range history.Items {
		if c.State != "expired" || !strings.HasPrefix(c.Detail, "the command was refused: publish start "+c.ID+": nats refuses the message on hm9000.start: Permissions Violation for Publish to ") || !c.SentAt.IsZero() {
			t.Errorf("a refused start ended as %+v", c)
		}
		if took := c.EndedAt.Sub(c.DueAt.Time); took < 3*period {
			t.Errorf("a refused start ended %v after it was due, want a grace of %v", took, 3*period)
		}
	}
	if n := r.status(leader).Commands.SentStarts; n != 0 && r.outages() == 0 { // after an outage hm does not know what was sent
		t.Errorf("%d starts count as sent", n)
	}

	r.nats.Reload(t, refusing(nil, nil))
	r.await("everything runs again", func() bool { return r.sim.State().Converged })
	// On a busy machine another node may lead now, or the accepted start may not have been confirmed in time. The next
	// start tells.
	if _, err := r.sim.Fleet.ActOnRandom(1, fleet.Kill); err != nil {
		t.Fatal(err)
	}
	r.await("what was killed runs again", func() bool { return r.sim.State().Converged })
	leader = r.awaitOpen("at the end")
	r.await("nothing is refused", func() bool { return len(r.status(leader).NATS.Refused) == 0 })
	if c := r.sim.State().Commands; c.Needless+c.Harmful+c.StopsAccepted != 0 {
		t.Errorf("commands: %+v", c)
	}
}

// TestRefusedHeartbeats: the NATS server refuses the subscription to the heartbeats. hm does not treat this as silence of
// the DEAs: the gate has the reason nats-refused, and nothing expires. When the server permits the subscription, hm goes
// on by itself. A refusal of other subjects does not close the gate.
func TestRefusedHeartbeats(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	const period = 600 * time.Millisecond
	r := startRefusedNodes(t, period, nil, []string{"droplet.exited", "app.state"})
	leader := r.awaitOpen("first")
	r.await("everything runs", func() bool { return r.sim.State().Converged })
	refused := func(i int) (subjects []string) {
		for _, x := range r.status(i).NATS.Refused {
			subjects = append(subjects, x.Action+" "+x.Subject)
		}
		return subjects
	}
	r.await("both refusals are known", func() bool { // the node may just have joined the group that answers app.state
		return fmt.Sprint(refused(leader)) == "[subscribe app.state subscribe droplet.exited]"
	})
	r.wantLines("hm status", r.hm(leader, "status"),
		`refused: subscribe app.state for T, N times, last T ago: Permissions Violation for Subscription to "app.state" using queue "hm9000"`,
		`refused: subscribe droplet.exited for T, N times, last T ago: Permissions Violation for Subscription to "droplet.exited"`)
	before, outages := r.status(leader).NATS.Since, r.outages()
	r.nats.Reload(t, refusing(nil, []string{"app.state"}))
	r.await("exits are heard", func() bool { return fmt.Sprint(refused(leader)) == "[subscribe app.state]" })
	if now := r.status(leader).NATS.Since; !now.Equal(before.Time) && r.outages() == outages {
		t.Error("the permission to hear exits closes the gate for a freshness window")
	}

	r.nats.Reload(t, refusing(nil, []string{"dea.heartbeat"}))
	r.await("every gate is closed with the reason", func() bool {
		for i := range r.nodes {
			if !strings.Contains(fmt.Sprint(r.status(i).Gate.Reasons), "nats-refused") {
				return false
			}
		}
		return true
	})
	r.await("the picture is stale", func() bool {
		// On a busy machine another node may lead now.
		if leader = slices.IndexFunc(r.nodes, func(n *refusedNode) bool { return n.Leads() }); leader < 0 {
			return false
		}
		return fmt.Sprint(r.status(leader).Gate.Reasons) == "[nats-refused actual-stale desired-stale]" || fmt.Sprint(r.status(leader).Gate.Reasons) == "[nats-refused actual-stale]"
	})
	s := r.status(leader)
	if !s.NATS.Connected || s.Actual.Fresh || strings.Contains(fmt.Sprint(s.Gate.Reasons), "nats-down") {
		t.Errorf("connected %v, fresh %v, gate %v", s.NATS.Connected, s.Actual.Fresh, s.Gate.Reasons)
	}
	r.wantLines("hm status", r.hm(leader, "status"), `gate closed for T: `+strings.Join(s.Gate.Reasons, ", "),
		`refused: subscribe dea.heartbeat for T, N times, last T ago: Permissions Violation for Subscription to "dea.heartbeat"`)
	explained := r.hm(leader, "explain", r.apps()[0])
	r.wantLines("hm explain", explained, `gate closed for T: `+strings.Join(s.Gate.Reasons, ", "))
	r.wantLog(`msg="nats refuses a subject to this node" node=hm-`+fmt.Sprint(leader)+` server=`+r.nats.Address()+
		` action=subscribe subject=dea.heartbeat error="Permissions Violation for Subscription to \"dea.heartbeat\"" hint="grant the user that hm connects as the permission to subscribe; hm asks again until it has it"`,
		`msg=gate node=hm-`+fmt.Sprint(leader)+` open=false reasons="[`+strings.Join(s.Gate.Reasons, " ")+`]"`)
	cc := bustest.Client(t, "nats://sim:sim@"+r.nats.Address()) // questions of the Cloud Controller are still answered
	defer cc.Close()
	r.await("a question is answered", func() bool {
		m, err := cc.Request("app.state", []byte(`{"droplet":"x","version":"y"}`), time.Second)
		return err == nil && string(m.Data) == "{}"
	})
	for began := time.Now(); time.Since(began) < 8*period; time.Sleep(period) { // more than twice the time to live
		if s := r.status(leader); s.Actual.GoneDEAs != 0 || s.Gate.Open {
			t.Fatalf("while the heartbeats are refused %d DEAs were lost, gate %+v", s.Actual.GoneDEAs, s.Gate)
		}
	}

	r.nats.Reload(t, refusing(nil, nil))
	leader = r.awaitOpen("after the permission")
	r.await("nothing is refused", func() bool { return len(refused(leader)) == 0 })
	r.wantLog(`msg="nats takes a subject that it has refused to this node" node=hm-` + fmt.Sprint(leader) + ` action=subscribe subject=dea.heartbeat refused_for=`)
	if c := r.sim.State().Commands; c.StartsAccepted+c.StopsAccepted+c.Needless+c.Harmful != 0 {
		t.Errorf("a refusal caused commands: %+v", c)
	}
}

// apps gives the guids of the apps that are recorded.
func (r *refusedNodes) apps() (guids []string) {
	r.t.Helper()
	list, err := r.nodes[0].client.Apps(r.t.Context(), 10)
	if err != nil || len(list.Items) == 0 {
		r.t.Fatalf("apps: %v, %v", list.Items, err)
	}
	for _, a := range list.Items {
		guids = append(guids, a.App)
	}
	return guids
}

// logBuffer collects what several nodes log.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
