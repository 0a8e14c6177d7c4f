package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/commands"
	"hm/internal/api"
	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/internal/reconcile"
	"hm/internal/sim/cc"
)

// ccFront stands before the simulated Cloud Controller. It counts commands by their message_id, and fails as a test asks.
type ccFront struct {
	*httptest.Server
	mu      sync.Mutex
	fail    frontFault
	arrived map[string]int
	waiting chan struct{} // closed by release
}

// frontFault is how a ccFront fails.
type frontFault int

const (
	frontWorks      frontFault = iota
	frontHangs                 // nothing is answered
	frontPostsHang             // commands are read and not answered; everything else works
	frontPostsLost             // commands are carried out, and the connection ends before the answer
	frontNoRoom                // commands are answered with the Cloud Controller's 503
	frontBadGateway            // a proxy answers everything
	frontRefuses               // 401
	frontWaits                 // commands are accepted when the test calls release
)

func runFront(t *testing.T, target string) *ccFront {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	f := &ccFront{arrived: map[string]int{}, waiting: make(chan struct{})}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, proxy) }))
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

func (f *ccFront) serve(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	post := r.Method == http.MethodPost
	f.mu.Lock()
	fail := f.fail
	f.mu.Unlock()
	if post {
		body, err := io.ReadAll(r.Body)
		var c struct {
			MessageID string `json:"message_id"`
		}
		if err == nil && json.Unmarshal(body, &c) == nil {
			f.mu.Lock()
			f.arrived[c.MessageID]++
			f.mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	switch {
	case fail == frontHangs, fail == frontPostsHang && post:
		<-r.Context().Done()
	case fail == frontWaits && post:
		select {
		case <-r.Context().Done():
		case <-f.waiting:
			proxy.ServeHTTP(w, r)
		}
	case fail == frontBadGateway:
		w.WriteHeader(http.StatusBadGateway)
	case fail == frontNoRoom && post:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"code":170002,"description":"No DEA has room"}`)
	case fail == frontRefuses && post:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":10002,"description":"Authentication error"}`)
	case fail == frontPostsLost && post:
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			_ = conn.Close()
		}
	default:
		proxy.ServeHTTP(w, r)
	}
}

func (f *ccFront) set(fail frontFault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// release lets the commands go on that wait.
func (f *ccFront) release() { close(f.waiting) }

// commands gives how many commands arrived.
func (f *ccFront) commands() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.arrived)
}

// wantOnce checks that no command arrived twice (I2).
func (f *ccFront) wantOnce(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, n := range f.arrived {
		if n != 1 {
			t.Errorf("command %s arrived %d times", id, n)
		}
	}
}

func startOverHTTP(t *testing.T, nodes int, period time.Duration, sets ...string) *testCluster {
	t.Helper()
	return startCluster(t, bustest.Run(t, nil), clusterSetup{nodes: nodes, period: period, front: true, sets: append(sets, "guard.mass_loss=0")})
}

// since gives the commands that the Cloud Controller has got after the first n.
func (c *testCluster) since(n uint64) []cc.Command { return c.sim.CC.Commands(n, 1_000) }

// seq gives how many commands the Cloud Controller has got.
func (c *testCluster) seq() (n uint64) {
	if list := c.since(0); len(list) > 0 {
		n = list[len(list)-1].Seq
	}
	return n
}

