package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	aboutHealth    = "health.start and health.stop"
	aboutQueries   = "questions of 2013"
	desiredMembers = `{"id":%q,"version":%q,"instances":%d,"state":%q,"package_state":%q}`
)

// playRubyTime plays a Cloud Controller of the time of HealthManager 2.0 (G1), with app objects as to May 2016 (N41).
func playRubyTime(t *testing.T, srv *natsServer) {
	w := newWorld(t, srv, "rubytime", worldSetup{
		sets: []string{
			"desired.bulk.username=" + bulkUser, "desired.bulk.password=" + bulkPassword, "commands.protocol=health", "compat.app_state_desired=true",
		},
		before: func(w *world) {
			w.fill(10)
			if err := w.cc.RespondHealth(w.nc); err != nil {
				t.Fatal(err)
			}
		},
	})
	w.awaitGate(t)
	t.Run("all", func(t *testing.T) {
		healthScenarios(t, w)
		queryScenarios(t, w)
	})
	wantKnownApps(ledger.Check(t, aboutHealth), w)
}

// wantHealth asserts that exactly these commands came, that every field is right (N17, N19), and that the Cloud Controller
// refused none (N18, N20). The counts must let its checks pass.
func (s *scenario) wantHealth(starts []int, version string, stopped map[string]string) {
	s.t.Helper()
	s.awaitCommands(len(starts) + len(stopped))
	s.w.rest(s.t, 8)
	commands := s.commands()
	s.That("N17 N19", "number of commands", len(commands) == len(starts)+len(stopped), "got %d, want %d: %s", len(commands), len(starts)+len(stopped), commands)
	for _, c := range commands {
		s.That("N18 N20", c.Subject, c.Accepted, "the Cloud Controller refuses it: %s", c)
		if c.Subject == "health.start" {
			o := s.Object("N17", c.Subject, c.Data, "droplet", "last_updated", "version", "indices", "running", "flapping")
			o.Text("droplet", s.row.GUID)
			o.Text("version", version)
			s.Equal("N17", "health.start: member last_updated", string(o.members["last_updated"]), "null")
			indices := o.List("indices")
			s.Equal("N17", "health.start: number of indices", len(indices), 1)
			s.That("N17", "health.start: indices", slices.Contains(starts, c.Index), "got %s, want one of %v", o.members["indices"], starts)
			o.Flag("flapping", false)
			s.counts("N17", o)
			continue
		}
		o := s.Object("N19", c.Subject, c.Data, "droplet", "last_updated", "instances", "running", "version")
		o.Text("droplet", s.row.GUID)
		s.Equal("N19", "health.stop: member last_updated", string(o.members["last_updated"]), "null")
		var instances map[string]string
		_ = json.Unmarshal(o.members["instances"], &instances)
		s.Equal("N19 W35", "health.stop: number of instances", len(instances), 1)
		for guid, of := range instances {
			s.Equal("N19", "health.stop: version of instance "+guid, of, stopped[guid])
		}
		s.counts("N19", o)
	}
}

// counts asserts that running is an object from version to a whole number.
func (s *scenario) counts(id string, o Object) {
	s.t.Helper()
	var running map[string]uint
	err := json.Unmarshal(o.members["running"], &running)
	s.That(id, o.at("running"), err == nil && running != nil, "got %s, want an object from version to count", o.members["running"])
}

