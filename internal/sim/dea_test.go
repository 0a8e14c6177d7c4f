package sim

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/sim/cc"
	"hm/internal/sim/fleet"
	"hm/internal/sim/wire"
)

func TestKilledDEA(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 10, DEAs: 3, Seed: 10, Passive: true, HeartbeatPeriod: 20 * time.Millisecond})
	victim := s.Fleet.DEAs(1, 1)[0]
	if err := s.Fleet.Kill(victim.ID); err != nil {
		t.Fatal(err)
	}
	st := s.State()
	if st.Missing != victim.Live || st.DEAsGone != 1 || st.DEAs != 2 || st.Converged {
		t.Fatalf("after the kill: %+v, it had %d", st, victim.Live)
	}
	e := listen(t, n, subjectHeartbeat)
	var counts map[string]int
	e.until("many heartbeats", func(m []*nats.Msg) bool { counts = beatsByDEA(t, m); return len(m) > 20 })
	if len(counts) != 2 || counts[victim.ID] > 0 {
		t.Errorf("heartbeats after the kill: %v", counts)
	}
	if err := s.Fleet.Kill(victim.ID); err == nil {
		t.Error("a dead DEA was killed again")
	}
	if err := s.Fleet.Restart(victim.ID); err != nil {
		t.Fatal(err)
	}
	poll(t, "its return", func() bool { return s.Fleet.DEAs(1, 1)[0].Status == "serving" })
	if back := s.Fleet.DEAs(1, 1)[0]; back.ID == victim.ID || back.Live != 0 {
		t.Errorf("back: %+v", back)
	}
}

func TestPausedDEAKeepsItsInstances(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 10, DEAs: 3, Seed: 11, Passive: true, HeartbeatPeriod: 20 * time.Millisecond})
	victim := s.Fleet.DEAs(0, 1)[0]
	if err := s.Fleet.Pause(victim.ID); err != nil {
		t.Fatal(err)
	}
	st := s.State()
	if st.CutOff != victim.Live || st.Missing != victim.Live || st.DEAsPaused != 1 {
		t.Fatalf("paused: %+v", st)
	}
	e := listen(t, n, subjectHeartbeat)
	e.until("many heartbeats", func(m []*nats.Msg) bool { return len(m) > 20 })
	if counts := beatsByDEA(t, e.messages()); counts[victim.ID] > 1 { // one may have been on its way
		t.Errorf("heartbeats of a paused DEA: %v", counts)
	}
	// It receives nothing either.
	for _, a := range s.Apps(0, 10) {
		send(t, n, wire.SubjectDEAStop, `{"droplet":"`+a.GUID.String()+`"}`)
	}
	await(t, s, "all others stopped", func(st State) bool { return st.Running == 0 })
	if err := s.Fleet.Resume(victim.ID); err != nil {
		t.Fatal(err)
	}
	if st := s.State(); st.Running != victim.Live || st.CutOff != 0 {
		t.Errorf("resumed: %+v", st)
	}
	e.reset()
	e.until("its heartbeat", func(m []*nats.Msg) bool { return beatsByDEA(t, m)[victim.ID] > 0 })
}

func TestRestartedDEAKeepsItsGuids(t *testing.T) {
	n := startNATS(t)
	e, exits := listen(t, n, subjectHeartbeat), listen(t, n, subjectExited)
	s := startSim(t, n, Options{Apps: 6, DEAs: 2, Seed: 12, Passive: true})
	crashed := s.Apps(0, 1)[0]
	if err := s.Fleet.CrashInstance(crashed.GUID, 0); err != nil {
		t.Fatal(err)
	}
	exits.until("the crash", func(m []*nats.Msg) bool { return len(m) == 1 })
	on := crashed.Running[0].DEA
	before, err := s.Fleet.DEA(on)
	if err != nil {
		t.Fatal(err)
	}
	guids := guidsOf(e.heartbeats(2)[on])
	if err := s.Fleet.Restart(on); err != nil {
		t.Fatal(err)
	}
	poll(t, "its return", func() bool { return s.Fleet.DEAs(before.Number, 1)[0].Status == "serving" })
	now := s.Fleet.DEAs(before.Number, 1)[0]
	if now.ID == on || now.Live != before.Live {
		t.Fatalf("before %+v, now %+v", before, now)
	}
	beats := e.until("a heartbeat with the new id", func(m []*nats.Msg) bool { return beatsByDEA(t, m)[now.ID] > 0 })
	for _, m := range beats {
		if hb := decodeHeartbeat(t, m.Data); hb.DEA == now.ID {
			if got := guidsOf(hb); strings.Join(got, " ") != strings.Join(guids, " ") {
				t.Errorf("guids before %v, now %v", guids, got)
			}
		}
	}
	exits.until("the old crash announced again", func(m []*nats.Msg) bool { return len(m) == 2 })
}

