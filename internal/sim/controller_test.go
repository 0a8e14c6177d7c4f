package sim

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
	"hm/internal/sim/wire"
)

// TestRespondent sends a command for every check over NATS and reads the recorded decision.
func TestRespondent(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	s := startSim(t, n, Options{DEAs: 2, Seed: 20, Passive: true})
	two := 2
	mk := func(name string, spec cc.AppSpec) cc.Row {
		spec.GUID, spec.Version, spec.Instances = app.MustGUID(name), app.MustGUID("v1"), &two
		r, err := s.CC.CreateApp(spec)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	mk("good", cc.AppSpec{})
	mk("diego", cc.AppSpec{Diego: true})
	mk("unstaged", cc.AppSpec{Staging: true})
	mk("stopped", cc.AppSpec{Stopped: true})
	mk("failed", cc.AppSpec{})
	if _, err := s.CC.StageApp(app.MustGUID("failed"), true); err != nil {
		t.Fatal(err)
	}
	mk("restaging", cc.AppSpec{})
	if _, err := s.CC.RestageApp(app.MustGUID("restaging"), false); err != nil {
		t.Fatal(err)
	}
	for i, tc := range []struct {
		action, app, version string
		index                int
		duplicate            bool
		accepted             bool
		check                string
	}{
		{cc.ActionStart, "good", "v1", 0, false, true, cc.CheckNone},
		{cc.ActionStart, "absent", "v1", 0, false, false, cc.CheckUnknownApp},
		{cc.ActionStart, "diego", "v1", 0, false, false, cc.CheckDiego},
		{cc.ActionStart, "good", "v0", 0, false, false, cc.CheckVersion},
		{cc.ActionStart, "good", "v1", 2, false, false, cc.CheckIndex},
		{cc.ActionStart, "unstaged", "v1", 0, false, false, cc.CheckNoDroplet},
		{cc.ActionStart, "failed", "v1", 0, false, false, cc.CheckNotStaged},
		{cc.ActionStart, "stopped", "v1", 0, false, false, cc.CheckNotStarted},
		{cc.ActionStop, "good", "v1", 0, false, false, cc.CheckNone},
		{cc.ActionStop, "absent", "v1", 0, false, true, cc.CheckUnknownApp},
		{cc.ActionStop, "diego", "v1", 0, false, true, cc.CheckDiego},
		{cc.ActionStop, "failed", "v1", 0, false, true, cc.CheckStageFailed},
		{cc.ActionStop, "good", "v1", 0, true, true, cc.CheckDuplicate},
		{cc.ActionStop, "good", "v0", 0, false, true, cc.CheckVersion},
		{cc.ActionStop, "good", "v1", 2, false, true, cc.CheckIndex},
		{cc.ActionStop, "stopped", "v1", 0, false, true, cc.CheckStopped},
	} {
		id := "message-" + strconv.Itoa(i)
		if tc.action == cc.ActionStart {
			send(t, n, subjectHMStart, startBody{id, app.MustGUID(tc.app), app.MustGUID(tc.version), tc.index})
		} else {
			send(t, n, subjectHMStop, stopBody{id, app.MustGUID(tc.app), app.MustGUID(tc.version), app.MustGUID("guid"),
				tc.index, tc.duplicate})
		}
		var got []cc.Command
		poll(t, "the decision on "+id, func() bool { got = s.CC.Commands(uint64(i), 10); return len(got) == 1 })
		c := got[0]
		if c.MessageID != id || c.Action != tc.action || c.Accepted != tc.accepted || c.Check != tc.check ||
			c.App.String() != tc.app || c.Index != tc.index {
			t.Errorf("%s %s %s %d: %+v", tc.action, tc.app, tc.version, tc.index, c)
		}
		if (c.DEA != "") != (tc.action == cc.ActionStart && tc.accepted) {
			t.Errorf("%+v was placed", c)
		}
	}
	st := s.State().Commands
	if st.StartsAccepted != 1 || st.StartsRefused != 7 || st.StopsAccepted != 7 || st.StopsRefused != 1 ||
		st.Harmful != 0 {
		t.Errorf("counts %+v", st)
	}
	// Messages that cannot be read are counted, and not decided on (N25).
	bad := []string{`{`, `[]`, `{"droplet":"good","version":"v1"}`, `{"droplet":"good","instance_index":0}`, `{"droplet":"good","version":"v1","instance_index":"0"}`,
		`{"droplet":"good","version":"v1","instance_index":-1}`, `{"droplet":"","version":"v1"}`}
	for _, body := range bad {
		send(t, n, subjectHMStart, body)
	}
	send(t, n, subjectHMStop, `{"droplet":"good","version":"v1","instance_index":0,"is_duplicate":true}`)
	await(t, s, "the malformed ones", func(st State) bool { return st.Commands.Malformed == uint64(len(bad)+1) })
	if got := s.CC.Commands(0, 100); len(got) != 16 {
		t.Errorf("%d commands recorded", len(got))
	}
}

func TestRespondentFaults(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 1, InstancesPerApp: 1, DEAs: 1, Seed: 21, ColdStart: true, Passive: true})
	a := s.Apps(0, 1)[0]
	start := startBody{"m1", a.GUID, a.Version, 0}
	set := func(f Faults) {
		t.Helper()
		if err := s.SetFaults(f); err != nil {
			t.Fatal(err)
		}
	}
	set(Faults{RespondentDeaf: true})
	send(t, n, subjectHMStart, start)
	if st := await(t, s, "a command dropped unread", func(st State) bool { return st.Commands.Unheard == 1 }); st.Commands.StartsAccepted != 0 {
		t.Errorf("deaf: %+v", st.Commands)
	}
	set(Faults{LoseStarts: 1})
	send(t, n, subjectHMStart, start)
	if st := await(t, s, "a lost start", func(st State) bool { return st.Commands.Lost == 1 }); st.Commands.StartsAccepted != 1 || st.Starting+st.Running != 0 {
		t.Errorf("lost: %+v", st)
	}
	set(Faults{RespondentDelay: Duration(time.Millisecond)})
	start.MessageID = "m2"
	send(t, n, subjectHMStart, start)
	await(t, s, "a slow start", converged)
	for _, f := range []Faults{{Bulk: "meteor"}, {LoseStarts: 1.1}, {StartFailure: -0.1}, {BulkDelay: -1}} {
		if s.SetFaults(f) == nil {
			t.Errorf("invalid faults were accepted: %+v", f)
		}
	}
	if s.Faults() != (Faults{RespondentDelay: Duration(time.Millisecond)}) {
		t.Errorf("refused faults changed the present ones: %+v", s.Faults())
	}
}