func healthScenarios(t *testing.T, w *world) {
	for name, play := range map[string]func(*scenario){
		"nothing to do": func(s *scenario) { s.w.rest(s.t, 20); s.wantHealth(nil, "", nil) },
		"missing": func(s *scenario) {
			s.a.Remove(s.instance(s.a, 1).GUID)
			s.wantHealth([]int{1}, s.row.Version, nil)
		},
		"crashed": func(s *scenario) {
			crash(s.a, 0)
			s.wantHealth([]int{0}, s.row.Version, nil)
		},
		"scaled up": func(s *scenario) {
			s.update(func(r *Row) { r.Instances = 4 })
			s.wantHealth([]int{2, 3}, s.row.Version, nil)
		},
		"extra": func(s *scenario) {
			i := s.a.Run(s.row.GUID, s.row.Version, 5)
			s.wantHealth(nil, "", map[string]string{i.GUID: s.row.Version})
		},
		"duplicate": func(s *scenario) {
			first := s.instance(s.a, 0)
			second := s.b.Run(s.row.GUID, s.row.Version, 0)
			commands := s.awaitCommands(1)
			s.wantHealth(nil, "", map[string]string{commands[0].Instance: s.row.Version})
			s.That("W02", "the copy that stays", s.a.Has(first.GUID) != s.b.Has(second.GUID), "not exactly one stays")
		},
		"stopped": func(s *scenario) {
			i, j := s.instance(s.a, 0), s.instance(s.a, 1)
			s.update(func(r *Row) { r.State = "STOPPED" })
			s.wantHealth(nil, "", map[string]string{i.GUID: s.row.Version, j.GUID: s.row.Version})
		},
		"scaled down": func(s *scenario) {
			i := s.instance(s.a, 1)
			s.update(func(r *Row) { r.Instances = 1 })
			s.wantHealth(nil, "", map[string]string{i.GUID: s.row.Version})
		},
		"version changed": func(s *scenario) {
			old, i, j := s.row.Version, s.instance(s.a, 0), s.instance(s.a, 1)
			s.update(func(r *Row) { r.Version = NewUUID() })
			s.wantHealth([]int{0, 1}, s.row.Version, map[string]string{i.GUID: old, j.GUID: old})
		},
		"deleted": func(s *scenario) {
			i, j := s.instance(s.a, 0), s.instance(s.a, 1)
			s.w.cc.Delete(s.row.GUID)
			s.announce()
			// The first stop ends both, since the Cloud Controller does not know the app (N20). So the second one comes only if
			// it was on its way already.
			s.awaitCommands(1)
			s.w.rest(s.t, 12)
			stopped := map[string]string{}
			for _, c := range s.commands() {
				s.That("N21", "the instance of a stop", c.Instance == i.GUID || c.Instance == j.GUID, "%s", c)
				stopped[c.Instance] = s.row.Version
			}
			s.That("N20", "the instances of a deleted app", !s.a.Has(i.GUID) && !s.a.Has(j.GUID), "one is left")
			s.wantHealth(nil, "", stopped)
		},
	} {
		t.Run("health: "+name, func(t *testing.T) {
			t.Parallel()
			play(newScenario(t, w, aboutHealth, DEA2015, 2))
		})
	}
}

// replies sends a question and gives the replies that come until the DEAs have sent two more heartbeats after the last
// that was expected.
func (s *scenario) replies(subject, question string, n int) (all []string) {
	s.t.Helper()
	inbox := nats.NewInbox()
	answers := make(chan *nats.Msg, 64)
	sub, err := s.w.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	until(s.t, subject+" is answered", func() bool { // without a trusted record there is no reply: the Cloud Controller asks again
		all = nil
		_ = s.w.nc.PublishRequest(subject, inbox, []byte(question))
		for timeout := time.After(2 * time.Second); len(all) < n; {
			select {
			case m := <-answers:
				all = append(all, string(m.Data))
			case <-timeout:
				return false
			}
		}
		return true
	})
	s.w.rest(s.t, 2)
	for len(answers) > 0 {
		all = append(all, string((<-answers).Data))
	}
	return all
}

