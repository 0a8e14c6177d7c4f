package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const aboutQuestions = "app state questions"

// listed is an instance as the app object should show it.
type listed struct {
	Instance
	dea string
}

// way is one of the three ways to ask for one app.
type way struct {
	id, what string
	ask      func(t *testing.T, w *world, apps ...string) string // apps are {"droplet":...,"version":...}
	many     bool                                                // the answer is an object from app guid to app object
}

var ways = []way{
	{"N38", "app.state", func(t *testing.T, w *world, apps ...string) string { return w.ask(t, "app.state", apps[0]) }, false},
	{"N39", "app.state.bulk", func(t *testing.T, w *world, apps ...string) string {
		return w.ask(t, "app.state.bulk", "["+strings.Join(apps, ",")+"]")
	}, true},
	{"N40", "POST /bulk_app_state", func(t *testing.T, w *world, apps ...string) string {
		status, answer := w.post(t, "/bulk_app_state", "["+strings.Join(apps, ",")+"]", nil)
		if status != http.StatusOK {
			t.Errorf("N40 status: got %d, want 200", status)
		}
		return answer
	}, true},
}

// found asks for apps of which at least one runs. An answer of {} says that hm does not trust its record at that moment,
// as on a machine that is too slow for the short heartbeat period of this test. A Cloud Controller asks again.
func (y way) found(t *testing.T, w *world, apps ...string) (answer string) {
	t.Helper()
	until(t, y.what+" tells of an app that runs", func() bool { answer = y.ask(t, w, apps...); return answer != "{}" })
	return answer
}

// trusted asks for apps until hm trusts its record, and gives the answer of then. {} alone does not say that nothing runs:
// hm also gives it while it does not trust its record. An app that runs, of which it tells before and after, shows that it
// does.
func (y way) trusted(t *testing.T, w *world, apps ...string) (answer string) {
	t.Helper()
	f := w.filler[0]
	trusts := func() bool { return y.ask(t, w, asked(f.GUID, f.Version)) != "{}" }
	until(t, y.what+" is answered from a record that hm trusts", func() bool {
		before := trusts()
		answer = y.ask(t, w, apps...)
		return answer != "{}" || before && trusts()
	})
	return answer
}

func asked(droplet, version string) string {
	return fmt.Sprintf(`{"droplet":%q,"version":%q}`, droplet, version)
}

// crashed is an index whose crashes the app object should count.
type crashed struct {
	index, count int
	since        int64 // not before
}

// app asserts that data is the app object (N41) of these instances and crashes.
func (c Check) app(what string, data []byte, droplet, version string, instances []listed, crashes ...crashed) {
	c.reporter.Helper()
	o := c.Object("N41", what, data, "droplet", "version", "instance_heartbeats", "crash_counts")
	o.Text("droplet", droplet)
	o.Text("version", version)
	heartbeats := o.List("instance_heartbeats")
	c.Equal("N41", what+": number of instance_heartbeats", len(heartbeats), len(instances))
	for i, data := range heartbeats {
		at := fmt.Sprintf("%s: instance_heartbeats[%d]", what, i)
		var guid struct{ Instance string }
		_ = json.Unmarshal(data, &guid)
		k := slices.IndexFunc(instances, func(l listed) bool { return l.GUID == guid.Instance })
		if !c.That("N41", at, k >= 0, "is an instance that does not run: %s", data) {
			continue
		}
		want := instances[k]
		o := c.Object("N41", at, data, "droplet", "version", "instance", "index", "state", "state_timestamp", "dea_guid")
		o.Text("droplet", droplet)
		o.Text("version", version)
		o.Text("instance", want.GUID)
		o.Whole("index", int64(want.Index))
		o.Text("state", want.State)
		o.Seconds("state_timestamp", want.Since)
		o.Text("dea_guid", want.dea)
	}
	counts := o.List("crash_counts")
	c.Equal("N41", what+": number of crash_counts", len(counts), len(crashes))
	for i, data := range counts[:min(len(counts), len(crashes))] {
		o := c.Object("N41", fmt.Sprintf("%s: crash_counts[%d]", what, i), data, "droplet", "version", "instance_index", "crash_count", "created_at")
		o.Text("droplet", droplet)
		o.Text("version", version)
		o.Whole("instance_index", int64(crashes[i].index))
		o.Whole("crash_count", int64(crashes[i].count))
		o.Epoch("created_at", crashes[i].since, time.Now().Unix()+1)
	}
}

