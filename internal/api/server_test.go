package api_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"hm/commands"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/cluster"
	"hm/raftfsm"
)

func host(base string) string { return strings.TrimPrefix(base, "http://") }

func problemIn(t *testing.T, raw []byte) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatalf("no problem document: %v\n%s", err, raw)
	}
	return p
}

func TestInvalidOptions(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*api.Options)
		says   string
	}{
		"no node":               {func(o *api.Options) { o.Node = nil }, "must be given"},
		"no id":                 {func(o *api.Options) { o.ID = "" }, "node id is empty"},
		"open to every network": {func(o *api.Options) { o.Listen = "0.0.0.0:0" }, "set api.username"},
		"any address":           {func(o *api.Options) { o.Listen = ":0" }, "set api.username"},
		"no port":               {func(o *api.Options) { o.Listen = "127.0.0.1" }, "host:port"},
		"password alone":        {func(o *api.Options) { o.Password = "x" }, "api.username is not"},
		"half a pair":           {func(o *api.Options) { o.TLS.Cert = "x" }, "api.tls.key is missing"},
		"no certificate":        {func(o *api.Options) { o.TLS = api.TLS{Cert: "none", Key: "none"} }, "api.tls.cert"},
		"CA without TLS":        {func(o *api.Options) { o.TLS.ClientCA = "x" }, "api.tls.cert is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			o := apitest.New().Options()
			c.change(&o)
			s, err := api.Open(o)
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	o := apitest.Fleet().Options()
	o.Username, o.Password = "amy", "secret"
	base := serve(t, o)
	basic := func(user, password string) string {
		req, _ := http.NewRequest("GET", "/", nil)
		req.SetBasicAuth(user, password)
		return req.Header.Get("Authorization")
	}
	for _, c := range []struct {
		path, auth string
		status     int
	}{
		{"/v1/status", "", 401}, {"/v1/status", basic("amy", "secre"), 401}, {"/v1/status", basic("am", "secret"), 401},
		{"/v1/status", basic("amy", ""), 401}, {"/v1/status", "Bearer x", 401}, {"/v1/status", basic("amy", "secret"), 200},
		{"/metrics", "", 401}, {"/metrics", basic("amy", "secret"), 200}, {"/nothing", "", 401},
		{"/healthz", "", 200}, {"/readyz", "", 200}, {"/bulk_app_state", "", 401},
	} {
		resp, raw := ask(t, "GET", base+c.path, "", "Authorization", c.auth)
		if resp.StatusCode != c.status {
			t.Errorf("%s with %q: %d, want %d", c.path, c.auth, resp.StatusCode, c.status)
		}
		if c.status == 401 && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: no challenge", c.path)
		}
		if c.status == 401 && c.path == "/bulk_app_state" && len(raw) != 0 {
			t.Errorf("N40: the body is %q, want none", raw)
		}
	}
}