func queryScenarios(t *testing.T, w *world) {
	for name, play := range map[string]func(*scenario){
		"health": func(s *scenario) {
			s.a.Edit(func(d *DEA) { d.instances[1].State = "STARTING" })
			s.a.Beat()
			s.await("hm knows the states", func() bool { return s.lists(s.row.Version)[s.instance(s.a, 1).GUID] == "STARTING" })
			f := s.w.filler[0]
			question := fmt.Sprintf(`{"droplets":[%s,%s,%s],"more":1}`, asked(s.row.GUID, s.row.Version), asked(NewUUID(), NewUUID()), asked(f.GUID, f.Version))
			replies := s.replies("healthmanager.health", question, 2)
			s.Equal("N36", "number of replies", len(replies), 2)
			for _, reply := range replies {
				o := s.Object("N36", "healthmanager.health", []byte(reply), "droplet", "version", "healthy")
				if strings.Contains(reply, s.row.GUID) {
					o.Text("droplet", s.row.GUID)
					o.Text("version", s.row.Version)
					o.Whole("healthy", 1) // RUNNING, not STARTING
				} else {
					o.Text("droplet", f.GUID)
					o.Text("version", f.Version)
					o.Whole("healthy", 2)
				}
			}
		},
		"status": func(s *scenario) {
			i := crash(s.a, 1)
			s.awaitCommands(1)
			replies := s.replies("healthmanager.status", fmt.Sprintf(`{"droplet":%q,"state":"CRASHED"}`, s.row.GUID), 1)
			s.Equal("N35", "CRASHED: number of replies", len(replies), 1)
			o := s.Object("N35", "healthmanager.status CRASHED", []byte(replies[0]), "instances")
			list := o.List("instances")
			if s.Equal("N35", "CRASHED: number of instances", len(list), 1) {
				o := s.Object("N35", "healthmanager.status CRASHED: instances[0]", list[0], "instance", "since")
				o.Text("instance", i.GUID)
				o.Epoch("since", int64(i.Since)-1, time.Now().Unix()+1)
			}
			replies = s.replies("healthmanager.status", fmt.Sprintf(`{"droplet":%q,"state":"FLAPPING","version":%q}`, s.row.GUID, s.row.Version), 1)
			s.Equal("N35", "FLAPPING: number of replies", len(replies), 1)
			o = s.Object("N35", "healthmanager.status FLAPPING", []byte(replies[0]), "indices")
			s.Equal("N35", "FLAPPING: number of indices", len(o.List("indices")), 0)
		},
		"droplet": func(s *scenario) {
			question := fmt.Sprintf(`{"droplets":[{"droplet":%q},{"droplet":%q}]}`, NewUUID(), s.row.GUID)
			replies := s.replies("healthmanager.droplet", question, 1)
			s.Equal("N37", "number of replies", len(replies), 1)
			_, members, err := readObject([]byte(replies[0]))
			s.That("N37", "healthmanager.droplet", err == nil, "%v: %s", err, replies[0])
			o := Object{s.Check, "N37", "healthmanager.droplet", members}
			o.Text("id", s.row.GUID)
			o.Whole("num_instances", 2)
			s.That("N37", o.at("versions"), strings.Contains(string(members["versions"]), s.row.Version), "got %s", members["versions"])
		},
		"no reply": func(s *scenario) {
			silent := make(chan *nats.Msg, 64)
			inbox := nats.NewInbox()
			sub, err := s.w.nc.ChanSubscribe(inbox, silent)
			if err != nil {
				s.t.Fatal(err)
			}
			defer func() { _ = sub.Unsubscribe() }()
			questions := map[string][]string{
				"healthmanager.status": {
					fmt.Sprintf(`{"droplet":%q,"state":"CRASHED"}`, NewUUID()), fmt.Sprintf(`{"droplet":%q,"state":"DREAMING"}`, s.row.GUID),
					fmt.Sprintf(`{"droplet":%q}`, s.row.GUID), `{"state":"CRASHED"}`, "", "null", "[]", "{", "7", `{"droplet":7,"state":"CRASHED"}`,
				},
				"healthmanager.health": {
					fmt.Sprintf(`{"droplets":[%s]}`, asked(NewUUID(), NewUUID())), `{"droplets":[]}`, `{"droplets":null}`, `{"droplets":{}}`, `{"droplets":[1]}`, "", "null", "[]", "{", "{}",
				},
				"healthmanager.droplet": {fmt.Sprintf(`{"droplets":[{"droplet":%q}]}`, NewUUID()), `{"droplets":[{}]}`, `{"droplets":"x"}`, "", "null", "[]", "{", "{}"},
			}
			for subject, texts := range questions {
				for _, text := range texts {
					_ = s.w.nc.PublishRequest(subject, inbox, []byte(text))
				}
			}
			s.replies("healthmanager.droplet", fmt.Sprintf(`{"droplets":[{"droplet":%q}]}`, s.row.GUID), 1) // these have been handled then
			for subject, texts := range questions {
				s.That("N35 N36 N37", subject+": unknown or unreadable", len(silent) == 0, "%d replies to questions such as %q", len(silent), texts)
			}
		},
		"desired": func(s *scenario) {
			for _, way := range ways {
				answer := []byte(way.found(s.t, s.w, asked(s.row.GUID, s.row.Version)))
				if way.many {
					answer = s.members(way.id, way.what, string(answer), s.row.GUID)[s.row.GUID]
				}
				o := s.Object("N41", way.what, answer, "droplet", "version", "desired", "instance_heartbeats", "crash_counts")
				want := fmt.Sprintf(desiredMembers, s.row.GUID, s.row.Version, s.row.Instances, s.row.State, s.row.PackageState)
				s.That("N41", o.at("desired"), sameJSON(string(o.members["desired"]), want), "got %s, want %s", o.members["desired"], want)
				d := s.Object("N41", way.what+": desired", o.members["desired"], "id", "version", "instances", "state", "package_state")
				d.Text("id", s.row.GUID)
				d.Whole("instances", int64(s.row.Instances))
			}
		},
	} {
		t.Run("question: "+name, func(t *testing.T) {
			t.Parallel()
			play(newScenario(t, w, aboutQueries, DEA2013, 2))
		})
	}
}
