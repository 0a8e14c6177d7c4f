package conformance

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

const (
	aboutPosts     = "commands over HTTP"
	aboutCollector = "collectors"
)

// playPosts plays a Cloud Controller of 2016, which takes commands over HTTP (G3), and a collector.
func playPosts(t *testing.T, srv *natsServer) {
	announced := make(chan *nats.Msg, 16)
	w := newWorld(t, srv, "posts", worldSetup{
		posts: true,
		sets: []string{
			"desired.bulk.username=" + bulkUser, "desired.bulk.password=" + bulkPassword, "compat.component=HM9000", "compat.varz.listen=127.0.0.1:0",
		},
		before: func(w *world) {
			w.fill(10)
			if _, err := w.nc.ChanSubscribe("vcap.component.announce", announced); err != nil {
				t.Fatal(err)
			}
			if err := w.nc.Flush(); err != nil {
				t.Fatal(err)
			}
		},
	})
	until(t, "the node announces itself", func() bool { return len(announced) > 0 })
	collect(t, w, string((<-announced).Data))
	w.awaitGate(t)
	t.Run("all", func(t *testing.T) { postScenarios(t, w) })
	wantKnownApps(ledger.Check(t, aboutPosts), w)
}

// wantPosts asserts what the Cloud Controller received of the scenario's app: a post for each command, and its answer.
func (s *scenario) wantPosts(action string, status, n int) {
	s.t.Helper()
	posts := s.w.cc.Posts(s.row.GUID)
	s.Equal("N23 N24", "number of posts", len(posts), n)
	for _, p := range posts {
		s.Equal("N23 N24", "path", p.Path, "/internal/dea/hm9000/"+action+"/"+s.row.GUID)
		s.Equal("N23 N24", "Content-Type", p.ContentType, "application/json")
		s.Equal("N23 N24", "Authorization", p.Authorization, "Basic "+base64.StdEncoding.EncodeToString([]byte(bulkUser+":"+bulkPassword)))
		s.Equal("N25", "answer", p.Status, status)
	}
}

func postScenarios(t *testing.T, w *world) {
	for name, play := range map[string]func(*scenario){
		"nothing to do": func(s *scenario) { s.w.rest(s.t, 20); s.wantPosts("", 0, 0) },
		"missing": func(s *scenario) {
			s.a.Remove(s.instance(s.a, 1).GUID)
			s.settles(expect{index: 1, version: s.row.Version})
			s.wantPosts("start", http.StatusOK, 1)
		},
		"crashed": func(s *scenario) {
			crash(s.a, 0)
			s.settles(expect{index: 0, version: s.row.Version})
			s.wantPosts("start", http.StatusOK, 1)
		},
		"extra": func(s *scenario) {
			i := s.a.Run(s.row.GUID, s.row.Version, 5)
			s.settles(expect{stop: true, index: 5, version: s.row.Version, instance: i.GUID, check: "index out of range"})
			s.wantPosts("stop", http.StatusOK, 1)
		},
		"stopped": func(s *scenario) {
			s.update(func(r *Row) { r.State = "STOPPED" })
			s.wantAllStopped("app stopped")
			s.wantPosts("stop", http.StatusOK, 2)
		},
		"deleted": func(s *scenario) { // W01: the 404 says that only NATS reaches the instances
			i, j := s.instance(s.a, 0), s.instance(s.a, 1)
			s.w.cc.Delete(s.row.GUID)
			s.announce()
			s.settles(
				expect{stop: true, index: 0, version: s.row.Version, instance: i.GUID, check: "app unknown"},
				expect{stop: true, index: 1, version: s.row.Version, instance: j.GUID, check: "app unknown"})
			s.wantPosts("stop", http.StatusNotFound, 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(newScenario(t, w, aboutPosts, DEA2016, 2))
		})
	}
}

// collect plays a collector: it finds the node over NATS and reads its varz (N47).
func collect(t *testing.T, w *world, announcement string) {
	c := ledger.Check(t, aboutCollector)
	names := []string{"type", "index", "uuid", "host", "credentials", "start", "uptime"}
	var about struct {
		Host        string
		Credentials []string
	}
	for what, text := range map[string]string{"vcap.component.announce": announcement, "vcap.component.discover": w.ask(t, "vcap.component.discover", "")} {
		o := c.Object("N47", what, []byte(text), names...)
		o.Text("type", "HM9000")
		o.Whole("index", 0)
		c.Equal("N47", what+": number of credentials", len(o.List("credentials")), 2)
		if err := json.Unmarshal([]byte(text), &about); err != nil {
			t.Fatal(err)
		}
	}
	get := func(path string, credentials bool) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+about.Host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if credentials {
			req.SetBasicAuth(about.Credentials[0], about.Credentials[1])
		}
		return do(t, req)
	}
	status, text := get("/healthz", true)
	c.Equal("N47", "/healthz: status", status, http.StatusOK)
	c.Equal("N47", "/healthz: body", text, "ok\n")
	status, text = get("/varz", true)
	c.Equal("N47", "/varz: status", status, http.StatusOK)
	_, members, err := readObject([]byte(text))
	c.That("N47 M32", "/varz", err == nil, "%v: %s", err, text)
	o := Object{c, "N47 M32", "/varz", members}
	o.Text("type", "HM9000")
	o.Text("host", about.Host)
	for _, name := range append(names, "mem", "cpu", "num_cores", "config") {
		c.That("N47 M32", o.at(name), members[name] != nil, "is missing in %.300s", text)
	}
	c.That("M01", "/varz", strings.Contains(text, "NumberOfAppsWithAllInstancesReporting"), "has no figure of HM9000: %.300s", text)
	for path, want := range map[string]int{"/varz": http.StatusUnauthorized, "/healthz": http.StatusUnauthorized} {
		status, _ = get(path, false)
		c.Equal("N47", path+" without credentials: status", status, want)
	}
	status, _ = get("/v1/status", true)
	c.Equal("N47", "another path: status", status, http.StatusNotFound)
}