// TestForwarding sends writes to a follower: they arrive at the leader with their credentials, once.
func TestForwarding(t *testing.T) {
	leader, follower := apitest.Fleet(), apitest.Fleet()
	lo := leader.Options()
	lo.Username, lo.Password = "amy", "secret"
	serve(t, lo)
	follower.Follow("hm-2", "hm-1", writesOf(leader))
	fo := follower.Options()
	fo.Username, fo.Password = "amy", "secret"
	base := serve(t, fo)
	req, _ := http.NewRequest("GET", "/", nil)
	req.SetBasicAuth("amy", "secret")
	auth := req.Header.Get("Authorization")

	resp, raw := ask(t, "POST", base+"/v1/holds", `{"name":"work","reason":"why","minutes":1.5,"by":"amy@desk"}`, "Authorization", auth)
	if resp.StatusCode != 201 || resp.Header.Get("X-Hm-Node") != "hm-1" {
		t.Fatalf("%d by %s: %s", resp.StatusCode, resp.Header.Get("X-Hm-Node"), raw)
	}
	holds := leader.View().Holds()
	if len(holds) != 1 || holds[0].Name != "work" || holds[0].By != "amy (amy@desk)" || holds[0].Until != leader.Now().Add(90*time.Second) || leader.Woken == 0 {
		t.Errorf("the leader holds %+v, woken %d times", holds, leader.Woken)
	}
	if len(follower.View().Holds()) != 0 {
		t.Error("the follower changed its own record")
	}
	if resp, raw := ask(t, "DELETE", base+"/v1/holds/work?who=amy", "", "Authorization", auth); resp.StatusCode != 400 {
		t.Errorf("an unknown parameter gives %d %s", resp.StatusCode, raw)
	}
	if resp, raw := ask(t, "DELETE", base+"/v1/holds/work?by=amy@phone", "", "Authorization", auth); resp.StatusCode != 204 || len(raw) != 0 {
		t.Errorf("%d %s", resp.StatusCode, raw)
	}
	last := leader.Proposed[len(leader.Proposed)-3:]
	if set, ok := last[0].(raftfsm.HoldSet); !ok || set.Hold.By != "amy (amy@phone)" {
		t.Errorf("the release is recorded as %+v", last)
	}
	if told, ok := last[2].(raftfsm.Noted); !ok || told.Notes[0].By != "amy" || told.Notes[0].Reason != "password, from 127.0.0.1 through hm-2" {
		t.Errorf("the history is told %+v", last[2])
	}
	if resp, raw := ask(t, "DELETE", base+"/v1/holds/work", "", "Authorization", auth); resp.StatusCode != 404 || problemIn(t, raw).Type != "urn:hm:problem:no-hold" {
		t.Errorf("%d %s", resp.StatusCode, raw)
	}

	// A node that has just been elected is known to the others before it may write.
	leader.Follow("hm-1", "", "")
	time.AfterFunc(50*time.Millisecond, leader.Elect)
	if resp, raw := ask(t, "POST", base+"/v1/holds", `{"name":"late"}`, "Authorization", auth); resp.StatusCode != 201 {
		t.Errorf("a write to a node that is being elected gives %d %s", resp.StatusCode, raw)
	}

	// Two nodes that take each other for the leader end it after one hop.
	api.SetElectionPatience(t, 50*time.Millisecond)
	leader.Follow("hm-1", "hm-2", writesOf(follower))
	resp, raw = ask(t, "POST", base+"/v1/holds", `{"name":"x"}`, "Authorization", auth)
	if p := problemIn(t, raw); resp.StatusCode != 503 || p.Type != "urn:hm:problem:not-leader" || !strings.Contains(p.Detail, "hm-2") {
		t.Errorf("a loop gives %d %s", resp.StatusCode, raw)
	}
}

// TestACancelledCommandIsLogged: the node that cancels a command logs that it ended.
func TestACancelledCommandIsLogged(t *testing.T) {
	n := apitest.Fleet()
	base := serve(t, n.Options())
	for c := range n.View().AllCommands() {
		if c.State != commands.Pending {
			continue
		}
		if resp, raw := ask(t, "DELETE", base+"/v1/commands/"+c.ID.String(), ""); resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, raw)
		}
		if len(n.Logged) != 1 || n.Logged[0].ID != c.ID || n.Logged[0].State != commands.Dropped {
			t.Errorf("logged are %+v, want the cancelled command", n.Logged)
		}
		return
	}
	t.Fatal("no command is pending")
}

// writesOf gives the address to which other nodes forward writes for a node.
func writesOf(w *apitest.Node) string { return w.Writes().Addr().String() }

// TestOnlyForwardedWritesComeOverTheClusterPort: the API may be on loopback and without authentication, so who
// reaches the cluster's own port must not reach the API.
func TestOnlyForwardedWritesComeOverTheClusterPort(t *testing.T) {
	w := apitest.Fleet()
	o := w.Options()
	o.Username, o.Password = "amy", "secret"
	serve(t, o)
	base := "http://" + writesOf(w)
	const by = "X-Hm-Forwarded-By"
	for name, c := range map[string]struct {
		method, path string
		headers      []string
		status       int
	}{
		"a read":                        {"GET", "/v1/status", []string{by, "hm-2"}, 403},
		"metrics":                       {"GET", "/metrics", []string{by, "hm-2"}, 403},
		"a write that nobody forwarded": {"POST", "/v1/holds", nil, 403},
		"a write without credentials":   {"POST", "/v1/holds", []string{by, "hm-2"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			if resp, raw := ask(t, c.method, base+c.path, `{"name":"x"}`, c.headers...); resp.StatusCode != c.status {
				t.Errorf("%d %s, want %d", resp.StatusCode, raw, c.status)
			}
		})
	}
	if len(w.View().Holds()) != 0 {
		t.Error("a hold was set")
	}
}

