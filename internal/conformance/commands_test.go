package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"hm/internal/bus/bustest"
)

type natsServer = bustest.Server

const aboutCommands = "start and stop commands"

// scenario is one app and the DEAs that run it.
type scenario struct {
	Check
	t    *testing.T
	w    *world
	row  Row
	a, b *DEA // the Cloud Controller starts instances on b
}

// newScenario makes an app with instances that run on DEA a, and waits until hm sees that they do. If hm read the app before
// it heard the instances, it has scheduled starts. A crash that comes while such a start is pending is not counted (R12).
func newScenario(t *testing.T, w *world, about string, age Age, instances int) *scenario {
	t.Helper()
	s := &scenario{
		Check: ledger.Check(t, about), t: t, w: w, a: w.dea(age), b: w.dea(age),
		row: Row{GUID: NewUUID(), Version: NewUUID(), Instances: instances, State: "STARTED", PackageState: "STAGED"},
	}
	for index := range instances {
		s.a.Run(s.row.GUID, s.row.Version, index)
	}
	s.begin()
	s.await("hm knows the instances and nothing drifts", func() bool {
		return len(s.lists(s.row.Version)) == instances && s.w.settled(s.t, s.row.GUID)
	})
	return s
}

// another begins a scenario like s with an app of its own. Scaling an app down would also make hm send a stop, unless hm
// has first heard that the instance is gone.
func (s *scenario) another(instances int) *scenario {
	s.t.Helper()
	return newScenario(s.t, s.w, s.about, s.a.age, instances)
}

var begun sync.Map // droplets of scenarios, in small letters

// begin puts the app into the database and waits until hm knows it.
func (s *scenario) begin() {
	s.t.Helper()
	begun.Store(strings.ToLower(s.row.GUID), true)
	s.w.place(s.row.GUID, s.b)
	s.update(func(*Row) {})
	s.await("hm has read the app", func() bool { return s.desired() })
}

// update changes the app in the database and announces it (N46).
func (s *scenario) update(change func(*Row)) {
	change(&s.row)
	s.w.cc.Put(s.row)
	s.announce()
}

func (s *scenario) announce() {
	_ = s.w.nc.Publish("droplet.updated", fmt.Appendf(nil, `{"droplet":%q,"cc_partition":"default"}`, s.row.GUID))
}

func (s *scenario) await(what string, cond func() bool) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() { // until has given up
			s.t.Logf("the app: %s\nthe node: %s", s.w.raw(s.t, "/v1/apps/"+s.row.GUID), s.w.raw(s.t, "/v1/status"))
		}
	}()
	until(s.t, what, cond)
}

// desired reports whether hm has recorded the app as it is in the database.
func (s *scenario) desired() bool {
	s.t.Helper()
	var app struct {
		Versions []struct {
			Version string
			Desired *struct {
				Instances    int
				State        string
				PackageState string `json:"package_state"`
			}
		}
	}
	s.w.get(s.t, "/v1/apps/"+s.row.GUID, &app)
	for _, v := range app.Versions {
		if strings.EqualFold(v.Version, s.row.Version) && v.Desired != nil {
			return v.Desired.Instances == s.row.Instances && v.Desired.State == s.row.State && v.Desired.PackageState == s.row.PackageState
		}
	}
	return false
}

// heardInstance is an instance as hm has recorded it.
type heardInstance struct {
	Instance, State string
	Index           int
	DEA             string `json:"dea_guid"`
}

// heard gives the app's instances in a version as app.state tells of them, by their guids. There are none while hm does not
// trust its record: lists has what is recorded.
func (s *scenario) heard(version string) map[string]heardInstance {
	s.t.Helper()
	var object struct {
		Instances []heardInstance `json:"instance_heartbeats"`
	}
	answer := s.w.ask(s.t, "app.state", asked(s.row.GUID, version))
	if err := json.Unmarshal([]byte(answer), &object); err != nil {
		s.t.Fatalf("%v: %s", err, answer)
	}
	all := map[string]heardInstance{}
	for _, i := range object.Instances {
		all[i.Instance] = i
	}
	return all
}

