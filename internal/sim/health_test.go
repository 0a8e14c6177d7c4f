package sim

import (
	"fmt"
	"testing"

	"hm/actual"
	"hm/internal/sim/cc"
)

// The commands of HealthManager 2.0, as formats.
const (
	healthStartText = `{"droplet":"%s","last_updated":null,"version":"%s","indices":%s,"running":%s,"flapping":false}`
	healthStopText  = `{"droplet":"%s","last_updated":null,"instances":%s,"running":%s,"version":"%s"}`
)

// TestHealthCommands: the Cloud Controller takes commands of HealthManager 2.0, checks their counts (N18, N20), and
// carries them out.
func TestHealthCommands(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 1, InstancesPerApp: 2, DEAs: 3, Seed: 31, ColdStart: true, Passive: true})
	a := s.Apps(0, 1)[0]
	if _, err := s.CC.ScaleApp(a.GUID, 2); err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	// next gives the decisions on the next message.
	next := func(what, subject, body string, commands int) []cc.Command {
		t.Helper()
		send(t, n, subject, body)
		var got []cc.Command
		poll(t, "the decision on "+what, func() bool {
			got = s.CC.Commands(seq, 100)
			return len(got) == commands
		})
		seq += uint64(commands)
		return got
	}
	start := func(what, indices, running, check string, commands int) {
		t.Helper()
		for _, c := range next(what, "health.start", fmt.Sprintf(healthStartText, a.GUID, a.Version, indices, running), commands) {
			if c.Action != cc.ActionStart || c.Via != "health.start" || c.Accepted != (check == "") || c.Check != check || c.App != a.GUID || (c.DEA != "") != c.Accepted {
				t.Errorf("%s: %+v, want check %q", what, c, check)
			}
		}
	}
	start("enough already", "[0]", fmt.Sprintf(`{"%s":2}`, a.Version), cc.CheckEnoughRun, 1)
	start("three at once", "[0,1,2]", `{}`, "", 3)
	await(t, s, "all run", func(st State) bool { return st.Running == 3 })
	instances := map[uint32]string{}
	for _, in := range s.Fleet.Instances(a.GUID) {
		instances[in.Index] = in.GUID.String()
	}
	stop := func(what, list, running, check string, accepted, harmful bool) {
		t.Helper()
		c := next(what, "health.stop", fmt.Sprintf(healthStopText, a.GUID, list, running, a.Version), 1)[0]
		if c.Action != cc.ActionStop || c.Accepted != accepted || c.Check != check || c.Harmful != harmful {
			t.Errorf("%s: %+v, want check %q", what, c, check)
		}
	}
	one := func(index uint32) string { return fmt.Sprintf(`{"%s":"%s"}`, instances[index], a.Version) }
	stop("too few would be left", one(2), fmt.Sprintf(`{"%s":2}`, a.Version), cc.CheckTooFew, false, false)
	stop("the extra one", one(2), fmt.Sprintf(`{"%s":3}`, a.Version), "", true, false)
	await(t, s, "two run", func(st State) bool { return st.Running == 2 && st.Converged })
	stop("a wanted one, by a wrong count", one(1), fmt.Sprintf(`{"%s":3}`, a.Version), "", true, true)
	await(t, s, "one runs", func(st State) bool { return st.Running == 1 })
	stop("an empty list (W35)", `{}`, `{}`, "", true, true)
	await(t, s, "nothing runs", func(st State) bool { return st.Running+st.Starting == 0 })
	if st := s.State().Commands; st.Repeated != 0 || st.Harmful != 2 || st.Checks["start:"+cc.CheckEnoughRun] != 1 || st.Checks["stop:"+cc.CheckTooFew] != 1 {
		t.Errorf("counts %+v", st)
	}
	bad := []string{`{`, `[]`, `{}`, fmt.Sprintf(healthStartText, a.GUID, a.Version, `[-1]`, `{}`), fmt.Sprintf(healthStartText, a.GUID, a.Version, `null`, `{}`), fmt.Sprintf(healthStartText, a.GUID, a.Version, `[0]`, `null`)}
	for _, body := range bad {
		send(t, n, "health.start", body)
	}
	send(t, n, "health.stop", fmt.Sprintf(healthStopText, a.GUID, `null`, `{}`, a.Version))
	await(t, s, "the malformed ones", func(st State) bool { return st.Commands.Malformed == uint64(len(bad)+1) })
}

// TestHealthStopOfAnUnknownApp stops every instance of the app, not only those that it names (N20).
func TestHealthStopOfAnUnknownApp(t *testing.T) {
	n := startNATS(t)
	s := startSim(t, n, Options{Apps: 1, InstancesPerApp: 2, DEAs: 2, Seed: 32, Passive: true})
	a := s.Apps(0, 1)[0]
	if err := s.CC.DeleteApp(a.GUID); err != nil {
		t.Fatal(err)
	}
	in := s.Fleet.Instances(a.GUID)[0]
	if in.State == actual.Crashed {
		t.Fatalf("%+v", in)
	}
	send(t, n, "health.stop", fmt.Sprintf(healthStopText, a.GUID, fmt.Sprintf(`{"%s":"%s"}`, in.GUID, a.Version), `{}`, a.Version))
	await(t, s, "nothing runs", func(st State) bool { return st.Running+st.Starting == 0 && st.Undesired == 0 })
	if c := s.CC.Commands(0, 10); len(c) != 1 || !c[0].Accepted || c[0].Check != cc.CheckUnknownApp || c[0].Index != int(in.Index) {
		t.Errorf("%+v", c)
	}
}
