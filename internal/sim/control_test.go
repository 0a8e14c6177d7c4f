package sim

import (
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
)

// call makes one control request and decodes the answer into v, if it is not nil.
func call(t *testing.T, s *Sim, method, path, body string, v any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.ControlURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(answer, v); err != nil {
			t.Fatalf("%s %s: %s: %v", method, path, answer, err)
		}
	}
	return res.StatusCode
}

func TestControl(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := startSim(t, n, Options{Apps: 4, DEAs: 4, Seed: 30, HeartbeatPeriod: 20 * time.Millisecond})
	var st State
	if code := call(t, s, "GET", "/state", "", &st); code != 200 || !st.Converged || st.Apps != 4 {
		t.Fatalf("%d %+v", code, st)
	}
	var apps []AppView
	call(t, s, "GET", "/apps?after=1&limit=2", "", &apps)
	if len(apps) != 2 || apps[0].ID != 2 {
		t.Errorf("apps %+v", apps)
	}
	var created AppView
	if code := call(t, s, "POST", "/apps", `{"instances":3}`, &created); code != 200 || created.Instances != 3 {
		t.Fatalf("%d %+v", code, created)
	}
	path := "/apps/" + created.GUID.String()
	await(t, s, "the app runs", converged)
	for _, step := range []struct{ action, body string }{
		{"scale", `{"instances":5}`}, {"stop", ""}, {"start", "{}"}, {"restart", ""}, {"restage", `{"fail":false}`},
	} {
		if code := call(t, s, "POST", path+"/"+step.action, step.body, nil); code != 200 {
			t.Errorf("%s: %d", step.action, code)
		}
	}
	await(t, s, "staged and running",
		func(st State) bool { return st.Converged && live(s.Fleet.Instances(created.GUID)) == 5 })
	exits := listen(t, n, subjectExited)
	if code := call(t, s, "POST", path+"/crash", `{"index":4}`, nil); code != 200 {
		t.Errorf("crash: %d", code)
	}
	exits.until("the crash", func(m []*nats.Msg) bool { return len(m) == 1 })
	if code := call(t, s, "POST", path+"/crash-loop", `{"after":"1ms"}`, nil); code != 200 {
		t.Errorf("crash-loop: %d", code)
	}
	exits.until("the other four", func(m []*nats.Msg) bool { return len(m) == 5 })
	if code := call(t, s, "POST", path+"/end-crash-loop", "", nil); code != 200 {
		t.Errorf("end-crash-loop: %d", code)
	}
	if code := call(t, s, "DELETE", path, "", nil); code != 200 {
		t.Errorf("delete: %d", code)
	}
	var ids []string
	if code := call(t, s, "POST", "/deas", `{"count":2}`, &ids); code != 200 || len(ids) != 2 {
		t.Errorf("%d %v", code, ids)
	}
	if code := call(t, s, "POST", "/deas/"+ids[0]+"/pause", "", nil); code != 200 {
		t.Errorf("pause: %d", code)
	}
	var one fleet.DEA
	if code := call(t, s, "GET", "/deas/"+ids[0], "", &one); code != 200 || !one.Paused {
		t.Errorf("%d %+v", code, one)
	}
	if code := call(t, s, "POST", "/deas/random/kill?count=3", "", &ids); code != 200 || len(ids) != 3 {
		t.Errorf("%d %v", code, ids)
	}
	var deas []fleet.DEA
	if call(t, s, "GET", "/deas?from=4", "", &deas); len(deas) != 2 {
		t.Errorf("deas %+v", deas)
	}
	var f Faults
	if code := call(t, s, "PUT", "/faults", `{"bulk":"html","lose_starts":0.5,"respondent_delay":"20ms"}`, nil); code != 200 {
		t.Errorf("faults: %d", code)
	}
	if call(t, s, "GET", "/faults", "", &f); f != (Faults{Bulk: cc.BulkHTML, LoseStarts: 0.5, RespondentDelay: Duration(20 * time.Millisecond)}) {
		t.Errorf("faults %+v", f)
	}
	var cmds []cc.Command
	if code := call(t, s, "GET", "/commands?since=0&limit=10", "", &cmds); code != 200 || cmds == nil {
		t.Errorf("commands: %d %v", code, cmds)
	}
}

func TestControlRefuses(t *testing.T) {
	n := startNATS(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := startSim(t, n, Options{Apps: 1, DEAs: 1, Seed: 31})
	a, d := "/apps/"+s.Apps(0, 1)[0].GUID.String(), "/deas/"+s.Fleet.DEAs(0, 1)[0].ID
	for _, tc := range []struct {
		method, path, body string
		code               int
	}{
		{"GET", "/nothing", "", 404},
		{"POST", "/state", "", 405},
		{"GET", "/apps?after=-1", "", 400},
		{"GET", "/apps?limit=0", "", 400},
		{"GET", "/apps/none", "", 404},
		{"POST", "/apps", `{"instances":-1}`, 400},
		{"POST", "/apps", `{"instnces":1}`, 400},
		{"POST", "/apps", `{} {}`, 400},
		{"POST", "/apps", `{"guid":"` + strings.TrimPrefix(a, "/apps/") + `"}`, 409},
		{"POST", a + "/scale", `{}`, 400},
		{"POST", a + "/explode", "", 400},
		{"POST", a + "/crash", `{"index":99999}`, 404},
		{"POST", a + "/crash-loop", `{"after":"soon"}`, 400},
		{"POST", "/apps/none/stop", "", 404},
		{"POST", d + "/explode", "", 400},
		{"POST", d + "/resume", "", 409},
		{"POST", "/deas/0-none/kill", "", 404},
		{"POST", "/deas/random/kill?count=x", "", 400},
		{"POST", "/deas/random/kill?count=-1", "", 400},
		{"POST", "/deas", `{"count":1000000}`, 400},
		{"PUT", "/faults", `{"bulk":"meteor"}`, 400},
		{"PUT", "/faults", `{"x":"` + strings.Repeat("y", maxControlBody) + `"}`, 413},
	} {
		if code := call(t, s, tc.method, tc.path, tc.body, nil); code != tc.code {
			t.Errorf("%s %s %.60s: %d, want %d", tc.method, tc.path, tc.body, code, tc.code)
		}
	}
	// Requests of a page on another site are refused.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.ControlURL()+d+"/kill", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "http://example.org")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden || s.State().DEAs != 1 {
		t.Errorf("a cross-site request: %d", res.StatusCode)
	}
}

// TestCloseWaits: when Close has returned, none of the simulation's goroutines runs on, even if it was busy.
func TestCloseWaits(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 50, DEAs: 50, Seed: 32, HeartbeatPeriod: time.Millisecond,
		ConnectionPerDEA: true})
	if _, err := s.Fleet.ActOnRandom(10, fleet.Restart); err != nil {
		t.Fatal(err)
	}
	// An event that runs when Close is called has ended when Close returns.
	entered, ended := make(chan struct{}), false
	s.timeline.after(0, func() {
		close(entered)
		time.Sleep(50 * time.Millisecond)
		ended = true
	})
	<-entered
	s.Close()
	if !ended {
		t.Error("Close did not wait for the timeline")
	}
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, own := range []string{"fleet.(*connection)", "sim.(*timeline)", "cc.(*Controller)", "sim.serve"} {
		if strings.Contains(string(stacks), own) {
			t.Errorf("%s still runs:\n%s", own, stacks)
			break
		}
	}
	s.Close()
	if _, err := s.Fleet.Add(1); err == nil {
		t.Error("a DEA was added to a closed simulation")
	}
}
