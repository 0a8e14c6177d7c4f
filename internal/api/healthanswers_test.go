package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/commands"
	"hm/desired"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/raftfsm"
)

// rubyApp is an app of rubyFleet. Three crashes were counted at its index 2, the same as policy.crashes_before_backoff,
// and two at its index 3.
var rubyApp = app.Key{Droplet: app.MustGUID("droplet-1"), Version: app.MustGUID("v-2")}

// rubyFleet has an app with five wanted indices. Instances of it are in every state, at an index twice, beyond the
// wanted indices and in an older version.
func rubyFleet() *apitest.Node {
	w := apitest.New()
	w.Desire(apitest.Start, desired.App{Key: rubyApp, Instances: 5, State: desired.Started, Package: desired.Staged},
		desired.App{Key: apitest.Gappy, Instances: 2, State: desired.Stopped, Package: desired.Staged})
	old := app.Key{Droplet: rubyApp.Droplet, Version: app.MustGUID("v-1")}
	in := func(k app.Key, guid string, index uint32, s actual.State, since int64) actual.Instance {
		return actual.Instance{App: k, GUID: app.MustGUID(guid), Index: index, State: s, Since: since}
	}
	w.Must(apitest.Start.Add(time.Second),
		raftfsm.DEAChanges{DEA: "0-one", Upserts: []actual.Instance{
			in(rubyApp, "i-0", 0, actual.Running, 1_500_000_000_750), in(rubyApp, "i-1", 1, actual.Starting, 1_500_000_001_000),
			in(rubyApp, "i-2", 2, actual.Crashed, 1_500_000_002_900), in(rubyApp, "i-3", 3, actual.Crashed, 0),
			in(rubyApp, "i-4", 4, actual.Evacuating, 1_500_000_004_000),
		}},
		raftfsm.DEAChanges{DEA: "1-two", Upserts: []actual.Instance{
			in(rubyApp, "i-0b", 0, actual.Running, 1_500_000_005_000), in(rubyApp, "i-5", 5, actual.Running, 1_500_000_006_000),
			in(old, "j-0", 0, actual.Running, 1_400_000_000_000), in(old, "j-1", 1, actual.Crashed, 1_400_000_001_000),
			in(old, "j-2", 2, actual.Running, 1_400_000_002_000),
		}})
	crash := func(index uint32, guid string, count uint32) {
		c := commands.Command{Action: commands.Start, App: rubyApp, Index: index, Reason: commands.ReasonCrashed, State: commands.Pending,
			CrashCount: count, Crashed: app.MustGUID(guid), DueAt: apitest.Start.Add(time.Hour)}
		c.ID = commands.NewID(c)
		w.Must(apitest.Start.Add(2*time.Second), raftfsm.CommandsScheduled{Commands: []commands.Command{c}})
	}
	crash(2, "i-2", 3)
	crash(3, "i-3", 2)
	return w
}

func healthAnswers(w *apitest.Node) api.HealthAnswers {
	return api.HealthAnswers{View: w.View(), Now: w.Now(), Wall: wallOf(), Policy: apitest.Policy()}
}

// replies collects the replies to one question, one a line.
func replies(t *testing.T, answer func(request []byte, reply func(string, []byte) bool) error, request string) (string, error) {
	t.Helper()
	var all []string
	err := answer([]byte(request), func(_ string, data []byte) bool {
		if !json.Valid(data) {
			t.Fatalf("%s is not JSON", data)
		}
		all = append(all, string(data))
		return true
	})
	return strings.Join(all, "\n"), err
}