// TestCommandsOverHTTP: each kind of drift is corrected by posts, and stops of deleted apps by NATS alone (W01).
func TestCommandsOverHTTP(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := startOverHTTP(t, 1, 200*time.Millisecond, "policy.duplicate_grace=1")
	c.awaitConverged()
	c.wantNoCommands("nothing")
	apps := c.sim.Apps(0, 30)
	subjects := map[string]string{"start": "hm9000.start", "stop": "hm9000.stop"}
	dea := func(guid app.GUID) string { return c.sim.Fleet.Instances(guid)[0].DEA }
	for _, step := range []struct {
		what   string
		cause  func()
		via    map[string]string // by action; all others go by http
		wanted string            // an action and a check of the Cloud Controller that must be among them
	}{
		{"an index is missing", func() { must(t, row(c.sim.CC.ScaleApp(apps[0].GUID, apps[0].Instances+2))) }, nil, "start "},
		{"an instance has crashed", func() { must(t, c.sim.Fleet.CrashInstance(apps[1].GUID, 0)) }, nil, "start "},
		{"indices are surplus", func() { must(t, row(c.sim.CC.ScaleApp(apps[0].GUID, apps[0].Instances))) }, nil, "stop " + cc.CheckIndex},
		{"an app is stopped", func() { must(t, row(c.sim.CC.StopApp(apps[2].GUID))) }, nil, "stop " + cc.CheckStopped},
		{"an app has a new version", func() { must(t, row(c.sim.CC.RestartApp(apps[3].GUID))) }, nil, ""},
		{"an app is deleted", func() { must(t, c.sim.CC.DeleteApp(apps[4].GUID)) }, subjects, "stop " + cc.CheckUnknownApp},
		{"a DEA is lost and comes back", func() {
			id := dea(apps[5].GUID)
			must(t, c.sim.Fleet.Pause(id))
			bustest.Until(t, "its instances run elsewhere", func() bool { return c.sim.State().Missing == 0 })
			must(t, c.sim.Fleet.Resume(id))
			bustest.Until(t, "there are duplicates", func() bool { return c.sim.State().Duplicate > 0 })
		}, nil, "stop " + cc.CheckDuplicate},
	} {
		before := c.seq()
		step.cause()
		bustest.Until(t, step.what+": all is well again", func() bool { return c.sim.State().Converged })
		found := step.wanted == ""
		for _, cmd := range c.since(before) {
			via := "http"
			if step.via != nil {
				via = step.via[cmd.Action]
			}
			if cmd.Via != via {
				t.Errorf("%s: %s of %s/%d came by %s, want %s", step.what, cmd.Action, cmd.App, cmd.Index, cmd.Via, via)
			}
			found = found || cmd.Action+" "+cmd.Check == step.wanted
		}
		if !found {
			t.Errorf("%s: no %q among %+v", step.what, step.wanted, c.since(before))
		}
	}
	c.front.wantOnce(t)
	if n := c.sim.State().Commands; n.Repeated+n.Malformed+n.Harmful != 0 {
		t.Errorf("the Cloud Controller got %+v", n)
	}
	if s := c.status(0); s.CC == nil || s.CC.Reachable == nil || !*s.CC.Reachable || s.CC.URL != c.front.URL || len(s.CC.Refused) != 0 {
		t.Errorf("the status says %+v", s.CC)
	}
	if text := c.metrics(0); !strings.Contains(text, `hm_cc_post_seconds_count{action="stop",status="4xx"}`) || !strings.Contains(text, "\nhm_cc_reachable 1\n") {
		t.Error("the metrics lack the posts")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func row(_ cc.Row, err error) error { return err }

// TestUnreachableCloudControllerShutsTheGate, whatever the way in which it is unreachable, on the leader alone, until its
// next answer.
func TestUnreachableCloudControllerShutsTheGate(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := startOverHTTP(t, 3, 200*time.Millisecond)
	leader := c.awaitConverged()
	for name, fail := range map[string]frontFault{"hangs": frontHangs, "a proxy says 502": frontBadGateway} {
		c.front.set(fail)
		bustest.Until(t, name+": the gate closes", func() bool {
			return slices.Contains(c.nodes[leader].loop.Overview().GateReasons, reconcile.ReasonCCUnreachable)
		})
		s := c.status(leader)
		if s.CC == nil || s.CC.Reachable == nil || *s.CC.Reachable || s.CC.Error == "" {
			t.Errorf("%s: the status says %+v", name, s.CC)
		}
		for i, n := range c.nodes {
			if i != leader && slices.Contains(n.loop.Overview().GateReasons, reconcile.ReasonCCUnreachable) {
				t.Errorf("%s: a follower gives the reason", name)
			}
		}
		for _, a := range c.sim.Apps(0, 5) {
			must(t, c.sim.Fleet.CrashInstance(a.GUID, 0))
		}
		before := c.front.commands()
		bustest.Until(t, name+": the crashes are recorded", func() bool { return c.status(leader).Actual.Crashed >= 5 })
		time.Sleep(2 * c.nodes[0].cfg.Policy.HeartbeatPeriod) // a command would come at once
		if n := c.front.commands() - before; n != 0 {
			t.Errorf("%s: %d commands were posted", name, n)
		}
		c.front.set(frontWorks)
		bustest.Until(t, name+": everything runs again", func() bool { return c.commander() >= 0 && c.sim.State().Converged })
	}
	c.front.wantOnce(t)
}

// TestFailoverWhileTheCloudControllerHangs: commands hang at the Cloud Controller, and the leader is lost, again and
// again. No command arrives twice, the gate tells why, and nothing is stuck afterwards.
func TestFailoverWhileTheCloudControllerHangs(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	c := startOverHTTP(t, 3, 500*time.Millisecond, "policy.start_limit=0")
	leader := c.awaitConverged()
	crash := func() {
		for _, a := range c.sim.Apps(0, 30) {
			_ = c.sim.Fleet.CrashInstance(a.GUID, 0) // it may not run yet
		}
	}
	for _, fail := range []frontFault{frontPostsHang, frontPostsLost, frontPostsHang} {
		c.front.set(fail)
		before := c.front.commands()
		crash()
		bustest.Until(t, "commands hang", func() bool { return c.front.commands() > before })
		c.nodes[leader].close(t)
		bustest.Until(t, "another node leads", func() bool {
			return slices.ContainsFunc(c.nodes, func(n *testNode) bool { return n != c.nodes[leader] && n.Leads() })
		})
		crash()
		if fail == frontPostsHang {
			bustest.Until(t, "the next leader's gate tells it", func() bool {
				return slices.ContainsFunc(c.nodes, func(n *testNode) bool {
					return n.Leads() && slices.Contains(n.loop.Overview().GateReasons, reconcile.ReasonCCUnreachable)
				})
			})
		}
		c.front.wantOnce(t)
		c.front.set(frontWorks)
		c.nodes[leader].open(t)
		leader = c.awaitConverged()
	}
	c.front.wantOnce(t)
	bustest.Until(t, "no command is left", func() bool {
		list, err := c.nodes[leader].client.Commands(t.Context(), "", 100)
		return err == nil && len(list.Items) == 0
	})
	if n := c.sim.State().Commands; n.Repeated+n.Harmful != 0 {
		t.Errorf("the Cloud Controller got %+v", n)
	}
}

// TestI1AGapEndsABatchOverHTTP: NATS is lost while the first commands of a batch wait for their answers. No further one is
// posted before everything is fresh again.
func TestI1AGapEndsABatchOverHTTP(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	nats := bustest.Run(t, nil)
	link := bustest.RunProxy(t, nats.Address())
	c := startCluster(t, nats, clusterSetup{nodes: 1, period: time.Second, front: true, natsURL: func(int) string { return link.URL() },
		sets: []string{"guard.mass_loss=0", "policy.start_limit=0"}})
	c.awaitConverged()
	node := c.nodes[0]
	if _, _, err := node.client.SetHold(t.Context(), api.HoldRequest{Name: "together", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	apps := c.sim.Apps(0, 30)
	for _, a := range apps {
		must(t, c.sim.Fleet.CrashInstance(a.GUID, 0))
	}
	bustest.Until(t, "all crashes are recorded", func() bool { return c.status(0).Actual.Crashed == len(apps) })
	c.front.set(frontWaits)
	must(t, node.client.ReleaseHold(t.Context(), "together"))
	bustest.Until(t, "as many commands wait as are posted at a time", func() bool { return c.front.commands() == 16 })
	before := node.link.State().Epoch
	link.BlackHole(true)
	link.Cut()
	bustest.Until(t, "the link is lost", func() bool { return node.link.State().Epoch != before })
	c.front.release()
	bustest.Until(t, "the batch has ended", func() bool {
		claimed := 0
		for cmd := range node.cluster.View().AllCommands() {
			if cmd.State == commands.Claimed {
				claimed++
			}
		}
		return claimed == 0
	})
	if n := c.front.commands(); n != 16 {
		t.Errorf("%d commands were posted, want the 16 before the gap", n)
	}
	link.BlackHole(false)
	bustest.Until(t, "all is well", func() bool { return c.commander() == 0 && c.sim.State().Converged })
	c.front.wantOnce(t)
}

// TestAnswersAreTold: hm commands and hm explain say on every node what the Cloud Controller answered, and the command is
// not posted again before its grace is over (W23).
func TestAnswersAreTold(t *testing.T) {
	takesSeconds(t)
	t.Parallel()
	for name, a := range map[string]struct {
		fail          frontFault
		state, detail string
		refused       bool // the status says so
	}{
		"no room":           {frontNoRoom, "sent", "503 Service Unavailable: No DEA has room (code 170002); no DEA has room", false},
		"wrong credentials": {frontRefuses, "claimed", "401 Unauthorized: Authentication error (code 10002); check commands.cc_username", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const period = 300 * time.Millisecond
			c := startOverHTTP(t, 3, period, "policy.grace=20")
			leader := c.awaitConverged()
			c.front.set(a.fail)
			guid := c.sim.Apps(0, 1)[0].GUID
			must(t, c.sim.Fleet.CrashInstance(guid, 0))
			var posted time.Time
			for i := range c.nodes {
				bustest.Until(t, fmt.Sprint("node ", i, " tells it"), func() bool {
					list, err := c.nodes[i].client.Commands(t.Context(), "", 100)
					return err == nil && len(list.Items) == 1 && list.Items[0].State == a.state && strings.Contains(list.Items[0].Detail, a.detail)
				})
				if posted.IsZero() {
					posted = time.Now()
				}
				e, _, err := c.nodes[i].client.Explain(t.Context(), guid.String(), "")
				must(t, err)
				if text := fmt.Sprintf("%+v", e); !strings.Contains(text, a.detail) {
					t.Errorf("node %d explains %s, without %q", i, text, a.detail)
				}
			}
			if s := c.status(leader); (len(s.CC.Refused) == 1) != a.refused || !s.Gate.Open {
				t.Errorf("the status says %+v, gate %+v", s.CC, s.Gate)
			}
			if n := c.front.commands(); n != 1 {
				t.Errorf("%d commands were posted within a grace, want 1", n)
			}
			bustest.Until(t, "the command is repeated after its grace", func() bool { return c.front.commands() == 2 })
			if took := time.Since(posted); took < 15*period {
				t.Errorf("it was repeated %v later", took)
			}
			c.front.set(frontWorks)
			bustest.Until(t, "all is well", func() bool { return c.sim.State().Converged && c.commander() >= 0 })
			bustest.Until(t, "no refusal is told", func() bool { s := c.status(c.commander()); return s.CC != nil && len(s.CC.Refused) == 0 })
			c.front.wantOnce(t)
		})
	}
}
