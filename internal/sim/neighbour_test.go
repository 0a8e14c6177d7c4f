package sim

import (
	"testing"
	"time"
)

// TestNeighbourCorrectsDrift: a simulated HM9000 alone keeps a Cloud Foundry as desired, over real NATS. The control
// API starts and stops it.
func TestNeighbourCorrectsDrift(t *testing.T) {
	noLeaks(t)
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 10, DEAs: 4, Seed: 3, HeartbeatPeriod: 20 * time.Millisecond, Passive: true, HM9000: true})
	await(t, s, "all runs", converged)
	if _, err := s.Fleet.ActOnRandom(1, "kill"); err != nil {
		t.Fatal(err)
	}
	if err := s.CC.DeleteApp(s.Apps(0, 1)[0].GUID); err != nil {
		t.Fatal(err)
	}
	await(t, s, "the lost instances run elsewhere, and what was deleted is stopped", func(st State) bool {
		return st.Converged && st.Commands.StartsAccepted > 0 && st.Commands.StopsAccepted > 0
	})
	var state NeighbourState
	if code := call(t, s, "GET", "/hm9000", "", &state); code != 200 || !state.Running || state.Stats.Starts == 0 || state.Stats.Stops == 0 {
		t.Errorf("%d %+v", code, state)
	}
	if code := call(t, s, "PUT", "/hm9000", `{"running":true,"empty_reads":true}`, &state); code != 200 || !state.EmptyReads {
		t.Errorf("%d %+v", code, state)
	}
	await(t, s, "it starts what runs, because it reads an empty store", func(st State) bool { return st.Commands.Needless > 0 })
	if code := call(t, s, "PUT", "/hm9000", `{"running":true,"empty_store":true}`, nil); code != 400 {
		t.Errorf("emptying the store while it runs gives %d", code)
	}
	if code := call(t, s, "PUT", "/hm9000", `{}`, &state); code != 200 || state.Running {
		t.Errorf("%d %+v", code, state)
	}
	store := s.neighbourStore
	if call(t, s, "PUT", "/hm9000", `{"running":true}`, nil); s.neighbourStore != store {
		t.Error("it does not find its store again")
	}
	if call(t, s, "PUT", "/hm9000", `{"empty_store":true}`, nil); s.neighbourStore == store {
		t.Error("its store was not emptied")
	}
	if code := call(t, s, "PUT", "/hm9000", `{"runs":true}`, nil); code != 400 {
		t.Errorf("an unknown member gives %d", code)
	}
}
