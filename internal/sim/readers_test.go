package sim

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/actual"
	"hm/actual/feed"
	"hm/commands"
	"hm/commands/natspub"
	"hm/desired/bulk"
	"hm/internal/app"
	"hm/internal/sim/cc"
)

// TestFeedReadsTheFleet: hm's decoder reads the fleet's heartbeats and exits, and finds what the fleet runs.
func TestFeedReadsTheFleet(t *testing.T) {
	n := startNATS(t)
	beats, exits, updates := listen(t, n, subjectHeartbeat), listen(t, n, subjectExited), listen(t, n, subjectUpdated)
	s := startSim(t, n, Options{Apps: 20, DEAs: 4, Seed: 40, Passive: true})
	dea := s.Fleet.DEAs(2, 1)[0].ID
	if err := s.Fleet.Evacuate(dea); err != nil {
		t.Fatal(err)
	}
	a := s.Apps(0, 1)[0]
	if err := s.Fleet.CrashInstance(a.GUID, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CC.StopApp(a.GUID); err != nil {
		t.Fatal(err)
	}
	got := map[app.GUID]actual.Located{}
	want := s.State()
	states := map[actual.State]int{}
	beats.until("heartbeats that list everything", func(msgs []*nats.Msg) bool {
		clear(got)
		byDEA := map[string]actual.Heartbeat{}
		for _, m := range msgs {
			hb, err := feed.DecodeHeartbeat(m.Data)
			if err != nil || hb.Rejected > 0 {
				t.Fatalf("%s: %d rejected: %v", m.Data, hb.Rejected, err)
			}
			byDEA[hb.DEA] = hb
		}
		clear(states)
		for _, hb := range byDEA {
			for _, in := range hb.Instances {
				states[in.State]++
				got[in.GUID] = actual.Located{Instance: in, DEA: hb.DEA}
			}
		}
		return states[actual.Running] == want.Running && states[actual.Evacuating] == want.Evacuating &&
			states[actual.Crashed] == 1
	})
	seen := 0
	for _, a := range s.Apps(0, 100) {
		for _, in := range a.Running {
			seen++
			g := got[in.GUID]
			if g.App != (app.Key{Droplet: in.App, Version: in.Version}) || g.Index != in.Index || g.DEA != in.DEA ||
				g.State.String() != in.State ||
				g.Since != in.Since.UnixMilli() {
				t.Errorf("the feed has %+v, the fleet %+v", g, in)
			}
		}
	}
	if seen != len(got) || seen == 0 {
		t.Errorf("the feed has %d instances, the fleet %d", len(got), seen)
	}
	exit := exits.until("the exit", func(m []*nats.Msg) bool { return len(m) == 1 })
	if e, err := feed.DecodeExit(exit[0].Data); err != nil || e.App.Droplet != a.GUID || e.Reason != actual.ExitCrashed || e.Instance != a.Running[0].GUID {
		t.Errorf("exit %+v: %v", e, err)
	}
	updated := updates.until("the update", func(m []*nats.Msg) bool { return len(m) == 1 })
	if g, err := feed.DecodeUpdated(updated[0].Data); err != nil || g != a.GUID {
		t.Errorf("update %s: %v", g, err)
	}
}

// TestBulkReadsTheApps: hm's reader gets every app, page by page, with the credentials that the Cloud Controller sends
// over NATS, and the read fails with every fault.
func TestBulkReadsTheApps(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 57, DEAs: 1, Seed: 41, Passive: true})
	nc, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	src, err := bulk.New(bulk.Options{URL: s.CCURL(), BatchSize: 10, Timeout: 200 * time.Millisecond,
		Credentials: func(ctx context.Context) (string, string, error) {
			m, err := nc.RequestWithContext(ctx, "cloudcontroller.bulk.credentials.default", nil)
			if err != nil {
				return "", "", err
			}
			return bulk.ParseCredentials(m.Data)
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	apps := s.Apps(0, 100)
	if _, err := s.CC.StopApp(apps[0].GUID); err != nil {
		t.Fatal(err)
	}
	read, err := src.Read(t.Context())
	if err != nil || len(read.Unreadable) > 0 || len(read.Apps) != 56 {
		t.Fatalf("%d apps, %d unreadable: %v", len(read.Apps), len(read.Unreadable), err)
	}
	want := map[app.Key]int{}
	for _, a := range apps[1:] {
		want[app.Key{Droplet: a.GUID, Version: a.Version}] = a.Instances
	}
	for _, a := range read.Apps {
		if want[a.Key] != int(a.Instances) || !a.Startable() {
			t.Errorf("%+v, want %d instances", a, want[a.Key])
		}
	}
	for _, fault := range []cc.BulkFault{cc.BulkUnauthorized, cc.BulkError, cc.BulkTimeout, cc.BulkTruncated,
		cc.BulkHTML, cc.BulkSecondPage} {
		if err := s.SetFaults(Faults{Bulk: fault}); err != nil {
			t.Fatal(err)
		}
		if read, err := src.Read(t.Context()); err == nil {
			t.Errorf("fault %q: the read succeeded with %d apps", fault, len(read.Apps))
		} else if errors.Is(err, context.Canceled) {
			t.Errorf("fault %q: %v", fault, err)
		}
	}
	// An empty answer is a complete read (D05, W04): the reader cannot see the fault, the guard must.
	if err := s.SetFaults(Faults{Bulk: cc.BulkEmpty}); err != nil {
		t.Fatal(err)
	}
	if read, err := src.Read(t.Context()); err != nil || len(read.Apps) != 0 {
		t.Errorf("empty: %d apps, %v", len(read.Apps), err)
	}
	if err := s.SetFaults(Faults{}); err != nil {
		t.Fatal(err)
	}
	if read, err := src.Read(t.Context()); err != nil || len(read.Apps) != 56 {
		t.Errorf("healed: %d apps, %v", len(read.Apps), err)
	}
}

// TestReadsHMsEncoding: the Cloud Controller reads what hm publishes.
func TestReadsHMsEncoding(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 1, InstancesPerApp: 1, DEAs: 1, Seed: 42, ColdStart: true, Passive: true})
	a := s.Apps(0, 1)[0]
	key := app.Key{Droplet: a.GUID, Version: a.Version}
	send(t, n, natspub.SubjectStart, string(natspub.EncodeStart(commands.Command{ID: commands.ID{1}, Action: commands.Start, App: key}, commands.Spelling{})))
	await(t, s, "the start", converged)
	in := s.Fleet.Instances(a.GUID)[0]
	send(t, n, natspub.SubjectStop, string(natspub.EncodeStop(commands.Command{ID: commands.ID{2}, Action: commands.Stop, App: key, Instance: in.GUID, Reason: commands.ReasonDuplicate}, commands.Spelling{})))
	st := await(t, s, "the stop", func(st State) bool { return st.Missing == 1 })
	got := s.CC.Commands(0, 9)
	if st.Commands.Malformed != 0 || len(got) != 2 || got[0].MessageID != (commands.ID{1}).String() ||
		got[1].Instance != in.GUID || !got[1].Duplicate {
		t.Errorf("%+v\n%+v", st.Commands, got)
	}
}
