package sim

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/sim/cc"
	"hm/internal/sim/wire"
)

func TestEverythingRunsAtTheStart(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	e := listen(t, n, subjectHeartbeat)
	s := startSim(t, n, Options{Apps: 40, DEAs: 5, Seed: 1})
	st := s.State()
	if !st.Converged || st.Apps != 40 || st.Running != st.Desired || st.Desired == 0 || st.DEAs != 5 {
		t.Fatalf("at the start: %+v", st)
	}
	seen := 0
	for id, hb := range e.heartbeats(5) {
		if !strings.HasPrefix(id, "0-") || len(id) != 34 {
			t.Errorf("DEA id %q", id)
		}
		for _, in := range hb.Droplets {
			seen++
			if in.Partition != "default" || len(in.Droplet) != 36 || len(in.Version) != 36 || len(in.Instance) != 32 ||
				in.Index == nil || in.State != "RUNNING" || in.Since == nil || *in.Since < 1e9 {
				t.Fatalf("entry %+v", in)
			}
		}
	}
	if seen != st.Running {
		t.Errorf("heartbeats list %d instances, %d run", seen, st.Running)
	}
}

func TestHeartbeatIsByteIdenticalWhileNothingChanges(t *testing.T) {
	n := startNATS(t)
	e := listen(t, n, subjectHeartbeat)
	s := startSim(t, n, Options{Apps: 30, DEAs: 3, Seed: 2, HeartbeatPeriod: 20 * time.Millisecond})
	payloads := map[string][][]byte{}
	e.until("five rounds", func(msgs []*nats.Msg) bool {
		clear(payloads)
		for _, m := range msgs {
			id := decodeHeartbeat(t, m.Data).DEA
			payloads[id] = append(payloads[id], m.Data)
		}
		least := 1 << 30
		for _, p := range payloads {
			least = min(least, len(p))
		}
		return len(payloads) == 3 && least >= 5
	})
	for id, all := range payloads {
		for _, p := range all {
			if !bytes.Equal(p, all[0]) {
				t.Fatalf("DEA %s sent\n%s\nand then\n%s", id, all[0], p)
			}
		}
	}
	droplets := bytes.Index(payloads[s.Fleet.DEAs(0, 1)[0].ID][0], []byte(`{"droplets":[{"cc_partition":"default","droplet":"`))
	if droplets != 0 {
		t.Errorf("key order: %.120s", payloads[s.Fleet.DEAs(0, 1)[0].ID][0])
	}
}

func TestSameSeedSameLayout(t *testing.T) {
	n := startNATS(t)
	layout := func(seed uint64) string {
		s := startSim(t, n, Options{Apps: 20, DEAs: 4, Seed: seed})
		defer s.Close()
		apps := s.Apps(0, 100)
		for i := range apps {
			apps[i].UpdatedAt = time.Time{}
			for j := range apps[i].Running {
				apps[i].Running[j].Since = time.Time{}
			}
		}
		return string(wire.MustJSON(apps))
	}
	a, b, c := layout(7), layout(7), layout(8)
	if a != b {
		t.Errorf("one seed gave two layouts:\n%s\n%s", a, b)
	}
	if a == c {
		t.Error("two seeds gave one layout")
	}
}

func TestStartAndStopOverNATS(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 3, DEAs: 3, Seed: 3, ColdStart: true, Passive: true,
		HeartbeatPeriod: 20 * time.Millisecond})
	if st := s.State(); st.Running != 0 || st.Missing != st.Desired || st.Converged {
		t.Fatalf("cold: %+v", st)
	}
	id := 0
	for _, a := range s.Apps(0, 10) {
		for i := range a.Instances {
			id++
			send(t, n, subjectHMStart,
				startBody{MessageID: string(rune('a' + id)), Droplet: a.GUID, Version: a.Version, Index: i})
		}
	}
	st := await(t, s, "all started", converged)
	if st.Commands.StartsAccepted != uint64(st.Desired) || st.Commands.Repeated != 0 || st.Commands.Needless != 0 {
		t.Errorf("commands: %+v", st.Commands)
	}
	for _, d := range s.Fleet.DEAs(0, 10) { // placed on the DEA with the fewest
		if d.Live > st.Desired/3+1 {
			t.Errorf("DEA %s has %d of %d", d.ID, d.Live, st.Desired)
		}
	}
	// One start too many makes a duplicate, which a stop with is_duplicate ends.
	a := s.Apps(0, 1)[0]
	send(t, n, subjectHMStart, startBody{MessageID: "again", Droplet: a.GUID, Version: a.Version, Index: 0})
	st = await(t, s, "a duplicate", func(st State) bool { return st.Duplicate == 1 && st.Starting == 0 })
	if st.Converged || st.Commands.Needless != 1 {
		t.Errorf("with a duplicate: %+v", st)
	}
	a, err := s.App(a.GUID)
	if err != nil {
		t.Fatal(err)
	}
	send(t, n, subjectHMStop,
		stopBody{MessageID: "stop", Droplet: a.GUID, Version: a.Version, Instance: a.Running[0].GUID, Duplicate: true})
	st = await(t, s, "no duplicate", converged)
	if st.Commands.StopsAccepted != 1 || st.Commands.Harmful != 0 {
		t.Errorf("commands: %+v", st.Commands)
	}
	// The same stop for the other instance is accepted, too, and does harm.
	a, _ = s.App(a.GUID)
	send(t, n, subjectHMStop,
		stopBody{MessageID: "harm", Droplet: a.GUID, Version: a.Version, Instance: a.Running[0].GUID, Duplicate: true})
	st = await(t, s, "one missing", func(st State) bool { return st.Missing == 1 })
	if st.Commands.Harmful != 1 {
		t.Errorf("commands: %+v", st.Commands)
	}
	last := s.CC.Commands(0, 1000)
	if got := last[len(last)-1]; got.MessageID != "harm" || got.Check != cc.CheckDuplicate || !got.Accepted || !got.Harmful || got.Instance != a.Running[0].GUID {
		t.Errorf("newest command: %+v", got)
	}
}