// TestAnElectionUnderWay: a write that comes while the cluster elects a leader waits for it, at the first node and at the
// leader itself.
func TestAnElectionUnderWay(t *testing.T) {
	w := apitest.Fleet()
	w.Follow("hm-1", "", "")
	time.AfterFunc(50*time.Millisecond, w.Elect)
	if resp, raw := ask(t, "POST", serve(t, w.Options())+"/v1/holds", `{"name":"x"}`); resp.StatusCode != 201 {
		t.Errorf("%d %s", resp.StatusCode, raw)
	}
}

func TestForwardingThatFails(t *testing.T) {
	api.SetElectionPatience(t, 50*time.Millisecond)
	for name, c := range map[string]struct {
		prepare func(*apitest.Node)
		status  int
		slug    string
	}{
		"no leader":           {func(w *apitest.Node) { w.Follow("hm-2", "", "") }, 503, "no-leader"},
		"nobody there":        {func(w *apitest.Node) { w.Follow("hm-2", "hm-1", "127.0.0.1:1") }, 502, "leader-unreachable"},
		"not a member":        {func(w *apitest.Node) { w.Follow("hm-2", "hm-9", "") }, 502, "leader-unreachable"},
		"leadership lost":     {func(w *apitest.Node) { w.Err = fmt.Errorf("x: %w", cluster.ErrLeadershipLost) }, 504, "outcome-unknown"},
		"no longer leader":    {func(w *apitest.Node) { w.Err = cluster.ErrNotLeader }, 503, "not-leader"},
		"elected, catches up": {func(w *apitest.Node) { w.Lead = cluster.Leadership{LeaderID: "hm-1", Since: time.Now()} }, 503, "no-leader"},
	} {
		t.Run(name, func(t *testing.T) {
			w := apitest.Fleet()
			c.prepare(w)
			resp, raw := ask(t, "POST", serve(t, w.Options())+"/v1/holds", `{"name":"x"}`)
			if p := problemIn(t, raw); resp.StatusCode != c.status || p.Type != "urn:hm:problem:"+c.slug || p.Status != c.status || p.Hint == "" {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, raw, c.status, c.slug)
			}
		})
	}
}

