package sim

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"hm/internal/sim/cc"
)

// TestOutage: while NATS is away, the DEAs run on and the API answers, but users' changes do not reach the DEAs. Once
// NATS is back, heartbeats and commands continue.
func TestOutage(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := startSim(t, n, Options{Apps: 5, DEAs: 3, Seed: 28, HeartbeatPeriod: 20 * time.Millisecond})
	a := s.Apps(0, 1)[0]
	e := listen(t, n, subjectHeartbeat)
	e.heartbeats(3)
	before := s.State()
	n.Stop()
	await(t, s, "the outage", func(st State) bool { return st.Connected == 0 && st.Lost > before.Lost })
	if _, err := s.CC.ScaleApp(a.GUID, a.Instances+2); err != nil {
		t.Fatal(err)
	}
	st := s.State()
	if st.Running != before.Running || st.Missing != 2 {
		t.Errorf("during the outage: %+v", st)
	}
	if code, body, err := getBulk(t.Context(), s, "bulk_api", "bulk-password", "batch_size=100&bulk_token={}"); err != nil || code != 200 ||
		!bytes.Contains([]byte(body), []byte(`"instances":`+strconv.Itoa(a.Instances+2))) {
		t.Errorf("API during the outage: %d %s %v", code, body, err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, s, "every connection back", func(st State) bool { return st.Connected == st.Connections })
	e.reset()
	e.heartbeats(3)
	for i := range 2 {
		send(t, n, subjectHMStart, startBody{"late-" + strconv.Itoa(i), a.GUID, a.Version, a.Instances + i})
	}
	await(t, s, "the instances that the outage prevented", converged)
}

func TestStartsWithoutNATS(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	n.Stop()
	s := startSim(t, n, Options{Apps: 5, DEAs: 3, Seed: 29, HeartbeatPeriod: 20 * time.Millisecond})
	if st := s.State(); !st.Converged || st.Connected != 0 {
		t.Errorf("without NATS: %+v", st)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	listen(t, n, subjectHeartbeat).heartbeats(3)
	row, err := s.CC.CreateApp(cc.AppSpec{})
	if err != nil {
		t.Fatal(err)
	}
	poll(t, "an app started, after a second try if the Cloud Controller was not connected yet", func() bool {
		if len(s.Fleet.Instances(row.GUID)) == 0 && s.State().Connected == s.State().Connections {
			_, _ = s.CC.RestartApp(row.GUID)
		}
		return s.State().Converged
	})
}

func TestNATSPortTaken(t *testing.T) {
	n := startNATS(t)
	u, err := url.Parse(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	if _, err := StartNATS(NATSOptions{Port: port}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a taken port: %v", err)
	}
	n.Stop()
	n.Stop()
	if err := n.Start(); err != nil {
		t.Error(err)
	}
	if n.URL() != "nats://"+u.Host {
		t.Errorf("was %s, is %s", u.Host, n.URL())
	}
}