func TestCrashIsAnnouncedAndListed(t *testing.T) {
	n := startNATS(t)
	beats, exits := listen(t, n, subjectHeartbeat), listen(t, n, subjectExited)
	s := startSim(t, n, Options{Apps: 1, InstancesPerApp: 1, DEAs: 1, Seed: 4, Passive: true})
	a := s.Apps(0, 1)[0]
	was := a.Running[0]
	if err := s.Fleet.CrashInstance(a.GUID, 0); err != nil {
		t.Fatal(err)
	}
	msgs := exits.until("an exit", func(m []*nats.Msg) bool { return len(m) == 1 })
	var got map[string]any
	if err := json.Unmarshal(msgs[0].Data, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"cc_partition": "default", "droplet": a.GUID.String(),
		"version": a.Version.String(), "instance": was.GUID.String(),
		"index": 0.0, "reason": "CRASHED", "exit_status": 255.0, "exit_description": "app instance exited"} {
		if got[key] != want {
			t.Errorf("exit: %s is %v, want %v", key, got[key], want)
		}
	}
	if stamp, ok := got["crash_timestamp"].(float64); !ok || stamp != float64(int64(stamp)) {
		t.Errorf("crash_timestamp %v", got["crash_timestamp"])
	}
	beats.until("CRASHED in a heartbeat", func(m []*nats.Msg) bool {
		if len(m) == 0 { // the exit may arrive before the first heartbeat
			return false
		}
		hb := decodeHeartbeat(t, m[len(m)-1].Data)
		return len(hb.Droplets) == 1 && hb.Droplets[0].State == "CRASHED" &&
			hb.Droplets[0].Instance == was.GUID.String()
	})
	if err := s.Fleet.CrashInstance(a.GUID, 0); err == nil {
		t.Error("a crashed instance crashed again")
	}
	st := s.State()
	if st.Crashed != 1 || st.Missing != 1 || st.Running != 0 {
		t.Errorf("state: %+v", st)
	}
}

func TestDEAListsOnlyTheNewestCrash(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 0, DEAs: 1, Seed: 5, HeartbeatPeriod: 20 * time.Millisecond})
	two := 3
	row, err := s.CC.CreateApp(cc.AppSpec{Instances: &two})
	if err != nil {
		t.Fatal(err)
	}
	await(t, s, "running", converged)
	for i := range 3 {
		if err := s.Fleet.CrashInstance(row.GUID, i); err != nil {
			t.Fatal(err)
		}
	}
	await(t, s, "the older crashes reaped", func(st State) bool { return st.Crashed == 1 })
	if left := s.Fleet.Instances(row.GUID); len(left) != 1 || left[0].Index != 2 {
		t.Errorf("left: %+v", left)
	}
}