func TestWritesThatAreRefused(t *testing.T) {
	base := serve(t, apitest.Fleet().Options())
	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
	}{
		"no JSON":           {`{`, nil, 400},
		"no object":         {`[]`, nil, 400},
		"two values":        {`{"name":"x"}{}`, nil, 400},
		"unknown field":     {`{"name":"x","minuets":3}`, nil, 400},
		"wrong type":        {`{"name":3}`, nil, 400},
		"no name":           {`{}`, nil, 400},
		"name with spaces":  {`{"name":"a b"}`, nil, 400},
		"for ever and more": {`{"name":"x","minutes":1e300}`, nil, 400},
		"backwards":         {`{"name":"x","minutes":-1}`, nil, 400},
		"long reason":       {`{"name":"x","reason":"` + strings.Repeat("r", 501) + `"}`, nil, 400},
		"huge":              {`{"name":"x","reason":"` + strings.Repeat("r", 1<<20) + `"}`, nil, 413},
		"form":              {`name=x`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		"another site":      {`{"name":"x"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"another origin":    {`{"name":"x"}`, []string{"Origin", "http://evil.example"}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			resp, raw := ask(t, "POST", base+"/v1/holds", c.body, c.headers...)
			if p := problemIn(t, raw); resp.StatusCode != c.status || p.Status != c.status {
				t.Errorf("%d %s, want %d", resp.StatusCode, raw, c.status)
			}
		})
	}
	if _, raw := ask(t, "GET", base+"/v1/holds", ""); string(raw) != "[]\n" {
		t.Errorf("holds were set: %s", raw)
	}
}

// TestSlowAndHugeHeaders sends what bad clients send.
func TestSlowAndHugeHeaders(t *testing.T) {
	api.SetPatience(t, 200*time.Millisecond, time.Second)
	base := serve(t, apitest.Fleet().Options())
	dial := func() net.Conn {
		c, err := net.Dial("tcp", host(base))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	slow := dial()
	if _, err := io.WriteString(slow, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow"); err != nil {
		t.Fatal(err)
	}
	huge := dial()
	go func() { // the server stops reading in the middle
		_, _ = io.WriteString(huge, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Huge: "+strings.Repeat("h", 1<<20)+"\r\n\r\n")
	}()
	resp, err := http.ReadResponse(bufio.NewReader(huge), nil)
	if err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of a MiB gives %d, want 431", resp.StatusCode)
	}
	if raw, err := io.ReadAll(slow); err != nil || strings.Contains(string(raw), " 200 ") {
		t.Errorf("a header that never ends gives %q, %v, want a closed connection", raw, err)
	}
}

// TestConnectionsAreLimited opens more connections than there may be: those beyond wait until one ends.
func TestConnectionsAreLimited(t *testing.T) {
	o := apitest.Fleet().Options()
	o.MaxConns = 2
	base := serve(t, o)
	get := func(c net.Conn) string {
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return ""
		}
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	var conns []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", host(base))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for _, c := range conns[:2] { // an idle one would make room
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	third := make(chan string, 1)
	go func() { third <- get(conns[2]) }()
	select {
	case got := <-third:
		t.Fatalf("a third connection is served while two are open: %q", got)
	case <-time.After(50 * time.Millisecond):
	}
	if err := conns[0].Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-third; got != "HTTP/1.1 200 OK" {
		t.Errorf("%q after one ended, want 200", got)
	}
}

func TestReadiness(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*apitest.Node)
		ready   bool
	}{
		"leader":    {func(*apitest.Node) {}, true},
		"follower":  {func(w *apitest.Node) { w.Follow("hm-2", "hm-1", "x:1") }, true},
		"no leader": {func(w *apitest.Node) { w.Follow("hm-2", "", "") }, false},
		"unheard":   {func(w *apitest.Node) { w.Follow("hm-2", "hm-3", "x:1") }, false},
		"behind":    {func(w *apitest.Node) { w.Follow("hm-2", "hm-1", "x:1"); w.Peers[0].Info.AppliedIndex = 1000 }, false},
		"full disk": {func(w *apitest.Node) { w.Disk = errors.New("storing entries in raft.db has failed for 3s") }, false},
		"elected":   {func(w *apitest.Node) { w.Lead = cluster.Leadership{LeaderID: "hm-1", Since: time.Now()} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := apitest.Fleet()
			c.prepare(w)
			resp, raw := ask(t, "GET", serve(t, w.Options())+"/readyz", "")
			var got api.Readiness
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			if got.Ready != c.ready || (resp.StatusCode == 200) != c.ready || (len(got.Reasons) == 0) != c.ready {
				t.Errorf("%d %s, want ready %v", resp.StatusCode, raw, c.ready)
			}
		})
	}
}

// TestFollowersShowTheirAge has a follower say for how long the leader has been silent.
func TestFollowersShowTheirAge(t *testing.T) {
	w := apitest.Fleet()
	w.Follow("hm-2", "hm-1", "x:1")
	w.Peers[0].LastContact = time.Now().Add(-3 * time.Second)
	resp, _ := ask(t, "GET", serve(t, w.Options())+"/v1/apps", "")
	var age int
	if _, err := fmt.Sscan(resp.Header.Get("X-Hm-Age-Ms"), &age); err != nil || age < 3000 || age > 60_000 {
		t.Errorf("age %q, want at least 3000", resp.Header.Get("X-Hm-Age-Ms"))
	}
	if got := resp.Header.Get("X-Hm-Leader"); got != "hm-1" {
		t.Errorf("leader %q", got)
	}
}
