package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/raftfsm"
)

// TestSeriesTellWhatTheStatusTold: a sample has the numbers that the status had when it was taken, on the leader and on a
// follower, and a gate that closes shows.
func TestSeriesTellWhatTheStatusTold(t *testing.T) {
	w := apitest.Fleet()
	s, err := api.Open(w.Options())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := api.NewClient(api.ClientOptions{Addr: "http://" + s.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	if got, _, err := c.Series(ctx, "", 0); err != nil || len(got.Samples) != 0 || got.Samples == nil || !got.Since.IsZero() || got.PeriodMS != 10_000 {
		t.Fatalf("before the first sample: %+v %v", got, err)
	}
	check := func(i int, gate bool, leads bool) {
		t.Helper()
		s.DropPass() // on a busy machine passes take long, and are used for longer
		s.TakeSample()
		st, _, err := c.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := c.Series(ctx, "", 0)
		if err != nil || len(got.Samples) != i+1 {
			t.Fatalf("%d samples %v, want %d", len(got.Samples), err, i+1)
		}
		x := got.Samples[i]
		if x.GateOpen != gate || x.Leads != leads || (len(x.HeldBy) == 0) != gate {
			t.Errorf("sample %d: gate %v (%v), leads %v; want %v, %v", i, x.GateOpen, x.HeldBy, x.Leads, gate, leads)
		}
		if x.Drift != st.Drift || x.Waiting != st.Queue.Waiting || x.Instances != st.Actual.Instances || x.Running != st.Actual.Running ||
			x.Wanted != st.Desired.Instances || x.SentStops != st.Commands.SentStops || x.DEAs != st.Actual.DEAs || x.GoneDEAs != st.Actual.GoneDEAs {
			t.Errorf("sample %d %+v differs from the status %+v", i, x, st)
		}
		if !x.At.Equal(st.Basis.At.Time) || !got.Since.Equal(got.Samples[0].At.Time) {
			t.Errorf("sample %d is of %v, status of %v; since %v", i, x.At, st.Basis.At, got.Since)
		}
	}
	check(0, true, true)
	w.Must(w.Now().Add(30*time.Second), raftfsm.DEAChanges{DEA: "1-dea-one", Upserts: []actual.Instance{apitest.Instance(apitest.Gappy, 77, 2, actual.Running)}})
	w.CloseGate("nats-down")
	check(1, false, true)
	w.Lock()
	w.Lead.Leader, w.Lead.LeaderID = false, "hm-2"
	w.Over.GateOpen, w.Over.GateReasons = false, []string{"not-leader"}
	w.At = w.At.Add(10 * time.Second)
	w.Unlock()
	check(2, true, false)
	if got, _, err := c.Series(ctx, "15s", 0); err != nil || len(got.Samples) != 2 {
		t.Errorf("since=15s gives %d samples %v, want 2", len(got.Samples), err)
	}
	if got, _, err := c.Series(ctx, "", 2); err != nil || len(got.Samples) != 2 || got.Samples[1].Leads {
		t.Errorf("points=2 gives %+v %v", got.Samples, err)
	}
	for _, query := range []string{"since=yesterday", "points=0", "points=many", "sinc=1h"} {
		if resp, raw := ask(t, "GET", "http://"+s.Addr()+"/v1/series?"+query, ""); resp.StatusCode != 400 {
			t.Errorf("%s: %d %s", query, resp.StatusCode, raw)
		}
	}
}

// TestSamplesAreTakenWithoutBeingAsked: and the goroutine that takes them ends with the server.
func TestSamplesAreTakenWithoutBeingAsked(t *testing.T) {
	t.Parallel()
	o := apitest.Fleet().Options()
	o.Policy.HeartbeatPeriod = time.Second
	base := serve(t, o)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, raw := ask(t, "GET", base+"/v1/series", "")
		if resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, raw)
		}
		if !strings.Contains(string(raw), `"samples":[]`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no sample was taken")
		}
	}
}
