package conformance

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const aboutDEAs = "messages of DEAs"

// deaNames are the ages of DEAs in the names of tests.
var deaNames = map[Age]string{DEA2013: "2013", DEA2014: "2014", DEA2015: "2015", DEA2016: "2016"}

// want asserts that hm sends exactly these commands, and never a second time for the same cause.
func (s *scenario) settles(wanted ...expect) {
	s.t.Helper()
	s.awaitCommands(len(wanted))
	s.w.rest(s.t, 12)
	s.want(s.awaitCommands(len(wanted)), wanted...)
}

// recorded asserts that hm has recorded exactly what the DEAs list.
func (s *scenario) recorded(id, what string, deas ...*DEA) {
	s.t.Helper()
	all, heard := s.awaitListed(deas...)
	s.Equal(id, what+": number of instances", len(heard), len(all))
	for _, l := range all {
		got := heard[l.GUID]
		s.Equal(id, what+": index", got.Index, l.Index)
		s.Equal(id, what+": state", got.State, l.State)
		s.Equal(id, what+": dea_guid", got.DEA, l.dea)
	}
}

// deaScenarios play DEAs of each time.
func deaScenarios(t *testing.T, w *world) {
	play := func(name string, age Age, instances int, fn func(*scenario)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn(newScenario(t, w, aboutDEAs, age, instances))
		})
	}
	for age, year := range deaNames {
		play("heartbeats of "+year, age, 3, func(s *scenario) {
			s.a.Edit(func(d *DEA) { d.instances[1].State = "STARTING" })
			s.recorded("N02 N03", "a heartbeat", s.a)
			s.a.Edit(func(d *DEA) { d.instances[1].State = "RUNNING" })
			s.recorded("N02 N04", "the instance runs", s.a)
			s.settles()
		})
		play("crash on a DEA of "+year, age, 2, func(s *scenario) {
			crash(s.a, 1)
			s.settles(expect{index: 1, version: s.row.Version})
			s.recorded("N03 N34", "a crash stays on the list", s.a, s.b)
			s.a.Edit(func(d *DEA) { d.instances = d.instances[:1] })
			s.recorded("N34", "the crash is off the list", s.a, s.b)
			s.settles(expect{index: 1, version: s.row.Version})
		})
		play("evacuation of a DEA of "+year, age, 2, func(s *scenario) { evacuate(s, age) })
		play("shutdown of a DEA of "+year, age, 2, func(s *scenario) { // N32
			i, j := s.instance(s.a, 0), s.instance(s.a, 1)
			if age == DEA2013 {
				s.a.Exit(i, "DEA_SHUTDOWN", nil)
				s.a.Exit(j, "DEA_SHUTDOWN", nil)
			}
			s.a.Edit(func(d *DEA) { d.instances = nil })
			s.a.Beat()
			s.w.rest(s.t, 2)
			s.a.Silence(true)
			s.wantReplaced(i, j)
		})
		play("restart of a DEA of "+year, age, 2, func(s *scenario) { restart(s, age) })
		play("last instance of a DEA of "+year, age, 1, func(s *scenario) { // N01
			s.a.Edit(func(d *DEA) { d.instances = nil }) // to 2014 the DEA says nothing any more, later it sends an empty list
			s.settles(expect{index: 0, version: s.row.Version})
			s.recorded("N01", "the list without an instance", s.a, s.b)
		})
		play("dea.update on a DEA of "+year, age, 2, update)
	}
	for name, form := range heartbeatForms {
		play("heartbeat: "+name, DEA2015, 3, func(s *scenario) {
			s.a.Edit(func(d *DEA) { d.rewrite = form.rewrite })
			s.w.rest(s.t, 25) // more than a time to live
			s.recorded(form.id, name, s.a)
			s.settles()
		})
	}
	for name, form := range brokenEntries {
		play("broken entry: "+name, DEA2015, 3, func(s *scenario) { s.brokenEntry(name, form) })
	}
	play("messages that are no heartbeat", DEA2015, 2, func(s *scenario) {
		for what, text := range noHeartbeats(s.a.UUID()) {
			_ = s.w.nc.Publish("dea.heartbeat", []byte(text))
			s.recorded("N08", what, s.a)
		}
		s.settles()
	})
	play("late and doubled heartbeats", DEA2015, 2, lateHeartbeats)
	for name, e := range exits {
		play("exit: "+name, DEA2015, 2, func(s *scenario) { s.exit(e) })
	}
	play("messages that are no exit", DEA2015, 2, func(s *scenario) {
		i := s.instance(s.a, 0)
		for _, name := range []string{"droplet", "version", "instance", "index", "reason"} {
			for _, value := range []string{"", "null", "{}", "[1]", "true"} {
				s.a.Exit(i, "CRASHED", replaceMember(name, value))
			}
		}
		for _, text := range []string{"", "{", "null", "[]", "7", `"x"`, "{}", "\xff"} {
			_ = s.w.nc.Publish("droplet.exited", []byte(text))
		}
		s.recorded("N13", "messages that are no exit", s.a)
		s.settles()
	})
	play("messages that are no update", DEA2015, 2, func(s *scenario) {
		for _, text := range []string{"", "{", "null", "[]", "7", "{}", `{"droplet":null}`, `{"droplet":7}`, `{"droplet":""}`, `{"droplet":["x"]}`, "\xff"} {
			_ = s.w.nc.Publish("droplet.updated", []byte(text))
		}
		s.recorded("N46", "messages that are no update", s.a)
		s.settles()
	})
	play("crash that no heartbeat has shown", DEA2015, 1, func(s *scenario) { // R34, N12
		s.w.place(s.row.GUID, nil)
		s.a.Edit(func(d *DEA) { d.instances = nil })
		s.await("hm has sent a start", func() bool { return len(s.commands()) == 1 })
		s.w.place(s.row.GUID, s.b)
		s.a.Exit(Instance{Droplet: s.row.GUID, Version: s.row.Version, GUID: NewInstanceGUID()}, "CRASHED", func(text string) string {
			return strings.Replace(text, "app instance exited", "not enough memory", 1)
		})
		s.settles(expect{index: 0, version: s.row.Version}, expect{index: 0, version: s.row.Version})
	})
}