// members gives the apps of a bulk answer.
func (c Check) members(id, what, answer string, droplets ...string) map[string]json.RawMessage {
	c.reporter.Helper()
	return c.Object(id, what, []byte(answer), droplets...).members
}

// everyWay asserts the app object in each of the three ways.
func (s *scenario) everyWay(instances []listed, crashes ...crashed) {
	s.t.Helper()
	for _, way := range ways {
		answer := []byte(way.found(s.t, s.w, asked(s.row.GUID, s.row.Version)))
		if way.many {
			answer = s.members(way.id, way.what, string(answer), s.row.GUID)[s.row.GUID]
		}
		s.app(way.what, answer, s.row.GUID, s.row.Version, instances, crashes...)
	}
}

// on gives what a DEA lists of the scenario's app, as the app object should show it.
func (s *scenario) on(deas ...*DEA) (all []listed) {
	for _, d := range deas {
		d.Edit(func(d *DEA) {
			for _, i := range d.instances {
				all = append(all, listed{*i, d.uuid})
			}
		})
	}
	return all
}

// awaitListed waits until hm has recorded what the DEAs list. It gives what they list, and what is recorded.
func (s *scenario) awaitListed(deas ...*DEA) (all []listed, heard map[string]heardInstance) {
	s.t.Helper()
	want := map[string]string{}
	all = s.on(deas...)
	for _, l := range all {
		want[l.GUID] = l.State + " on " + l.dea
	}
	s.await("hm has recorded what the DEAs list", func() bool {
		heard = s.heard(s.row.Version)
		got := map[string]string{}
		for guid, i := range heard {
			got[guid] = i.State + " on " + i.DEA
		}
		return maps.Equal(got, want) && (len(want) > 0 || len(s.lists(s.row.Version)) == 0)
	})
	return all, heard
}

// shownByCC is what a Cloud Controller makes of an app object (N42).
type shownByCC struct{ healthy, crashes, flapping int }

func readAsCC(t *testing.T, data []byte, instances int) (shown shownByCC) {
	t.Helper()
	var object struct {
		Heartbeats []struct {
			Index          int
			State          string
			Instance       string
			StateTimestamp float64 `json:"state_timestamp"`
		} `json:"instance_heartbeats"`
		Crashes []struct {
			Index   int   `json:"instance_index"`
			Count   int   `json:"crash_count"`
			Created int64 `json:"created_at"`
		} `json:"crash_counts"`
	}
	if err := json.Unmarshal(data, &object); err != nil {
		t.Errorf("N42: %v: %s", err, data)
	}
	healthy := map[int]bool{}
	for _, h := range object.Heartbeats {
		if h.Index < instances && (h.State == "RUNNING" || h.State == "STARTING") {
			healthy[h.Index] = true
		}
		if h.State == "CRASHED" && h.Instance != "" && h.StateTimestamp > 0 {
			shown.crashes++
		}
	}
	for _, c := range object.Crashes {
		if c.Count >= 3 && c.Created > 0 { // flapping_crash_count_threshold
			shown.flapping++
		}
	}
	shown.healthy = len(healthy)
	return shown
}

// crash lets the instance at a position of a DEA crash, as DEAs do it: an exit, and the entry stays (N34).
func crash(d *DEA, at int) Instance {
	var i Instance
	d.Edit(func(d *DEA) {
		d.instances[at].State, d.instances[at].Since = "CRASHED", float64(time.Now().UnixMicro())/1e6
		i = *d.instances[at]
	})
	d.Exit(i, "CRASHED", nil)
	d.Beat()
	return i
}