func TestHealthManagerStatus(t *testing.T) {
	w := rubyFleet()
	recorded := w.Now().Add(-time.Second).Add(apitest.WallLead).Std().Unix()
	newest := w.Now().Add(apitest.WallLead).Std().Unix()
	for name, c := range map[string]struct{ request, want string }{
		"N35 CRASHED, of every version": {`{"droplet":"droplet-1","state":"CRASHED"}`,
			fmt.Sprintf(`{"instances":[{"instance":"j-1","since":1400000001},{"instance":"i-2","since":1500000002},{"instance":"i-3","since":%d}]}`, recorded)},
		"N35 CRASHED, a version is ignored": {`{"droplet":"droplet-1","state":"CRASHED","version":7}`,
			fmt.Sprintf(`{"instances":[{"instance":"j-1","since":1400000001},{"instance":"i-2","since":1500000002},{"instance":"i-3","since":%d}]}`, recorded)},
		"N35 CRASHED, none":                    {fmt.Sprintf(`{"droplet":%q,"state":"CRASHED"}`, apitest.Gappy.Droplet), `{"instances":[]}`},
		"N35 FLAPPING":                         {`{"droplet":"droplet-1","state":"FLAPPING","version":"v-2"}`, fmt.Sprintf(`{"indices":[{"index":2,"since":%d}]}`, newest)},
		"N35 FLAPPING, no version":             {`{"droplet":"droplet-1","state":"FLAPPING"}`, fmt.Sprintf(`{"indices":[{"index":2,"since":%d}]}`, newest)},
		"N35 FLAPPING, version null":           {`{"droplet":"droplet-1","state":"FLAPPING","version":null}`, fmt.Sprintf(`{"indices":[{"index":2,"since":%d}]}`, newest)},
		"N35 FLAPPING, another version":        {`{"droplet":"droplet-1","state":"FLAPPING","version":"v-1"}`, `{"indices":[]}`},
		"N35 FLAPPING, a version hm never saw": {`{"droplet":"droplet-1","state":"FLAPPING","version":"v-9"}`, `{"indices":[]}`},
		"N35 FLAPPING, the app is stopped":     {fmt.Sprintf(`{"droplet":%q,"state":"FLAPPING","version":%q}`, apitest.Gappy.Droplet, apitest.Gappy.Version), `{"indices":[]}`},
		"N35 unknown droplet":                  {`{"droplet":"droplet-2","state":"CRASHED"}`, ""},
		"N35 unknown droplet, FLAPPING":        {`{"droplet":"droplet-2","state":"FLAPPING","version":"v-2"}`, ""},
		"N35 another state":                    {`{"droplet":"droplet-1","state":"DOWN"}`, ""},
		"N35 small letters":                    {`{"droplet":"droplet-1","state":"crashed"}`, ""},
		"N35 no state":                         {`{"droplet":"droplet-1","version":"v-2"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := replies(t, healthAnswers(w).Status, c.request); err != nil || got != c.want {
				t.Errorf("%s, %v; want %s", got, err, c.want)
			}
		})
	}
}

// TestFlappingEnds: an index flaps until an instance is live there, it is not wanted, or its crashes are forgotten.
func TestFlappingEnds(t *testing.T) {
	const none = `{"indices":[]}`
	for name, end := range map[string]func(w *apitest.Node){
		"an instance is live": func(w *apitest.Node) {
			w.Must(w.Now().Add(time.Second), raftfsm.DEAChanges{DEA: "0-one", Upserts: []actual.Instance{
				{App: rubyApp, GUID: app.MustGUID("i-2b"), Index: 2, State: actual.Starting, Since: 1_500_000_007_000}}})
		},
		"it is scaled away": func(w *apitest.Node) {
			w.Desire(w.Now().Add(time.Second), desired.App{Key: rubyApp, Instances: 2, State: desired.Started, Package: desired.Staged})
		},
		"the app is stopped": func(w *apitest.Node) {
			w.Desire(w.Now().Add(time.Second), desired.App{Key: rubyApp, Instances: 5, State: desired.Stopped, Package: desired.Staged})
		},
		"R08 the crashes are forgotten": func(w *apitest.Node) {
			p := apitest.Policy()
			w.Lock()
			defer w.Unlock()
			w.At = w.At.Add(p.CrashMemory())
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := rubyFleet()
			ask := func() string {
				got, err := replies(t, healthAnswers(w).Status, `{"droplet":"droplet-1","state":"FLAPPING","version":"v-2"}`)
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			if got := ask(); got == none {
				t.Fatal("the index does not flap")
			}
			end(w)
			if got := ask(); got != none {
				t.Errorf("%s, want %s", got, none)
			}
		})
	}
}

func TestHealthManagerHealth(t *testing.T) {
	w := rubyFleet()
	gappy := apitest.Gappy
	for name, c := range map[string]struct{ request, want string }{
		"N36 one index of five is RUNNING": {`{"droplets":[{"droplet":"droplet-1","version":"v-2"}]}`, `{"droplet":"droplet-1","version":"v-2","healthy":1}`},
		"N36 another version":              {`{"droplets":[{"droplet":"droplet-1","version":"v-1"}]}`, `{"droplet":"droplet-1","version":"v-1","healthy":2}`},
		"N36 a version hm never saw":       {`{"droplets":[{"droplet":"droplet-1","version":"v-9"}]}`, `{"droplet":"droplet-1","version":"v-9","healthy":0}`},
		"N36 no version":                   {`{"droplets":[{"droplet":"droplet-1"}]}`, `{"droplet":"droplet-1","version":"v-2","healthy":1}`},
		"N36 one reply a droplet, unknown ones none": {fmt.Sprintf(`{"droplets":[{"droplet":%q,"version":%q},{"droplet":"droplet-2","version":"v-2"},{"droplet":"droplet-1","version":"v-2"}]}`, gappy.Droplet, gappy.Version),
			fmt.Sprintf(`{"droplet":%q,"version":%q,"healthy":0}`, gappy.Droplet, gappy.Version) + "\n" + `{"droplet":"droplet-1","version":"v-2","healthy":1}`},
		"N36 named twice": {`{"droplets":[{"droplet":"droplet-1","version":"v-2"},{"droplet":"droplet-1","version":"v-2"}]}`, `{"droplet":"droplet-1","version":"v-2","healthy":1}`},
		"N36 none named":  {`{"droplets":[]}`, ""},
		"N36 in the letter case of the question": {fmt.Sprintf(`{"droplets":[{"droplet":%q,"version":%q}]}`, strings.ToUpper(gappy.Droplet.String()), strings.ToUpper(gappy.Version.String())),
			fmt.Sprintf(`{"droplet":%q,"version":%q,"healthy":0}`, strings.ToUpper(gappy.Droplet.String()), strings.ToUpper(gappy.Version.String()))},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := replies(t, healthAnswers(w).Health, c.request); err != nil || got != c.want {
				t.Errorf("%s, %v; want %s", got, err, c.want)
			}
		})
	}
}

// TestHealthIsNotGuessed: before the first complete read it is not known how many instances are wanted. After it, a droplet
// that runs and is not desired has no wanted index.
func TestHealthIsNotGuessed(t *testing.T) {
	w := apitest.New()
	w.Must(apitest.Start, raftfsm.DEAChanges{DEA: "0-one", Upserts: []actual.Instance{apitest.Instance(apitest.Steady, 1, 0, actual.Running)}})
	question := fmt.Sprintf(`{"droplets":[{"droplet":%q,"version":%q}]}`, apitest.Steady.Droplet, apitest.Steady.Version)
	if got, err := replies(t, healthAnswers(w).Health, question); got != "" || err != nil {
		t.Errorf("before the first read: %s, %v", got, err)
	}
	if got, err := replies(t, healthAnswers(w).Droplet, question); err != nil || strings.Contains(got, "num_instances") || !strings.Contains(got, `"state":"RUNNING"`) {
		t.Errorf("before the first read: %s, %v", got, err)
	}
	w.Desire(apitest.Start.Add(time.Second))
	if got, err := replies(t, healthAnswers(w).Health, question); !strings.HasSuffix(got, `"healthy":0}`) || err != nil {
		t.Errorf("not desired: %s, %v", got, err)
	}
	if got, err := replies(t, healthAnswers(w).Droplet, question); err != nil || !strings.Contains(got, `"num_instances":0,"versions"`) {
		t.Errorf("not desired: %s, %v", got, err)
	}
}

func TestHealthManagerDroplet(t *testing.T) {
	w := rubyFleet()
	for name, c := range map[string]struct{ request, golden string }{
		"N37 everything that is known": {`{"droplets":[{"droplet":"droplet-1"}]}`, "healthmanager_droplet.json"},
		"N37 a stopped app":            {fmt.Sprintf(`{"droplets":[{"droplet":%q},{"droplet":"droplet-2"}]}`, apitest.Gappy.Droplet), "healthmanager_droplet_stopped.json"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := replies(t, healthAnswers(w).Droplet, c.request)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.golden, indent(t, []byte(got)))
		})
	}
	both, err := replies(t, healthAnswers(w).Droplet, fmt.Sprintf(`{"droplets":[{"droplet":%q},{"droplet":"droplet-1"},{"droplet":"droplet-1","version":"v-1"}]}`, apitest.Gappy.Droplet))
	if err != nil || strings.Count(both, "\n") != 1 {
		t.Errorf("N37 want one reply for each of two droplets: %s, %v", both, err)
	}
}

// TestHealthManagerRefuses: a question that cannot be read gets no reply, and a droplet that cannot be read costs the
// others nothing.
func TestHealthManagerRefuses(t *testing.T) {
	h := healthAnswers(rubyFleet())
	list := func(n int, item string) string { return `{"droplets":[` + strings.Repeat(item+",", n-1) + item + `]}` }
	for name, c := range map[string]struct {
		answer        func([]byte, func(string, []byte) bool) error
		request, want string
		replies       int
	}{
		"N35 empty":                       {h.Status, ``, "not an object", 0},
		"N35 null":                        {h.Status, `null`, "it is empty", 0},
		"N35 a list":                      {h.Status, `[]`, "not an object", 0},
		"N35 a number":                    {h.Status, `{"droplet":12,"state":"CRASHED"}`, "not an object", 0},
		"N35 a state of another type":     {h.Status, `{"droplet":"droplet-1","state":["CRASHED"]}`, "not an object", 0},
		"N35 version of another type":     {h.Status, `{"droplet":"droplet-1","state":"FLAPPING","version":{}}`, "version", 0},
		"N35 version that is no guid":     {h.Status, `{"droplet":"droplet-1","state":"FLAPPING","version":""}`, "version: not a guid", 0},
		"N35 droplet that is no guid":     {h.Status, `{"droplet":"droplet 1","state":"CRASHED"}`, "droplet: not a guid", 0},
		"N35 1 MB":                        {h.Status, `{"droplet":"` + strings.Repeat("d", 1<<20) + `","state":"CRASHED"}`, "not a guid", 0},
		"N35 deep":                        {h.Status, strings.Repeat("[", 1<<20), "not an object", 0},
		"N36 null":                        {h.Health, `null`, "no list of droplets", 0},
		"N36 no list":                     {h.Health, `{}`, "no list of droplets", 0},
		"N36 a list of null":              {h.Health, `{"droplets":null}`, "no list of droplets", 0},
		"N36 no object":                   {h.Health, `[{"droplet":"droplet-1"}]`, "not an object", 0},
		"N36 1 MB of entries":             {h.Health, list(1<<18, `{}`), "ask for at most 5000", 0},
		"N36 5,000 entries":               {h.Health, list(5000, `{"droplet":"droplet-1","version":"v-2"}`), "", 1},
		"N36 5,001 entries":               {h.Health, list(5001, `{"droplet":"droplet-1","version":"v-2"}`), "names 5001 droplets", 0},
		"N36 unreadable entries":          {h.Health, `{"droplets":[null,7,"x",[],{"droplet":7},{"droplet":"droplet-1","version":7},{"droplet":"droplet-1","version":"v-2"}]}`, "6 of 7 droplets", 1},
		"N37 unreadable entries":          {h.Droplet, `{"droplets":[{"droplet":"a b"},{"droplet":"droplet-1","version":7}]}`, "1 of 2 droplets", 1},
		"N37 null":                        {h.Droplet, `{"droplets":[null]}`, "1 of 1 droplets", 0},
		"N37 an object instead of a list": {h.Droplet, `{"droplets":{"droplet":"droplet-1"}}`, "not an object", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := 0
			err := c.answer([]byte(c.request), func(string, []byte) bool { got++; return true })
			if got != c.replies {
				t.Errorf("%d replies, want %d", got, c.replies)
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("the error is %.200v, want %q", err, c.want)
			}
		})
	}
}

// TestAppStateDesired: with compat.app_state_desired an app object says what is desired, and is otherwise as before.
func TestAppStateDesired(t *testing.T) {
	view := apitest.Fleet().View()
	plain, full := api.AppObjects{View: view, Wall: wallOf()}, api.AppObjects{View: view, Wall: wallOf(), Desired: true}
	member := func(k app.Key, instances int) string {
		return fmt.Sprintf(`,"desired":{"id":%q,"version":%q,"instances":%d,"state":"STARTED","package_state":"STAGED"}`, k.Droplet, k.Version, instances)
	}
	for name, c := range map[string]struct {
		app  app.Key
		want string // that the answer has beyond the plain one
	}{
		"N41 desired":                     {apitest.Gappy, member(apitest.Gappy, 3)},
		"N41 not desired":                 {apitest.Gone, ""},
		"N41 another version is desired":  {apitest.Moved, ""},
		"N41 desired without an instance": {apitest.Staging, ""},
		"N41 unknown":                     {apitest.Key(99, 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := string(plain.One(true, one(c.app))), string(full.One(true, one(c.app)))
			if c.want != "" && !strings.Contains(after, c.want) || strings.Replace(after, c.want, "", 1) != before {
				t.Errorf("%s, want %s and %s", after, before, c.want)
			}
		})
	}
	request := []byte(asked(apitest.Crashy, apitest.Gone, apitest.Staging))
	if before, after := plain.Bulk(true, request), full.Bulk(true, request); string(bytes.Replace(after, []byte(member(apitest.Crashy, 2)), nil, 1)) != string(before) || len(after) == len(before) {
		t.Errorf("N41 %s, want %s and the member desired", after, before)
	}
	w := apitest.Fleet()
	o := w.Options()
	o.AppStateDesired = true
	if _, raw := ask(t, "POST", serve(t, o)+"/bulk_app_state", string(request)); string(raw) != string(full.Bulk(true, request)) {
		t.Errorf("over HTTP: %s", raw)
	}
	golden(t, "app_state_desired.json", indent(t, full.One(true, one(apitest.Crashy))))
}

// TestW48AnsweringChangesNothing: a question about an index, a version or a droplet that is not recorded makes no record of
// it, and the next answer is the same.
func TestW48AnsweringChangesNothing(t *testing.T) {
	w := rubyFleet()
	ask := func() (all string) {
		h := healthAnswers(w)
		for _, version := range []string{"v-1", "v-2", "v-9"} {
			status, err1 := replies(t, h.Status, fmt.Sprintf(`{"droplet":"droplet-1","state":"FLAPPING","version":%q}`, version))
			health, err2 := replies(t, h.Health, fmt.Sprintf(`{"droplets":[{"droplet":"droplet-1","version":%q},{"droplet":"droplet-9"}]}`, version))
			droplet, err3 := replies(t, h.Droplet, `{"droplets":[{"droplet":"droplet-1"},{"droplet":"droplet-9"}]}`)
			if err := errors.Join(err1, err2, err3); err != nil {
				t.Fatal(err)
			}
			all += status + health + droplet
		}
		return all
	}
	hash, first := w.View().Hash(), ask()
	if ask() != first || w.View().Hash() != hash {
		t.Error("to answer changes what is recorded")
	}
	if strings.Contains(first, "DOWN") {
		t.Errorf("an index of which nothing is known is in the answer: %s", first)
	}
}

func FuzzHealthManager(f *testing.F) {
	w := rubyFleet()
	before := w.View().Hash()
	for _, seed := range []string{
		`{"droplet":"droplet-1","state":"CRASHED"}`, `{"droplet":"droplet-1","state":"FLAPPING","version":"v-2"}`,
		`{"droplets":[{"droplet":"droplet-1","version":"v-2"},{"droplet":"droplet-2"}]}`, `{"droplets":[null,{"droplet":"\u0000"},{"droplet":"droplet-1","version":null}]}`,
		`{"droplets":[[]]}`, `{"droplet":[],"state":"CRASHED"}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		h := healthAnswers(w)
		for _, answer := range []func([]byte, func(string, []byte) bool) error{h.Status, h.Health, h.Droplet} {
			_ = answer(request, func(droplet string, data []byte) bool {
				var object map[string]any
				if err := json.Unmarshal(data, &object); err != nil || len(object) == 0 || droplet == "" {
					t.Fatalf("%q gives %q for %q: %v", request, data, droplet, err)
				}
				return true
			})
		}
		if w.View().Hash() != before { // W48
			t.Fatalf("%q changed the record", request)
		}
	})
}