// evacuate plays the steps of an evacuation (N31), as far as a DEA of that age has them.
func evacuate(s *scenario, age Age) {
	i, j := s.instance(s.a, 0), s.instance(s.a, 1)
	starts := []expect{{index: 0, version: s.row.Version}, {index: 1, version: s.row.Version}}
	if age < DEA2016 {
		s.a.Exit(i, "DEA_EVACUATION", nil)
		s.a.Exit(j, "DEA_EVACUATION", nil)
	}
	if age == DEA2013 { // it goes on listing both as RUNNING, and stops them by itself a while later (N03, N11)
		s.w.rest(s.t, 10)
		s.a.Edit(func(d *DEA) { d.instances = nil })
		s.wantReplaced(i, j)
		return
	}
	s.a.Edit(func(d *DEA) { d.instances[0].State, d.instances[1].State = "EVACUATING", "EVACUATING" })
	s.a.Beat()
	s.a.Beat()          // every step sends one
	if age == DEA2014 { // it says nothing any more once both are stopped (N01)
		s.wantReplaced(i, j)
		return
	}
	s.settles(append(starts,
		expect{stop: true, index: 0, version: s.row.Version, instance: i.GUID, duplicate: true, check: "is_duplicate"},
		expect{stop: true, index: 1, version: s.row.Version, instance: j.GUID, duplicate: true, check: "is_duplicate"})...)
	s.a.Silence(true) // it exits when nothing is left
	s.recorded("N31", "after the evacuation", s.b)
}