// told gives the states of the app's instances in a version as app.state tells of them, by their guids.
func (s *scenario) told(version string) map[string]string {
	s.t.Helper()
	states := map[string]string{}
	for guid, i := range s.heard(version) {
		states[guid] = i.State
	}
	return states
}

// lists gives the states of the app's instances in a version that hm has recorded, by their guids. It reads them from hm's
// own API, which tells of the record even while hm does not trust it. So an instance that is not in it is gone.
func (s *scenario) lists(version string) map[string]string {
	s.t.Helper()
	var app struct {
		Versions []struct {
			Version   string
			Instances []struct{ Instance, State string }
		}
	}
	s.w.get(s.t, "/v1/apps/"+s.row.GUID, &app)
	states := map[string]string{}
	for _, v := range app.Versions {
		if strings.EqualFold(v.Version, version) {
			for _, i := range v.Instances {
				states[i.Instance] = i.State
			}
		}
	}
	return states
}

func (s *scenario) commands() []Command { return s.w.cc.Commands(s.row.GUID) }

// awaitCommands waits until the Cloud Controller has heard n commands and everything is as it should be, and gives them.
func (s *scenario) awaitCommands(n int) []Command {
	s.t.Helper()
	s.await(fmt.Sprintf("the Cloud Controller has heard %d commands and nothing drifts", n), func() bool {
		return len(s.commands()) >= n && s.w.settled(s.t, s.row.GUID)
	})
	return s.commands()
}

// expect is a command that the Cloud Controller should hear.
type expect struct {
	stop      bool
	index     int
	version   string
	instance  string // of a stop
	duplicate bool
	check     string // of a stop: the check of the Cloud Controller that accepts it (N27)
}

// want asserts that exactly these commands came, that every field is right, and that the Cloud Controller refused none.
func (s *scenario) want(commands []Command, wanted ...expect) {
	s.t.Helper()
	s.That("N26 N27", "number of commands", len(commands) == len(wanted), "got %d, want %d: %s", len(commands), len(wanted), commands)
	ids := map[string]bool{}
	left := slices.Clone(commands)
	for _, e := range wanted {
		i := slices.IndexFunc(left, func(c Command) bool { return e.matches(c) })
		kind := fmt.Sprintf("start of index %d", e.index)
		if e.stop {
			kind = fmt.Sprintf("stop of %s at index %d", e.instance, e.index)
		}
		if !s.That("N21 N22", kind, i >= 0, "did not come; the commands are %s", left) {
			continue
		}
		c := left[i]
		left = slices.Delete(left, i, i+1)
		id := s.fields(c, e)
		s.That("N21 N22", kind+": message_id", !ids[id], "%s comes twice", id)
		ids[id] = true
		if e.stop {
			s.That("N27", kind, c.Accepted, "the Cloud Controller refuses it: %s", c.Check)
			s.Equal("N27", kind+": the check that accepts it", c.Check, e.check)
		} else {
			s.That("N26", kind, c.Accepted, "the Cloud Controller refuses it: %s", c.Check)
		}
	}
}

func (e expect) matches(c Command) bool {
	return e.stop == (c.Subject == "hm9000.stop") && c.Index == e.index && c.Version == e.version && c.Instance == e.instance
}

// fields asserts that a message has exactly the fields of its subject, and gives its message_id.
func (s *scenario) fields(c Command, e expect) string {
	s.t.Helper()
	names := []string{"message_id", "droplet", "version", "instance_index"}
	id := "N21"
	if e.stop {
		id, names = "N22", append(names, "instance_guid", "is_duplicate")
	}
	o := s.Object(id, c.Subject, c.Data, names...)
	o.Text("droplet", s.row.GUID)
	o.Text("version", e.version)
	o.Whole("instance_index", int64(e.index))
	if e.stop {
		o.Text("instance_guid", e.instance)
		o.Flag("is_duplicate", e.duplicate)
	}
	return o.UUID("message_id")
}

// String shows a command in a failure.
func (c Command) String() string { return fmt.Sprintf("%s %s (%s)", c.Subject, c.Data, c.Check) }

