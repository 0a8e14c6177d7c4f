package sim

import (
	"testing"

	"hm/internal/sim/fleet"
)

// TestUnrest: instances change their states and crash by themselves as long as the unrest lasts.
func TestUnrest(t *testing.T) {
	s := startSim(t, startNATS(t), Options{Apps: 10, InstancesPerApp: 2, DEAs: 2, Seed: 3})
	var told fleet.Unrest
	if code := call(t, s, "PUT", "/unrest", `{"change":0.5}`, &told); code != 200 || told != s.Fleet.Unrest() || told.Change != 0.5 {
		t.Fatalf("status %d, %+v", code, told)
	}
	await(t, s, "some are STARTING", func(st State) bool { return st.Starting > 0 && st.Crashed == 0 })
	if code := call(t, s, "PUT", "/unrest", `{"crash":0.5}`, nil); code != 200 {
		t.Fatalf("status %d", code)
	}
	await(t, s, "none is STARTING any more", func(st State) bool { return st.Starting == 0 })
	crashed := await(t, s, "some have crashed", func(st State) bool { return st.Crashed > 0 }).Crashed
	if code := call(t, s, "PUT", "/unrest", `{"crash":2}`, nil); code != 400 {
		t.Errorf("a share of 2: status %d", code)
	}
	if call(t, s, "PUT", "/unrest", `{}`, nil); s.Fleet.Unrest() != (fleet.Unrest{}) {
		t.Errorf("%+v goes on after %d crashes", s.Fleet.Unrest(), crashed)
	}
}