// wantReplaced asserts that both instances are started elsewhere, once each, and that no others are stopped. Whether hm
// stops the two as well depends on when it hears that they are gone: such a stop finds nothing, and does no harm.
func (s *scenario) wantReplaced(gone ...Instance) {
	s.t.Helper()
	s.awaitCommands(len(gone))
	s.w.rest(s.t, 12)
	var wanted []expect
	for _, i := range gone {
		wanted = append(wanted, expect{index: i.Index, version: s.row.Version})
	}
	commands := s.awaitCommands(len(gone))
	for _, c := range commands {
		if c.Subject == "hm9000.stop" {
			k := slices.IndexFunc(gone, func(i Instance) bool { return i.GUID == c.Instance })
			if s.That("I3", "a stop after the replacement", k >= 0, "stops the replacement: %s", c) {
				wanted = append(wanted, expect{stop: true, index: gone[k].Index, version: s.row.Version, instance: c.Instance, duplicate: true, check: "is_duplicate"})
			}
		}
	}
	s.want(commands, wanted...)
	s.recorded("N11 N32", "after the replacement", s.b)
}

// restart plays a restart of the DEA process: the same instances under a new id (N33), and the exits of old crashes once
// more with new timestamps (N12).
func restart(s *scenario, age Age) {
	crash(s.a, 1)
	s.awaitCommands(1)
	s.awaitListed(s.a, s.b)
	old := s.a.UUID()
	s.a.Silence(true)
	s.w.rest(s.t, 5)
	s.a.Edit(func(d *DEA) { d.silent, d.uuid = false, NewUUID() })
	crash(s.a, 1) // entered again, with a new timestamp
	s.recorded("N33", "after the restart", s.a, s.b)
	s.That("N33", "the DEA's id", s.a.UUID() != old, "did not change")
	s.w.rest(s.t, 30) // the old id falls silent
	s.recorded("N33", "after the old id fell silent", s.a, s.b)
	s.settles(expect{index: 1, version: s.row.Version})
	answer := ways[0].found(s.t, s.w, asked(s.row.GUID, s.row.Version))
	var object struct {
		Crashes []struct {
			Count int `json:"crash_count"`
		} `json:"crash_counts"`
	}
	_ = json.Unmarshal([]byte(answer), &object)
	s.Equal("N12 W44", "a crash that is told again: crash_counts", fmt.Sprint(object.Crashes), "[{1}]")
}

// update plays dea.update (N30): the instances get a new version and new guids in one heartbeat. Once the Cloud Controller's
// new version comes first, once the heartbeat.
func update(s *scenario) {
	change := func() {
		s.a.Edit(func(d *DEA) {
			for _, i := range d.instances {
				i.Version, i.GUID = s.row.Version, NewInstanceGUID()
			}
		})
		s.a.Beat()
	}
	s.update(func(r *Row) { r.Version = NewUUID() })
	change()
	s.settles()
	s.recorded("N30", "the database first", s.a)
	s.row.Version = NewUUID()
	s.w.cc.Put(s.row)
	change()
	s.announce()
	s.settles()
	s.recorded("N30", "the heartbeat first", s.a)
}

// heartbeatForm is a way to write a heartbeat that says the same.
type heartbeatForm struct {
	id      string
	rewrite func(text string) string
}