func TestCrashLoop(t *testing.T) {
	n := startNATS(t)
	exits := listen(t, n, subjectExited)
	s := startSim(t, n, Options{Apps: 1, InstancesPerApp: 1, DEAs: 2, Seed: 6, StartDelay: time.Millisecond})
	a := s.Apps(0, 1)[0]
	if err := s.Fleet.CrashLoop(a.GUID, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for crashes := 1; crashes <= 3; crashes++ {
		exits.until("a crash", func(m []*nats.Msg) bool { return len(m) == crashes })
		if crashes == 3 {
			if err := s.Fleet.EndCrashLoop(a.GUID); err != nil {
				t.Fatal(err)
			}
		}
		send(t, n, subjectHMStart,
			startBody{MessageID: string(rune('a' + crashes)), Droplet: a.GUID, Version: a.Version, Index: 0})
	}
	await(t, s, "an instance that no longer crashes", converged)
	if got := len(exits.messages()); got != 3 {
		t.Errorf("%d crashes", got)
	}
}

func TestStartFailure(t *testing.T) {
	n := startNATS(t)
	exits := listen(t, n, subjectExited)
	s := startSim(t, n, Options{DEAs: 1, Seed: 7})
	if err := s.SetFaults(Faults{StartFailure: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CC.CreateApp(cc.AppSpec{}); err != nil {
		t.Fatal(err)
	}
	exits.until("a crash at the start",
		func(m []*nats.Msg) bool { return len(m) == 1 && bytes.Contains(m[0].Data, []byte("failed to start")) })
	if st := s.State(); st.Crashed != 1 {
		t.Errorf("state: %+v", st)
	}
}

func TestHeartbeatAtOnceWhenRunning(t *testing.T) {
	n := startNATS(t)
	beats := listen(t, n, subjectHeartbeat)
	s := startSim(t, n, Options{DEAs: 1, Seed: 8, HeartbeatPeriod: time.Hour, StartDelay: time.Millisecond})
	row, err := s.CC.CreateApp(cc.AppSpec{})
	if err != nil {
		t.Fatal(err)
	}
	beats.until("a heartbeat long before the end of the period", func(m []*nats.Msg) bool {
		for _, msg := range m {
			for _, in := range decodeHeartbeat(t, msg.Data).Droplets {
				if in.State == "RUNNING" && in.Droplet == row.GUID.String() {
					return true
				}
			}
		}
		return false
	})
}

func TestStopFilter(t *testing.T) {
	n := startNATS(t)
	for _, tc := range []struct {
		name string
		body func(a AppView) string
		left int
	}{
		{"whole app", func(a AppView) string { return `{"droplet":"` + a.GUID.String() + `"}` }, 0},
		{"an empty list filters nothing", func(a AppView) string { return `{"droplet":"` + a.GUID.String() + `","instances":[]}` }, 0},
		{"by guid", func(a AppView) string {
			return `{"droplet":"` + a.GUID.String() + `","instances":["` + a.Running[0].GUID.String() + `"]}`
		}, 3},
		{"by the older name", func(a AppView) string {
			return `{"droplet":"` + a.GUID.String() + `","instance_ids":["` + a.Running[1].GUID.String() + `"]}`
		}, 3},
		{"by index", func(a AppView) string { return `{"droplet":"` + a.GUID.String() + `","indices":[1,3]}` }, 2},
		{"by state", func(a AppView) string { return `{"droplet":"` + a.GUID.String() + `","states":["RUNNING"]}` }, 0},
		{"another state", func(a AppView) string { return `{"droplet":"` + a.GUID.String() + `","states":["STARTING"]}` }, 4},
		{"another version", func(a AppView) string { return `{"droplet":"` + a.GUID.String() + `","version":"other"}` }, 4},
		{"unreadable", func(AppView) string { return `{"droplet":` }, 4},
		{"no droplet", func(AppView) string { return `{}` }, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startSim(t, n, Options{DEAs: 2, Seed: 9})
			four := 4
			row, err := s.CC.CreateApp(cc.AppSpec{Instances: &four})
			if err != nil {
				t.Fatal(err)
			}
			await(t, s, "running", converged)
			a, _ := s.App(row.GUID)
			send(t, n, wire.SubjectDEAStop, tc.body(a))
			// One connection keeps the order of messages, so once a later app has started, the stop was carried out.
			probe, err := s.CC.CreateApp(cc.AppSpec{})
			if err != nil {
				t.Fatal(err)
			}
			poll(t, "the stop and the probe", func() bool {
				return len(s.Fleet.Instances(probe.GUID)) == 1 && len(s.Fleet.Instances(row.GUID)) <= tc.left
			})
			if got := len(s.Fleet.Instances(row.GUID)); got != tc.left {
				t.Errorf("%d left, want %d", got, tc.left)
			}
		})
	}
}

func beatsByDEA(t testing.TB, msgs []*nats.Msg) map[string]int {
	counts := map[string]int{}
	for _, m := range msgs {
		counts[decodeHeartbeat(t, m.Data).DEA]++
	}
	return counts
}

func guidsOf(hb heartbeat) []string {
	var guids []string
	for _, in := range hb.Droplets {
		guids = append(guids, in.Instance)
	}
	return guids
}