func questionScenarios(t *testing.T, w *world) {
	for name, play := range map[string]func(*scenario){
		"running and starting": func(s *scenario) {
			s.a.Edit(func(d *DEA) { d.instances[1].State = "STARTING" })
			all, _ := s.awaitListed(s.a)
			s.everyWay(all)
			answer := ways[0].found(s.t, s.w, asked(s.row.GUID, s.row.Version))
			s.Equal("N42", "what the Cloud Controller shows", readAsCC(s.t, []byte(answer), 2), shownByCC{healthy: 2})
		},
		"crashed and restarted": func(s *scenario) {
			since := time.Now().Unix() - 1
			crash(s.a, 1)
			s.awaitCommands(1)
			all, _ := s.awaitListed(s.a, s.b)
			s.everyWay(all, crashed{1, 1, since})
			answer := ways[0].found(s.t, s.w, asked(s.row.GUID, s.row.Version))
			s.Equal("N42", "what the Cloud Controller shows", readAsCC(s.t, []byte(answer), 2), shownByCC{healthy: 2, crashes: 1})
		},
		"flapping": func(s *scenario) {
			s = s.another(1)
			since := time.Now().Unix() - 1
			crash(s.a, 0)
			s.awaitCommands(1)
			for n := 2; n <= 3; n++ {
				s.b.Edit(func(d *DEA) { d.instances = d.instances[len(d.instances)-1:] }) // only the newest crash is kept (N34)
				crash(s.b, 0)
				s.awaitCommands(n)
			}
			all, _ := s.awaitListed(s.a, s.b)
			s.everyWay(all, crashed{0, 3, since})
			answer := ways[0].found(s.t, s.w, asked(s.row.GUID, s.row.Version))
			s.Equal("N42", "what the Cloud Controller shows", readAsCC(s.t, []byte(answer), 1), shownByCC{healthy: 1, crashes: 2, flapping: 1})
			for _, c := range s.commands() {
				s.That("N26", "restart of a flapping index", c.Accepted && c.Subject == "hm9000.start", "%s", c)
			}
		},
		"crash counts without an instance": func(s *scenario) {
			s = s.another(1)
			s.w.place(s.row.GUID, nil) // the Cloud Controller takes the start, and nothing starts
			crash(s.a, 0)
			s.await("the Cloud Controller has heard a start", func() bool { return len(s.commands()) > 0 })
			s.awaitListed(s.a) // the exit may have overtaken the heartbeat
			s.a.Edit(func(d *DEA) { d.instances = nil })
			s.await("hm knows that the crash is off the list", func() bool { return len(s.lists(s.row.Version)) == 0 })
			for _, way := range ways {
				s.Equal("N41", way.what+": an app with a crash count and no instance", way.trusted(s.t, s.w, asked(s.row.GUID, s.row.Version)), "{}")
			}
			s.w.place(s.row.GUID, s.b)
			s.await("the app runs again", func() bool { return s.w.settled(s.t, s.row.GUID) })
		},
		"what is not found": func(s *scenario) {
			s.awaitListed(s.a)
			other := asked(s.row.GUID, NewUUID())
			for _, way := range ways {
				s.Equal(way.id, way.what+": an unknown app", way.trusted(s.t, s.w, asked(NewUUID(), NewUUID())), "{}")
				s.Equal(way.id, way.what+": an unknown version of a known app", way.trusted(s.t, s.w, other), "{}")
			}
			known := asked(s.row.GUID, s.row.Version)
			for _, way := range ways[1:] {
				for what, apps := range map[string][]string{
					"unknown apps around a known one":         {asked(NewUUID(), NewUUID()), known, asked("no-such-app", "v1")},
					"an unknown version after a known one":    {known, other},
					"an unknown version before a known one":   {other, known},
					"an app twice":                            {known, known},
					"an app with an empty droplet beside one": {`{"droplet":"","version":""}`, known},
				} {
					answer := way.found(s.t, s.w, apps...)
					found := s.members(way.id, way.what+": "+what, answer, s.row.GUID)
					s.app(way.what+": "+what, found[s.row.GUID], s.row.GUID, s.row.Version, s.on(s.a))
				}
			}
		},
		"two versions of one app": func(s *scenario) {
			old := Instance{Droplet: s.row.GUID, Version: NewUUID(), GUID: NewInstanceGUID(), Index: 0, State: "CRASHED"}
			added := *s.a.add(old)
			s.await("hm has recorded the other version", func() bool { return len(s.lists(old.Version)) == 1 })
			for _, way := range ways[1:] {
				answer := way.found(s.t, s.w, asked(s.row.GUID, s.row.Version), asked(s.row.GUID, old.Version))
				found := s.members(way.id, way.what+": two versions", answer, s.row.GUID)
				var version struct{ Version string }
				_ = json.Unmarshal(found[s.row.GUID], &version)
				instances := s.on(s.a)[:2]
				if version.Version == old.Version {
					instances = []listed{{added, s.a.UUID()}}
				}
				s.app(way.what+": two versions", found[s.row.GUID], s.row.GUID, version.Version, instances)
			}
		},
		"spelled as asked": func(s *scenario) {
			s.awaitListed(s.a)
			droplet, version := strings.ToUpper(s.row.GUID), strings.ToUpper(s.row.Version)
			for _, way := range ways {
				answer := []byte(way.found(s.t, s.w, asked(droplet, version)))
				if way.many {
					answer = s.members(way.id, way.what+": capitals", string(answer), droplet)[droplet]
				}
				s.app(way.what+": capitals", answer, droplet, version, s.on(s.a))
			}
		},
		"members that hm does not know": func(s *scenario) {
			s.awaitListed(s.a)
			question := fmt.Sprintf(`{"include":["x",{"y":null}],"version":%q,"droplet":%q,"op":1}`, s.row.Version, s.row.GUID)
			for _, way := range ways {
				answer := []byte(way.found(s.t, s.w, question))
				if way.many {
					answer = s.members(way.id, way.what+": unknown members", string(answer), s.row.GUID)[s.row.GUID]
				}
				s.app(way.what+": unknown members", answer, s.row.GUID, s.row.Version, s.on(s.a))
			}
		},
		"questions that cannot be read": func(s *scenario) {
			s.awaitListed(s.a)
			app := asked(s.row.GUID, s.row.Version)
			for _, q := range []string{
				"", "null", "[]", "[" + app + "]", `"x"`, "7", "{", app + "x", app[:len(app)-1], "{}", fmt.Sprintf(`{"droplet":%q}`, s.row.GUID),
				fmt.Sprintf(`{"version":%q}`, s.row.Version), fmt.Sprintf(`{"droplet":%q,"version":1}`, s.row.GUID),
				fmt.Sprintf(`{"droplet":null,"version":%q}`, s.row.Version), fmt.Sprintf(`{"droplet":{},"version":%q}`, s.row.Version), "\xff\xfe",
			} {
				s.Equal("N38", fmt.Sprintf("app.state %q", q), s.w.ask(s.t, "app.state", q), "{}")
			}
			for _, q := range []string{
				"", "null", "{}", app, `"x"`, "7", "[", "[" + app, "[" + app + ",", "[" + app + "]]", "[1]", `["x"]`, "[" + app + ",1]", "[[" + app + "]]", "[]", "[{}]", "[null]",
				"[" + app + `,{"droplet":1,"version":"v"}]`, "\xff\xfe",
			} {
				s.Equal("N39", fmt.Sprintf("app.state.bulk %q", q), s.w.ask(s.t, "app.state.bulk", q), "{}")
				status, answer := s.w.post(s.t, "/bulk_app_state", q, nil)
				s.Equal("N40", fmt.Sprintf("POST /bulk_app_state %q: status", q), status, http.StatusOK)
				s.Equal("N40", fmt.Sprintf("POST /bulk_app_state %q", q), answer, "{}")
			}
		},
		"late and doubled questions": func(s *scenario) {
			s.awaitListed(s.a)
			for _, subject := range []string{"app.state", "app.state.bulk"} {
				question := asked(s.row.GUID, s.row.Version)
				if subject == "app.state.bulk" {
					question = "[" + question + "]"
				}
				_ = s.w.nc.Publish(subject, []byte(question)) // N38: without a reply subject it is ignored
				inbox := nats.NewInbox()
				answers := make(chan *nats.Msg, 64)
				sub, err := s.w.nc.ChanSubscribe(inbox, answers)
				if err != nil {
					s.t.Fatal(err)
				}
				for range 2 {
					_ = s.w.nc.PublishRequest(subject, inbox, []byte(question))
				}
				first, second := s.next(answers), s.next(answers)
				s.That("N38", subject+": the answers to a doubled question", first == second || first == "{}" || second == "{}", "differ: %s and %s", first, second)
				s.w.rest(s.t, 3)
				s.Equal("N38", subject+": answers to two questions beyond the two", len(answers), 0)
				_ = sub.Unsubscribe()
				_ = s.w.nc.PublishRequest(subject, inbox, []byte(question)) // nobody waits any more
				s.That("N38", subject+": the next question", strings.HasPrefix(s.w.ask(s.t, subject, question), "{"), "is not answered")
			}
		},
		"authentication and paths": func(s *scenario) {
			s.awaitListed(s.a)
			body := "[" + asked(s.row.GUID, s.row.Version) + "]"
			for what, edit := range map[string]func(*http.Request){
				"no credentials":       func(r *http.Request) { r.Header.Del("Authorization") },
				"another password":     func(r *http.Request) { r.SetBasicAuth(apiUser, "x") },
				"another user":         func(r *http.Request) { r.SetBasicAuth("x", apiPassword) },
				"an empty password":    func(r *http.Request) { r.SetBasicAuth(apiUser, "") },
				"a token":              func(r *http.Request) { r.Header.Set("Authorization", "bearer x") },
				"a header of no form":  func(r *http.Request) { r.Header.Set("Authorization", "Basic !") },
				"user and password on": func(r *http.Request) { r.SetBasicAuth(apiUser+":"+apiPassword, "") },
			} {
				status, answer := s.w.post(s.t, "/bulk_app_state", body, edit)
				s.Equal("N40", what+": status", status, http.StatusUnauthorized)
				s.Equal("N40", what+": body", answer, "")
			}
			for _, path := range []string{"/app_state", "/bulk_app_states", "/bulk_app_state/x", "/bulk", "/BULK_APP_STATE"} {
				status, _ := s.w.post(s.t, path, body, nil)
				s.Equal("N40", "POST "+path+": status", status, http.StatusNotFound)
			}
			for _, kind := range []string{"", "application/json", "application/x-www-form-urlencoded", "text/plain; charset=utf-8"} {
				var status int
				var answer string
				s.await("hm tells of the app", func() bool {
					status, answer = s.w.post(s.t, "/bulk_app_state", body, func(r *http.Request) { r.Header.Set("Content-Type", kind) })
					return answer != "{}"
				})
				s.Equal("N40", "Content-Type "+kind+": status", status, http.StatusOK)
				s.members("N40", "Content-Type "+kind, answer, s.row.GUID)
			}
		},
		"fifty apps": func(s *scenario) {
			var apps, droplets []string
			for _, r := range s.w.filler {
				apps, droplets = append(apps, asked(r.GUID, r.Version)), append(droplets, r.GUID)
			}
			s.Equal("N39", "apps in a question", len(apps), 50)
			for _, way := range ways[1:] {
				found := s.members(way.id, way.what+": fifty apps", way.found(s.t, s.w, apps...), droplets...)
				for _, r := range s.w.filler {
					s.app(way.what+": fifty apps", found[r.GUID], r.GUID, r.Version, s.w.listedOf(r.GUID))
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(newScenario(t, w, aboutQuestions, DEA2015, 2))
		})
	}
}

func (s *scenario) next(answers <-chan *nats.Msg) string {
	s.t.Helper()
	select {
	case m := <-answers:
		return string(m.Data)
	case <-time.After(30 * time.Second):
		s.t.Fatal("no answer")
		return ""
	}
}

// listedOf gives the instances of an app on all DEAs.
func (w *world) listedOf(droplet string) (all []listed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.deas {
		d.Edit(func(d *DEA) {
			for _, i := range d.instances {
				if i.Droplet == droplet {
					all = append(all, listed{*i, d.uuid})
				}
			}
		})
	}
	return all
}

// wantSubscriptions asserts on which subjects the node listens, and in which queue groups.
func wantSubscriptions(t *testing.T, w *world) {
	c := ledger.Check(t, aboutQuestions)
	queues := map[string]string{}
	subscribed := func() map[string]string {
		clear(queues)
		list, err := w.nats.Connz(&server.ConnzOptions{Username: true, Subscriptions: true, SubscriptionsDetail: true, Limit: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		for _, conn := range list.Conns {
			if conn.AuthorizedUser == w.name && strings.HasPrefix(conn.Name, "hm ") {
				for _, s := range conn.SubsDetail {
					queues[s.Subject] = "queue " + s.Queue
				}
			}
		}
		return queues
	}
	until(t, "the node has subscribed to app.state", func() bool { return subscribed()["app.state"] != "" })
	for _, want := range []struct{ id, subject, queue string }{
		{"N38", "app.state", "hm9000"}, {"N39", "app.state.bulk", "hm9000"},
		{"N01", "dea.heartbeat", ""}, {"N09", "droplet.exited", ""}, {"N46", "droplet.updated", ""},
	} {
		c.Equal(want.id, "subscription to "+want.subject, queues[want.subject], "queue "+want.queue)
	}
}