var heartbeatForms = map[string]heartbeatForm{
	"unknown members": {"N02", func(text string) string {
		text = strings.Replace(text, `{"droplets"`, `{"uptime":1.5,"prod":null,"nested":{"a":[1,{"b":"}"}]},"droplets"`, 1)
		return strings.ReplaceAll(text, `{"cc_partition"`, `{"limits":{"mem":256},"tags":[],"cc_partition"`)
	}},
	"another dea_guid in each entry": {"N02", func(text string) string {
		return strings.ReplaceAll(text, `"cc_partition"`, `"dea_guid":"some-other-dea","cc_partition"`)
	}},
	"no cc_partition":      {"N02", func(text string) string { return strings.ReplaceAll(text, `"cc_partition":"default",`, "") }},
	"another cc_partition": {"N02", func(text string) string { return strings.ReplaceAll(text, `"default"`, `"ng"`) }},
	"spaces and newlines": {"N02", func(text string) string {
		return " \n" + strings.NewReplacer(`,"`, " ,\n\t\"", `":`, "\" : ").Replace(text) + "\r\n"
	}},
	"escaped names": {"N02", func(text string) string {
		return strings.NewReplacer(`"droplets"`, `"dropl\u0065ts"`, `"index"`, `"\u0069ndex"`, `"RUNNING"`, `"RUN\u004eING"`).Replace(text)
	}},
	"dea before droplets": {"N02", func(text string) string {
		at := strings.LastIndex(text, `,"dea":`)
		return "{" + text[at+1:len(text)-1] + "," + text[1:at] + "}"
	}},
	"an index with a fraction of zero": {"N02", func(text string) string { return indexes.ReplaceAllString(text, `"index":$1.0`) }},
	"whole timestamps":                 {"N02", func(text string) string { return timestamps.ReplaceAllString(text, `"state_timestamp":1409784000`) }},
	"no timestamps":                    {"N08", func(text string) string { return timestamps.ReplaceAllString(text, `"more":0`) }},
	"timestamps as text":               {"N08 W14", func(text string) string { return timestamps.ReplaceAllString(text, `"state_timestamp":"yesterday"`) }},
	"timestamps from the future":       {"N02", func(text string) string { return timestamps.ReplaceAllString(text, `"state_timestamp":4102444800.5`) }},
	"timestamps in powers of ten":      {"N02", func(text string) string { return timestamps.ReplaceAllString(text, `"state_timestamp":1.409784e9`) }},
	"states in small letters":          {"N02", func(text string) string { return strings.ReplaceAll(text, "RUNNING", "running") }},
	"a mebibyte of spaces":             {"N02", func(text string) string { return text[:1] + strings.Repeat(" ", 1<<20-4096) + text[1:] }},
	"each entry twice":                 {"N02", func(text string) string { return doubled.ReplaceAllString(text, `"droplets":[$1,$1]`) }},
	"a doubled member of the same value": {"N02", func(text string) string {
		return strings.ReplaceAll(text, `"state":"RUNNING"`, `"state":"RUNNING","state":"RUNNING"`)
	}},
}

var (
	indexes    = regexp.MustCompile(`"index":(\d+)`)
	timestamps = regexp.MustCompile(`"state_timestamp":[0-9.]+`)
	doubled    = regexp.MustCompile(`"droplets":\[(.*)\]`)
)

// replaceMember gives a function that changes a member of the first object that has it: value replaces its value; empty: the
// member is left out.
func replaceMember(name, value string) func(string) string {
	member := regexp.MustCompile(`"` + name + `":("[^"]*"|[0-9.]+),?`)
	return func(text string) string {
		at := member.FindStringIndex(text)
		if at == nil {
			return text
		}
		with := ""
		if value != "" {
			with = fmt.Sprintf(`"%s":%s`, name, value)
			if text[at[1]-1] == ',' {
				with += ","
			}
		}
		return text[:at[0]] + with + text[at[1]:]
	}
}

// brokenEntries are changes to the first entry of a list after which it cannot be read. lost says whether the entry is then
// no instance for hm, and not an instance in an unknown state.
var brokenEntries = map[string]struct {
	rewrite func(string) string
	lost    bool
}{
	"index as text":         {replaceMember("index", `"0"`), true},
	"index below 0":         {replaceMember("index", `-1`), true},
	"index with a fraction": {replaceMember("index", `0.5`), true},
	"index too large":       {replaceMember("index", `99999999999`), true},
	"index is null":         {replaceMember("index", `null`), true},
	"no index":              {replaceMember("index", ""), true},
	"instance is a number":  {replaceMember("instance", `7`), true},
	"instance is empty":     {replaceMember("instance", `""`), true},
	"no instance":           {replaceMember("instance", ""), true},
	"state is a number":     {replaceMember("state", `7`), false},
	"state is unknown":      {replaceMember("state", `"DREAMING"`), false},
	"no state":              {replaceMember("state", ""), false},
	"state is an object":    {replaceMember("state", `{"a":1}`), false},
}