// getBulk asks for one page.
func getBulk(ctx context.Context, s *Sim, user, password, query string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.CCURL()+"/bulk/apps?"+query, nil)
	if err != nil {
		return 0, "", err
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

type page struct {
	Results map[string]struct {
		ID        string  `json:"id"`
		Instances *int    `json:"instances"`
		State     string  `json:"state"`
		Memory    int     `json:"memory"`
		Package   string  `json:"package_state"`
		Version   string  `json:"version"`
		Updated   *string `json:"updated_at"`
	} `json:"results"`
	Token json.RawMessage `json:"bulk_token"`
}

func TestBulkPages(t *testing.T) {
	n := startNATS(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := startSim(t, n, Options{Apps: 25, DEAs: 1, Seed: 22, BulkUser: "u", BulkPassword: "p", Passive: true})
	apps := s.Apps(0, 100)
	mustChange := func(_ cc.Row, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustChange(s.CC.StopApp(apps[3].GUID))
	mustChange(s.CC.StageApp(apps[4].GUID, true))
	mustChange(s.CC.CreateApp(cc.AppSpec{Diego: true}))
	seen := map[string]int{}
	token, sizes := "{}", []int{}
	for {
		code, body, err := getBulk(t.Context(), s, "u", "p",
			url.Values{"batch_size": {"10"}, "bulk_token": {token}}.Encode())
		if err != nil || code != 200 {
			t.Fatalf("%d %s %v", code, body, err)
		}
		var p page
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(p.Results))
		for guid, r := range p.Results {
			seen[guid]++
			if r.ID != guid || r.Instances == nil || r.State != "STARTED" || r.Package != "STAGED" ||
				len(r.Version) != 36 || r.Memory == 0 || r.Updated == nil {
				t.Fatalf("%s: %+v", guid, r)
			}
		}
		if len(p.Results) == 0 {
			if string(p.Token) != `{"id":null}` {
				t.Errorf("last token %s", p.Token)
			}
			break
		}
		token = string(p.Token)
	}
	if !slices.Equal(sizes, []int{10, 10, 3, 0}) || len(seen) != 23 ||
		seen[apps[3].GUID.String()]+seen[apps[4].GUID.String()] > 0 {
		t.Errorf("pages of %v, %d apps", sizes, len(seen))
	}
	for _, tc := range []struct {
		user, password, query string
		code                  int
		has                   string
	}{
		{"", "", "batch_size=1&bulk_token={}", 401, "10002"},
		{"u", "x", "batch_size=1&bulk_token={}", 401, "10002"},
		{"u", "p", "bulk_token={}", 400, "batch_size"},
		{"u", "p", "batch_size=0&bulk_token={}", 400, "batch_size"},
		{"u", "p", "batch_size=1", 400, "bulk_token"},
		{"u", "p", "batch_size=1&bulk_token=null", 400, "bulk_token"},
		{"u", "p", `batch_size=1&bulk_token={"id":-1}`, 400, "bulk_token"},
		{"u", "p", `batch_size=1&bulk_token={"id":null}`, 200, apps[0].GUID.String()},
		{"u", "p", `batch_size=1&bulk_token={"id":1}`, 200, apps[1].GUID.String()},
	} {
		if code, body, err := getBulk(t.Context(), s, tc.user, tc.password, tc.query); err != nil || code != tc.code || !strings.Contains(body, tc.has) {
			t.Errorf("%+v: %d %s %v", tc, code, body, err)
		}
	}
	all := startSim(t, n, Options{Apps: 1, Seed: 22, BulkAllRows: true, Passive: true})
	a := all.Apps(0, 1)[0]
	mustChange(all.CC.StopApp(a.GUID))
	if _, body, err := getBulk(t.Context(), all, "bulk_api", "bulk-password", "batch_size=5&bulk_token={}"); err != nil || !strings.Contains(body, `"state":"STOPPED"`) {
		t.Errorf("all rows: %s %v", body, err)
	}
}

func TestBulkFaults(t *testing.T) {
	n := startNATS(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := startSim(t, n, Options{Apps: 5, Seed: 23, BulkUser: "u", BulkPassword: "p"})
	const first, second = "batch_size=2&bulk_token={}", `batch_size=2&bulk_token={"id":2}`
	for _, tc := range []struct {
		fault cc.BulkFault
		query string
		code  int
		right func(body string) bool
	}{
		{cc.BulkUnauthorized, first, 401, json1},
		{cc.BulkError, first, 500, json1},
		{cc.BulkTruncated, first, 200, func(b string) bool { return strings.HasPrefix(b, `{"results"`) && !json.Valid([]byte(b)) }},
		{cc.BulkHTML, first, 200, func(b string) bool { return strings.HasPrefix(b, "<html>") }},
		{cc.BulkSecondPage, first, 200, json1},
		{cc.BulkSecondPage, second, 500, json1},
		{cc.BulkEmpty, first, 200, func(b string) bool { return b == `{"results":{},"bulk_token":{"id":null}}` }},
		{cc.BulkHealthy, second, 200, json1},
	} {
		if err := s.SetFaults(Faults{Bulk: tc.fault}); err != nil {
			t.Fatal(err)
		}
		if code, body, err := getBulk(t.Context(), s, "u", "p", tc.query); err != nil || code != tc.code || !tc.right(body) {
			t.Errorf("%q: %d %s %v", tc.fault, code, body, err)
		}
	}
	if err := s.SetFaults(Faults{Bulk: cc.BulkStale}); err != nil {
		t.Fatal(err)
	}
	changed := s.Apps(0, 1)[0]
	if _, err := s.CC.StopApp(changed.GUID); err != nil {
		t.Fatal(err)
	}
	if code, body, err := getBulk(t.Context(), s, "u", "p", first); err != nil || code != 200 || !strings.Contains(body, changed.GUID.String()) {
		t.Errorf("stale: %d %s %v", code, body, err)
	}
	if err := s.SetFaults(Faults{}); err != nil {
		t.Fatal(err)
	}
	if code, body, err := getBulk(t.Context(), s, "u", "p", first); err != nil || code != 200 || strings.Contains(body, changed.GUID.String()) {
		t.Errorf("no longer stale: %d %s %v", code, body, err)
	}
	if err := s.SetFaults(Faults{Bulk: cc.BulkTimeout}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if code, _, err := getBulk(ctx, s, "u", "p", first); err == nil {
		t.Errorf("an answer with status %d, want none", code)
	}
	// Close must not wait for a client that waits.
	hung := make(chan error, 1)
	go func() { _, _, err := getBulk(context.Background(), s, "u", "p", first); hung <- err }()
	s.Close()
	<-hung
}

func json1(body string) bool { return json.Valid([]byte(body)) }

func TestCommandsOverHTTP(t *testing.T) {
	n := startNATS(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := startSim(t, n, Options{Apps: 1, InstancesPerApp: 1, DEAs: 1, Seed: 24, ColdStart: true, Passive: true})
	a := s.Apps(0, 1)[0]
	post := func(path, password, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.CCURL()+"/internal/dea/hm9000/"+path,
			strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("bulk_api", password)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, _ := io.ReadAll(res.Body)
		return res.StatusCode, strings.TrimSpace(string(answer))
	}
	good := string(wire.MustJSON(startBody{"m", a.GUID, a.Version, 0}))
	for _, tc := range []struct {
		path, password, body string
		code                 int
	}{
		{"start/" + a.GUID.String(), "wrong", good, 401},
		{"start/unknown", "bulk-password", `no JSON`, 404},
		{"stop/unknown", "bulk-password", good, 404},
		{"start/" + a.GUID.String(), "bulk-password", `no JSON`, 400},
		{"start/" + a.GUID.String(), "bulk-password", `{}`, 200},
		{"stop/" + a.GUID.String(), "bulk-password", `{"droplet":"x","version":"y","instance_index":0,"instance_guid":"z","is_duplicate":false}`, 200},
		{"start/" + a.GUID.String(), "bulk-password", good, 200},
	} {
		if code, body := post(tc.path, tc.password, tc.body); code != tc.code || tc.code == 200 && body != "{}" {
			t.Errorf("%+v: %d %s", tc, code, body)
		}
	}
	for _, f := range []struct {
		fault Faults
		code  int
		says  string
	}{{Faults{NoRoom: true}, 503, "150003"}, {Faults{NoPackage: true}, 404, "150002"}} {
		if err := s.SetFaults(f.fault); err != nil {
			t.Fatal(err)
		}
		if code, body := post("start/"+a.GUID.String(), "bulk-password", good); code != f.code || !strings.Contains(body, f.says) {
			t.Errorf("%+v: %d %s", f.fault, code, body)
		}
		stop := `{"droplet":"x","version":"y","instance_index":0,"instance_guid":"z","is_duplicate":false}`
		if code, body := post("stop/"+a.GUID.String(), "bulk-password", stop); code != 200 {
			t.Errorf("a stop with %+v: %d %s", f.fault, code, body)
		}
	}
	if err := s.SetFaults(Faults{}); err != nil {
		t.Fatal(err)
	}
	if st := s.State().Commands; st.Unplaced != 2 || st.StartsAccepted != 3 {
		t.Errorf("%+v", st)
	}
	st := await(t, s, "the start", converged)
	if st.Commands.Malformed != 1 || st.Commands.StartsAccepted != 3 || s.CC.Commands(0, 9)[1].Via != "http" {
		t.Errorf("%+v", st.Commands)
	}
}

func TestCredentialsOverNATS(t *testing.T) {
	n := startNATS(t)
	startSim(t, n, Options{Seed: 25, Partition: "zone-1", BulkUser: "u", BulkPassword: "p"})
	nc, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var got *nats.Msg
	poll(t, "an answer", func() bool {
		got, err = nc.Request("cloudcontroller.bulk.credentials.zone-1", nil, time.Second)
		return err == nil
	})
	if string(got.Data) != `{"user":"u","password":"p"}` {
		t.Errorf("credentials %s", got.Data)
	}
}

// TestUserChanges: the Cloud Controller itself carries out what users ask for, and publishes droplet.updated.
func TestUserChanges(t *testing.T) {
	n := startNATS(t)
	updates := listen(t, n, subjectUpdated)
	s := startSim(t, n, Options{Apps: 3, InstancesPerApp: 3, DEAs: 4, Seed: 26, HeartbeatPeriod: 20 * time.Millisecond})
	a := s.Apps(0, 1)[0]
	version := func() string { v, _ := s.App(a.GUID); return v.Version.String() }
	do := func(what string, wantRunning int, sameVersion bool, act func() error) {
		t.Helper()
		before := version()
		updates.reset()
		if err := act(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		await(t, s, what, func(st State) bool { return st.Converged && live(s.Fleet.Instances(a.GUID)) == wantRunning })
		if same := version() == before; same != sameVersion {
			t.Errorf("%s: same version %v", what, same)
		}
		updates.until("droplet.updated after "+what, func(m []*nats.Msg) bool {
			return len(m) > 0 && string(m[0].Data) == `{"droplet":"`+a.GUID.String()+`"}`
		})
	}
	row := func(_ cc.Row, err error) error { return err }
	do("scale up", 7, true, func() error { return row(s.CC.ScaleApp(a.GUID, 7)) })
	do("scale down", 2, true, func() error { return row(s.CC.ScaleApp(a.GUID, 2)) })
	do("stop", 0, true, func() error { return row(s.CC.StopApp(a.GUID)) })
	do("start", 2, false, func() error { return row(s.CC.StartApp(a.GUID)) })
	do("start again", 2, true, func() error { return row(s.CC.StartApp(a.GUID)) })
	do("restart", 2, false, func() error { return row(s.CC.RestartApp(a.GUID)) })
	if _, err := s.CC.RestageApp(a.GUID, false); err != nil {
		t.Fatal(err)
	}
	if v, _ := s.App(a.GUID); v.PackageState != desired.Pending.String() {
		t.Errorf("restaging: %+v", v)
	}
	await(t, s, "the end of staging",
		func(st State) bool { return st.Converged && live(s.Fleet.Instances(a.GUID)) == 2 })
	if _, err := s.CC.RestageApp(a.GUID, true); err != nil {
		t.Fatal(err)
	}
	poll(t, "failed staging", func() bool { v, _ := s.App(a.GUID); return v.PackageState == desired.Failed.String() })
	do("stage", 2, true, func() error { return row(s.CC.StageApp(a.GUID, false)) })
	if err := s.CC.DeleteApp(a.GUID); err != nil {
		t.Fatal(err)
	}
	await(t, s, "delete",
		func(st State) bool { return st.Converged && st.Apps == 2 && len(s.Fleet.Instances(a.GUID)) == 0 })
	if _, err := s.CC.ScaleApp(a.GUID, 1); err == nil {
		t.Error("a deleted app was scaled")
	}
	if _, err := s.CC.ScaleApp(s.Apps(0, 1)[0].GUID, 1<<20); err == nil {
		t.Error("an app was scaled to a million instances")
	}
	if st := s.State(); st.Commands.StartsAccepted != 0 {
		t.Errorf("its own starts count as commands: %+v", st.Commands)
	}
}

func TestPassiveStartsAndStopsNothing(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 2, DEAs: 2, Seed: 27, Passive: true})
	all := listen(t, n, ">")
	apps := s.Apps(0, 2)
	was := s.State().Running
	if err := s.CC.DeleteApp(apps[0].GUID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CC.ScaleApp(apps[1].GUID, apps[1].Instances+3); err != nil {
		t.Fatal(err)
	}
	st := s.State()
	if st.Undesired != apps[0].Instances || st.Missing != 3 || st.Running != was || st.Converged {
		t.Errorf("%+v", st)
	}
	published := all.until("two droplet.updated",
		func(m []*nats.Msg) bool { return len(ofController(m, subjectUpdated)) == 2 })
	if got := ofController(published, subjectUpdated, "start", "stop"); len(got) != 2 {
		t.Errorf("%d messages published", len(got))
	}
}

// ofController gives the messages whose subject ends in one of the given texts.
func ofController(msgs []*nats.Msg, endings ...string) []*nats.Msg {
	return slices.DeleteFunc(slices.Clone(msgs), func(m *nats.Msg) bool {
		return !slices.ContainsFunc(endings, func(end string) bool { return strings.HasSuffix(m.Subject, end) })
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, tc := range []struct {
		o   Options
		has string
	}{
		{Options{DEAs: -1}, "DEAs"},
		{Options{Apps: -1}, "apps"},
		{Options{InstancesPerApp: -1}, "instances per app"},
		{Options{HeartbeatPeriod: time.Microsecond}, "heartbeat period"},
		{Options{StartDelay: -1}, "start delay"},
		{Options{ControlListen: "0.0.0.0:0"}, "loopback"},
		{Options{ControlListen: "nonsense"}, "control address"},
		{Options{CCListen: "256.0.0.1:0"}, "Cloud Controller"},
	} {
		if _, err := Start(t.Context(), tc.o); err == nil || !strings.Contains(err.Error(), tc.has) {
			t.Errorf("%+v: %v", tc.o, err)
		}
	}
}

func live(instances []fleet.Instance) int {
	n := 0
	for _, in := range instances {
		if in.State != actual.Crashed {
			n++
		}
	}
	return n
}