func TestEvacuation(t *testing.T) {
	n := startNATS(t)
	e, exits, shutdowns := listen(t, n, subjectHeartbeat), listen(t, n, subjectExited), listen(t, n, subjectDEAShutdown)
	s := startSim(t, n, Options{Apps: 6, DEAs: 3, Seed: 13, Passive: true, Exits: fleet.ExitsEvacuations,
		HeartbeatPeriod: 100 * time.Millisecond, EvacuationBailOut: time.Hour})
	victim := s.Fleet.DEAs(0, 1)[0]
	if err := s.Fleet.Evacuate(victim.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Fleet.Evacuate(victim.ID); err == nil {
		t.Error("a DEA was evacuated twice")
	}
	if st := s.State(); st.Evacuating != victim.Live || st.Missing != 0 || st.Converged || st.DEAsEvacuating != 1 {
		t.Fatalf("evacuating: %+v", st)
	}
	shutdowns.until("dea.shutdown",
		func(m []*nats.Msg) bool { return len(m) == 1 && bytes.Contains(m[0].Data, []byte(victim.ID)) })
	exits.until("an exit for each", func(m []*nats.Msg) bool {
		return len(m) == victim.Live && bytes.Contains(m[0].Data, []byte("DEA_EVACUATION")) &&
			!bytes.Contains(m[0].Data, []byte("crash_timestamp"))
	})
	e.until("EVACUATING in a heartbeat", func(m []*nats.Msg) bool {
		for _, msg := range m {
			if hb := decodeHeartbeat(t, msg.Data); hb.DEA == victim.ID && len(hb.Droplets) > 0 && hb.Droplets[0].State == "EVACUATING" {
				return true
			}
		}
		return false
	})
	// Replacements go elsewhere; once the old ones are stopped the DEA leaves.
	var olds []InstanceView
	for _, a := range s.Apps(0, 10) {
		for _, in := range a.Running {
			if in.State == "EVACUATING" {
				olds = append(olds, in)
				send(t, n, subjectHMStart,
					startBody{MessageID: in.GUID.String(), Droplet: a.GUID, Version: a.Version, Index: int(in.Index)})
			}
		}
	}
	await(t, s, "replacements", func(st State) bool { return st.Running == st.Desired })
	for _, c := range s.CC.Commands(0, 100) {
		if c.Accepted && c.DEA == victim.ID {
			t.Errorf("placed on the evacuating DEA: %+v", c)
		}
	}
	for _, in := range olds {
		send(t, n, subjectHMStop, stopBody{MessageID: "s" + in.GUID.String(), Droplet: in.App, Version: in.Version,
			Instance: in.GUID, Index: int(in.Index), Duplicate: true})
	}
	await(t, s, "the DEA gone and everything settled", func(st State) bool { return st.Converged && st.DEAsGone == 1 })
}

func TestEvacuationEndsAfterTheBailOut(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 4, DEAs: 2, Seed: 14, Passive: true, HeartbeatPeriod: 20 * time.Millisecond,
		EvacuationBailOut: 60 * time.Millisecond})
	victim := s.Fleet.DEAs(1, 1)[0]
	if err := s.Fleet.Evacuate(victim.ID); err != nil {
		t.Fatal(err)
	}
	await(t, s, "the bail-out",
		func(st State) bool { return st.DEAsGone == 1 && st.Missing == victim.Live && st.Evacuating == 0 })
}

func TestShutdown(t *testing.T) {
	n := startNATS(t)
	e, exits := listen(t, n, subjectHeartbeat), listen(t, n, subjectExited)
	s := startSim(t, n, Options{Apps: 4, DEAs: 2, Seed: 15, Passive: true, Exits: fleet.ExitsAll})
	victim := s.Fleet.DEAs(1, 1)[0]
	if err := s.Fleet.ShutDown(victim.ID); err != nil {
		t.Fatal(err)
	}
	e.until("an empty list", func(m []*nats.Msg) bool {
		for _, msg := range m {
			if bytes.Equal(msg.Data, []byte(`{"droplets":[],"dea":"`+victim.ID+`"}`)) {
				return true
			}
		}
		return false
	})
	exits.until("an exit for each", func(m []*nats.Msg) bool {
		return len(m) == victim.Live && bytes.Contains(m[0].Data, []byte("DEA_SHUTDOWN"))
	})
	await(t, s, "the end of the DEA", func(st State) bool { return st.DEAsGone == 1 && st.Missing == victim.Live })
}

func TestRandomAndAddedDEAs(t *testing.T) {
	n := startNATS(t)
	for _, each := range []bool{false, true} {
		s := startSim(t, n, Options{Apps: 20, DEAs: 6, Seed: 16, ConnectionPerDEA: each})
		killed, err := s.Fleet.ActOnRandom(4, fleet.Kill)
		if err != nil || len(killed) != 4 {
			t.Fatalf("killed %v: %v", killed, err)
		}
		added, err := s.Fleet.Add(3)
		if err != nil || len(added) != 3 {
			t.Fatalf("added %v: %v", added, err)
		}
		st := s.State()
		if st.DEAs != 5 || st.DEAsGone != 4 || st.Connected != st.Connections {
			t.Errorf("state: %+v", st)
		}
		six := 6
		row, err := s.CC.CreateApp(cc.AppSpec{Instances: &six})
		if err != nil {
			t.Fatal(err)
		}
		poll(t, "the app on the new DEAs", func() bool { a, _ := s.App(row.GUID); return a.Settled })
		for _, in := range s.Fleet.Instances(row.GUID) {
			if in.DEA != added[0] && in.DEA != added[1] && in.DEA != added[2] {
				t.Errorf("placed on %s, the emptiest are %v", in.DEA, added)
			}
		}
		if _, err := s.Fleet.ActOnRandom(1, "explode"); err == nil {
			t.Error("an unknown action was taken")
		}
		s.Close()
	}
}