// brokenEntry asserts that one entry that cannot be read costs no other instance, and that it causes no command within the
// time to live of the instance that it was (W14, W53).
func (s *scenario) brokenEntry(name string, form struct {
	rewrite func(string) string
	lost    bool
}) {
	s.t.Helper()
	began := time.Now()
	s.a.Edit(func(d *DEA) { d.rewrite = form.rewrite })
	broken := s.instance(s.a, 0)
	want := map[string]string{}
	for _, l := range s.on(s.a) {
		want[l.GUID] = l.State
	}
	if form.lost {
		delete(want, broken.GUID)
	} else {
		want[broken.GUID] = "UNKNOWN"
	}
	s.w.rest(s.t, 8)
	var got map[string]string
	s.await("hm tells of the other instances", func() bool { got = s.told(s.row.Version); return len(got) >= 2 })
	s.a.Edit(func(d *DEA) { d.rewrite = nil })
	s.w.rest(s.t, 2)
	if took := time.Since(began); took > timeToLive*s.w.beat && len(s.commands()) > 0 {
		s.t.Logf("not judged: this took %v, longer than a time to live, after which hm may start it again", took)
		return
	}
	for guid, state := range got {
		if guid != broken.GUID {
			s.Equal("N08 W14", name+": state of another entry", state, want[guid])
		}
	}
	s.That("N08 W53", name+": the other entries", len(got) >= 2, "only %v are recorded", got)
	if !form.lost {
		s.Equal("N02", name+": what is recorded", len(got), 3)
	}
	s.Equal("N08 W14", name+": commands", fmt.Sprint(s.commands()), "[]")
	s.recorded("N08", name+": after it can be read again", s.a)
	s.settles()
}

// noHeartbeats are messages on dea.heartbeat that are none (N08, W13).
func noHeartbeats(dea string) map[string]string {
	return map[string]string{
		"nothing": "", "null": "null", "an array": "[]", "a number": "7", "a text": `"x"`, "an object without members": "{}",
		"no JSON": "dea.heartbeat", "half an object": `{"droplets":[`, "no bytes of a text": "\xff\xfe\x00",
		"no dea": `{"droplets":[]}`, "an empty dea": `{"droplets":[],"dea":""}`, "dea is null": `{"droplets":[],"dea":null}`,
		"dea is a number": `{"droplets":[],"dea":7}`, "dea is an object": `{"droplets":[],"dea":{}}`,
		"no droplets": fmt.Sprintf(`{"dea":%q}`, dea), "droplets is null": fmt.Sprintf(`{"droplets":null,"dea":%q}`, dea),
		"droplets is an object": fmt.Sprintf(`{"droplets":{},"dea":%q}`, dea), "droplets is a text": fmt.Sprintf(`{"droplets":"","dea":%q}`, dea),
		"something after the object": fmt.Sprintf(`{"droplets":[],"dea":%q}{`, dea), "deep nesting": strings.Repeat("[", 100_000),
	}
}

// lateHeartbeats plays heartbeats that come twice, and one that comes when a newer one has been heard.
func lateHeartbeats(s *scenario) {
	i, j := s.instance(s.a, 0), s.instance(s.a, 1)
	before := s.a.Heartbeat()
	for range 20 {
		_ = s.w.nc.Publish("dea.heartbeat", []byte(before))
	}
	s.settles()
	s.recorded("N02", "a heartbeat that comes twenty times", s.a)
	s.update(func(r *Row) { r.Instances = 1 })
	s.await("the surplus instance is stopped", func() bool { return !s.a.Has(j.GUID) && s.w.settled(s.t, s.row.GUID) })
	_ = s.w.nc.Publish("dea.heartbeat", []byte(before))
	s.w.rest(s.t, 5)
	s.recorded("N03", "after a heartbeat that came late", s.a)
	s.await("nothing drifts", func() bool { return s.w.settled(s.t, s.row.GUID) })
	for _, c := range s.commands() {
		s.That("N27", "a stop after a late heartbeat", c.Subject == "hm9000.stop" && c.Accepted, "%s", c)
		s.That("I3", "a stop after a late heartbeat", c.Instance == j.GUID, "%s is stopped, it should run", c.Instance)
	}
	s.That("I3", "the instance that should run", s.a.Has(i.GUID), "does not run")
}