// wantKnownApps asserts that no command named an app of which no scenario knows.
func wantKnownApps(c Check, w *world) {
	for _, cmd := range w.cc.Commands("") {
		_, known := begun.Load(strings.ToLower(cmd.Droplet))
		c.That("R01", "an app that runs as it should", known, "the Cloud Controller hears %s", cmd)
	}
}

func (s *scenario) instance(d *DEA, at int) Instance {
	var i Instance
	d.Edit(func(d *DEA) { i = *d.instances[at] })
	return i
}

// commandScenarios are the calm cases: the Cloud Controller must refuse no command (N26, N27).
func commandScenarios(t *testing.T, w *world) {
	for name, play := range map[string]func(*scenario){
		"nothing to do": func(s *scenario) {
			s.await("hm knows the instances", func() bool { return len(s.lists(s.row.Version)) == 2 })
			s.w.rest(s.t, 20)
			s.want(s.commands())
		},
		"missing": func(s *scenario) {
			s.a.Remove(s.instance(s.a, 1).GUID)
			s.want(s.awaitCommands(1), expect{index: 1, version: s.row.Version})
		},
		"scaled up": func(s *scenario) {
			s.update(func(r *Row) { r.Instances = 4 })
			s.want(s.awaitCommands(2), expect{index: 2, version: s.row.Version}, expect{index: 3, version: s.row.Version})
		},
		"crashed, exit before heartbeat": func(s *scenario) {
			i := s.instance(s.a, 0)
			s.a.Exit(i, "CRASHED", nil)
			s.a.Edit(func(d *DEA) { d.instances[0].State = "CRASHED" })
			s.want(s.awaitCommands(1), expect{index: 0, version: s.row.Version})
			s.w.rest(s.t, 20) // neither the exit nor the heartbeats that list the crash are a second crash
			s.want(s.commands(), expect{index: 0, version: s.row.Version})
		},
		"crashed, heartbeat before exit": func(s *scenario) {
			i := s.instance(s.a, 1)
			s.a.Edit(func(d *DEA) { d.instances[1].State = "CRASHED" })
			s.a.Beat()
			s.await("hm knows the crash", func() bool { return s.lists(s.row.Version)[i.GUID] == "CRASHED" })
			s.a.Exit(i, "CRASHED", nil)
			s.a.Exit(i, "CRASHED", nil) // and once more
			s.want(s.awaitCommands(1), expect{index: 1, version: s.row.Version})
		},
		"evacuating": func(s *scenario) {
			i := s.instance(s.a, 0)
			s.a.Exit(i, "DEA_EVACUATION", nil)
			s.a.Exit(s.instance(s.a, 1), "DEA_EVACUATION", nil)
			s.a.Edit(func(d *DEA) { d.instances[0].State, d.instances[1].State = "EVACUATING", "EVACUATING" })
			s.a.Beat()
			j := s.instance(s.a, 1)
			s.want(s.awaitCommands(4),
				expect{index: 0, version: s.row.Version}, expect{index: 1, version: s.row.Version},
				expect{stop: true, index: 0, version: s.row.Version, instance: i.GUID, duplicate: true, check: "is_duplicate"},
				expect{stop: true, index: 1, version: s.row.Version, instance: j.GUID, duplicate: true, check: "is_duplicate"})
		},
		"extra": func(s *scenario) {
			i := s.a.Run(s.row.GUID, s.row.Version, 5)
			s.want(s.awaitCommands(1), expect{stop: true, index: 5, version: s.row.Version, instance: i.GUID, check: "index out of range"})
		},
		"duplicate": func(s *scenario) {
			first := s.instance(s.a, 0)
			second := s.b.Run(s.row.GUID, s.row.Version, 0)
			commands := s.awaitCommands(1)
			if s.Equal("R20", "number of commands", len(commands), 1) {
				stopped := commands[0].Instance
				s.want(commands, expect{stop: true, index: 0, version: s.row.Version, instance: stopped, duplicate: true, check: "is_duplicate"})
				s.That("R20", "the copy that is stopped", stopped == first.GUID || stopped == second.GUID, "is %s", stopped)
				s.That("W02", "the copy that stays", s.a.Has(first.GUID) != s.b.Has(second.GUID), "not exactly one stays")
			}
		},
		"stopped": func(s *scenario) {
			s.update(func(r *Row) { r.State = "STOPPED" })
			s.wantAllStopped("app stopped")
		},
		"scaled down": func(s *scenario) {
			i := s.instance(s.a, 1)
			s.update(func(r *Row) { r.Instances = 1 })
			s.want(s.awaitCommands(1), expect{stop: true, index: 1, version: s.row.Version, instance: i.GUID, check: "index out of range"})
		},
		"scaled to nothing": func(s *scenario) {
			s.update(func(r *Row) { r.Instances = 0 })
			s.wantAllStopped("index out of range")
		},
		"version changed": func(s *scenario) {
			old := s.row.Version
			i, j := s.instance(s.a, 0), s.instance(s.a, 1)
			s.update(func(r *Row) { r.Version = NewUUID() })
			commands := s.awaitCommands(4)
			s.want(commands,
				expect{index: 0, version: s.row.Version}, expect{index: 1, version: s.row.Version},
				expect{stop: true, index: 0, version: old, instance: i.GUID, check: "version differs"},
				expect{stop: true, index: 1, version: old, instance: j.GUID, check: "version differs"})
			for at, c := range commands {
				s.That("I3", "order of starts and stops", (c.Subject == "hm9000.stop") == (at >= 2), "a stop comes before the starts: %s", commands)
			}
		},
		"deleted": func(s *scenario) {
			i, j := s.instance(s.a, 0), s.instance(s.a, 1)
			s.w.cc.Delete(s.row.GUID)
			s.announce()
			s.want(s.awaitCommands(2),
				expect{stop: true, index: 0, version: s.row.Version, instance: i.GUID, check: "app unknown"},
				expect{stop: true, index: 1, version: s.row.Version, instance: j.GUID, check: "app unknown"})
		},
		"staging failed": func(s *scenario) {
			s.update(func(r *Row) { r.PackageState = "FAILED" })
			s.wantAllStopped("staging failed")
		},
		"being staged": func(s *scenario) {
			i := s.instance(s.a, 1)
			s.update(func(r *Row) { r.PackageState = "PENDING" })
			s.await("hm has read it", s.desired)
			s.a.Remove(i.GUID)
			s.await("hm knows that the instance is gone", func() bool { return len(s.lists(s.row.Version)) == 1 })
			s.w.rest(s.t, 20)
			s.want(s.commands())
			s.update(func(r *Row) { r.PackageState = "STAGED" })
			s.want(s.awaitCommands(1), expect{index: 1, version: s.row.Version})
		},
		"capitals": func(s *scenario) {
			old := s.row
			s.w.cc.Delete(old.GUID)
			s.a.Edit(func(d *DEA) { d.instances = nil })
			s.row.GUID, s.row.Version = strings.ToUpper(NewUUID()), strings.ToUpper(NewUUID())
			s.begin()
			extra := s.a.add(Instance{Droplet: s.row.GUID, Version: s.row.Version, GUID: strings.ToUpper(NewInstanceGUID()), Index: 3, State: "RUNNING"})
			s.want(s.awaitCommands(3),
				expect{index: 0, version: s.row.Version}, expect{index: 1, version: s.row.Version},
				expect{stop: true, index: 3, version: s.row.Version, instance: extra.GUID, check: "index out of range"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(newScenario(t, w, aboutCommands, DEA2015, 2))
		})
	}
}

// wantAllStopped asserts that both instances of the app are stopped, and nothing else is sent.
func (s *scenario) wantAllStopped(check string) {
	s.t.Helper()
	i, j := s.instance(s.a, 0), s.instance(s.a, 1)
	s.want(s.awaitCommands(2),
		expect{stop: true, index: 0, version: s.row.Version, instance: i.GUID, check: check},
		expect{stop: true, index: 1, version: s.row.Version, instance: j.GUID, check: check})
}