// exitForm is a droplet.exited about the first instance, and what the DEA lists after it.
type exitForm struct {
	reason string
	edit   func(string) string
	after  string // the state that is listed; empty: none
	starts int
}

var exits = map[string]exitForm{
	"CRASHED":                             {reason: "CRASHED", after: "CRASHED", starts: 1},
	"CRASHED without crash_timestamp":     {"CRASHED", func(s string) string { return crashTime.ReplaceAllString(s, "") }, "CRASHED", 1},
	"CRASHED with a crash_timestamp text": {"CRASHED", func(s string) string { return crashTime.ReplaceAllString(s, `,"crash_timestamp":"x"`) }, "CRASHED", 1},
	"CRASHED with a crash_timestamp of 0": {"CRASHED", func(s string) string { return crashTime.ReplaceAllString(s, `,"crash_timestamp":0`) }, "CRASHED", 1},
	"crashed in small letters":            {"CRASHED", func(s string) string { return strings.Replace(s, `"CRASHED"`, `"crashed"`, 1) }, "CRASHED", 1},
	"CRASHED with unknown members":        {"CRASHED", func(s string) string { return `{"more":[{"x":null}],` + s[1:] }, "CRASHED", 1},
	"CRASHED with a known exit_status":    {"CRASHED", replaceMember("exit_status", "137"), "CRASHED", 1},
	"CRASHED without status, description": {"CRASHED", func(s string) string {
		return replaceMember("exit_description", "")(replaceMember("exit_status", "")(s))
	}, "CRASHED", 1},
	"CRASHED and reaped at once":           {reason: "CRASHED", starts: 1},
	"STOPPED and gone":                     {reason: "STOPPED", starts: 1},
	"STOPPED and still running":            {reason: "STOPPED", after: "RUNNING"},
	"DEA_SHUTDOWN and gone":                {reason: "DEA_SHUTDOWN", starts: 1},
	"DEA_EVACUATION and gone":              {reason: "DEA_EVACUATION", starts: 1},
	"a reason that hm does not know":       {reason: "REBOOTED", after: "RUNNING"},
	"an empty reason":                      {reason: "", after: "RUNNING"},
	"a reason that hm does not know, gone": {reason: "REBOOTED", starts: 1},
}

var crashTime = regexp.MustCompile(`,"crash_timestamp":\d+`)

func (s *scenario) exit(e exitForm) {
	s.t.Helper()
	i := s.instance(s.a, 0)
	s.b.Slow(true) // if the replacement ran before hm hears what DEA a lists, hm would also stop the instance (R26)
	s.a.Exit(i, e.reason, e.edit)
	s.a.Edit(func(d *DEA) {
		if e.after == "" {
			d.remove(i.GUID)
		} else {
			d.instances[0].State = e.after
		}
	})
	s.a.Exit(i, e.reason, e.edit) // doubled
	s.await("hm has recorded what the DEA lists after the exit", func() bool { return s.lists(s.row.Version)[i.GUID] == e.after })
	s.b.Slow(false)
	var wanted []expect
	for range e.starts {
		wanted = append(wanted, expect{index: 0, version: s.row.Version})
	}
	s.settles(wanted...)
	s.a.Exit(i, e.reason, e.edit) // late: when all is well again
	s.settles(wanted...)
	s.recorded("N10 N11", "after a late exit", s.a, s.b)
}
