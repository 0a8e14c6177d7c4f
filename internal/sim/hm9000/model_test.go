package hm9000

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

const beatPeriod = 10 * time.Second

// world is the model in virtual time, with DEAs that send what they have and obey nothing.
type world struct {
	t       *testing.T
	m       *model
	now     time.Time
	begin   time.Time
	phase   time.Duration // of the passes
	desired []desiredApp
	failing error               // of the reads
	deas    map[string][]string // instances as "app version index state guid"
	log     []string
	onStart func(app string, index int)
	onStop  func(guid string)
}

func newWorld(t *testing.T, phase time.Duration) *world {
	w := &world{t: t, now: time.Unix(1_400_000_000, 0), phase: phase, deas: map[string][]string{}}
	w.begin = w.now
	w.m = newModel(Options{HeartbeatPeriod: beatPeriod, StartLimit: defaultStartLimit, Store: NewStore()}, w.publish)
	return w
}

func (w *world) publish(subject string, data []byte) error {
	var x struct {
		Droplet   string `json:"droplet"`
		Index     int    `json:"instance_index"`
		Instance  string `json:"instance_guid"`
		Duplicate bool   `json:"is_duplicate"`
	}
	if err := json.Unmarshal(data, &x); err != nil {
		w.t.Fatal(err)
	}
	at := int(w.now.Sub(w.begin).Seconds())
	if subject == subjectStart {
		w.log = append(w.log, fmt.Sprintf("%d start %s/%d", at, x.Droplet, x.Index))
		if w.onStart != nil {
			w.onStart(x.Droplet, x.Index)
		}
		return nil
	}
	w.log = append(w.log, fmt.Sprintf("%d stop %s duplicate=%v", at, x.Instance, x.Duplicate))
	if w.onStop != nil {
		w.onStop(x.Instance)
	}
	return nil
}

// run lets d pass: DEAs beat every ten seconds, the store is written every second, and a pass is every minute.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for until := w.now.Add(d); w.now.Before(until); w.now = w.now.Add(time.Second) {
		since := w.now.Sub(w.begin)
		if since%beatPeriod == 0 {
			for dea := range w.deas {
				w.beat(dea)
			}
		}
		w.m.sync(w.now)
		if (since+w.phase)%(passBeats*beatPeriod) == 0 {
			w.m.pass(w.now, w.desired, w.failing)
		}
	}
}

func (w *world) beat(dea string) {
	b := beat{DEA: dea}
	for _, text := range w.deas[dea] {
		b.Droplets = append(b.Droplets, struct {
			Droplet  string `json:"droplet"`
			Version  string `json:"version"`
			Instance string `json:"instance"`
			Index    int    `json:"index"`
			State    string `json:"state"`
		}{})
		d := &b.Droplets[len(b.Droplets)-1]
		if _, err := fmt.Sscan(text, &d.Droplet, &d.Version, &d.Index, &d.State, &d.Instance); err != nil {
			w.t.Fatal(err)
		}
	}
	data, err := json.Marshal(b)
	if err != nil {
		w.t.Fatal(err)
	}
	w.m.heartbeat(data)
}

func (w *world) want(what string, log ...string) {
	w.t.Helper()
	if !slices.Equal(w.log, log) {
		w.t.Errorf("%s: it sent %v, want %v", what, w.log, log)
	}
}

func want(id string, instances int) desiredApp {
	return desiredApp{ID: id, Version: "v", Instances: instances, State: "STARTED", PackageState: "STAGED"}
}

// firstAfter gives how long after the event at a time the first command was sent.
func (w *world) firstAfter(at time.Duration) time.Duration {
	if len(w.log) == 0 {
		w.t.Fatal("nothing was sent")
	}
	var seconds int
	if _, err := fmt.Sscan(w.log[0], &seconds); err != nil {
		w.t.Fatal(err)
	}
	return time.Duration(seconds)*time.Second - at
}

// TestReactionTimes holds the reaction times that BEHAVIOURS derives for passes of 60 s: they depend on where in a pass
// the event falls.
func TestReactionTimes(t *testing.T) {
	for _, c := range []struct {
		name        string
		event       func(w *world)
		least, most time.Duration
	}{
		{"R40 a DEA falls silent", func(w *world) { delete(w.deas, "b") }, 90 * time.Second, 150 * time.Second},
		{"R41 a DEA lists an instance no more", func(w *world) { w.deas["b"] = nil }, 60 * time.Second, 120 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			var seen []time.Duration
			for phase := time.Duration(0); phase < time.Minute; phase += 7 * time.Second {
				w := newWorld(t, phase)
				w.desired = []desiredApp{want("app", 2)}
				w.deas["a"], w.deas["b"] = []string{"app v 0 RUNNING i0"}, []string{"app v 1 RUNNING i1"}
				w.run(3*time.Minute + time.Second) // the last beat with the instance is at 180 s
				w.want("while all is well")
				c.event(w)
				w.run(5 * time.Minute)
				took := w.firstAfter(3 * time.Minute)
				seen = append(seen, took)
				if took < c.least || took > c.most+beatPeriod {
					t.Errorf("with passes %v earlier the start comes after %v, want %v to %v", phase, took, c.least, c.most)
				}
			}
			if slices.Min(seen) > c.least+15*time.Second || slices.Max(seen) < c.most-15*time.Second {
				t.Errorf("reactions take %v, want them spread over %v to %v", seen, c.least, c.most)
			}
		})
	}
}

func TestR01AMissingIndexIsStartedAgainEveryTwoPasses(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 2)}
	w.deas["a"] = []string{"app v 0 RUNNING i0"}
	w.run(8 * time.Minute)
	w.want("nobody obeys", "120 start app/1", "240 start app/1", "360 start app/1")
}

func TestR02R03APendingStartIsVerified(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 3)}
	w.deas["a"] = []string{"app v 0 RUNNING i0"}
	w.run(61 * time.Second)
	w.deas["a"] = append(w.deas["a"], "app v 1 STARTING i1") // back before the start is sent
	w.desired = []desiredApp{want("app", 2)}                 // and index 2 is not wanted any more
	w.run(5 * time.Minute)
	w.want("nothing is missing any more")
}

func TestR05R07CrashRestartsBackOff(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 1)}
	w.deas["a"] = []string{"app v 0 CRASHED i0"}
	w.run(20 * time.Minute) // a sent start blocks the next one for its keep-alive and the pass that frees it (R09)
	w.want("it crashes at once after each start", "60 start app/0", "180 start app/0", "300 start app/0", "480 start app/0", "660 start app/0", "900 start app/0")
}

func TestR06OnlyTheFirstIndexIsTried(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 3)}
	w.deas["a"] = []string{"app v 0 CRASHED i0", "app v 1 CRASHED i1", "app v 2 CRASHED i2"}
	w.run(2 * time.Minute)
	w.want("all have crashed", "60 start app/0")
}

func TestR17R18ExtrasAreStoppedAtOnce(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 1)}
	w.deas["a"] = []string{"app v 0 RUNNING i0", "app v 1 RUNNING i1", "app old 0 RUNNING i2", "gone v 0 EVACUATING i3"}
	w.run(2 * time.Minute)
	w.want("extras", "60 stop i1 duplicate=false", "60 stop i2 duplicate=false", "60 stop i3 duplicate=false")
}

// TestR20AllCopiesOfADuplicateAreStopped: the stops of three copies are due 30 s apart, and a pass sends what has
// become due meanwhile, verified against one view.
func TestR20AllCopiesOfADuplicateAreStopped(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 1)}
	w.deas["a"] = []string{"app v 0 RUNNING i0", "app v 0 RUNNING i1"}
	w.run(5 * time.Minute)
	w.want("two copies", "180 stop i0 duplicate=true", "240 stop i1 duplicate=true")
	w = newWorld(t, 30*time.Second)
	w.desired = []desiredApp{want("app", 1)}
	w.deas["a"] = []string{"app v 0 RUNNING i0", "app v 0 RUNNING i1", "app v 0 RUNNING i2"}
	w.run(5 * time.Minute)
	w.want("three copies", "150 stop i0 duplicate=true", "210 stop i1 duplicate=true", "210 stop i2 duplicate=true")
}

func TestR23R26Evacuation(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 1)}
	w.deas["a"] = []string{"app v 0 RUNNING i0"}
	w.run(90 * time.Second)
	w.deas["a"] = []string{"app v 0 EVACUATING i0"}
	w.onStart = func(string, int) { w.deas["b"] = []string{"app v 0 RUNNING i1"} }
	w.run(2 * time.Minute)
	w.want("an evacuation", "90 start app/0", "120 stop i0 duplicate=true")
}

func TestR33AnExitOfALeavingDEAIsAnsweredAtOnce(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 1)}
	w.deas["a"] = []string{"app v 0 RUNNING i0"}
	w.run(70 * time.Second)
	w.m.exited(w.now, []byte(`{"droplet":"app","version":"v","index":0,"reason":"CRASHED"}`))
	w.m.exited(w.now, []byte(`{"droplet":"app","version":"v","index":0,"reason":"DEA_SHUTDOWN"}`))
	w.run(time.Second)
	w.want("an exit", "70 start app/0")
}

func TestR43R44R47NothingIsSentOnAStaleView(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 2)}
	w.deas["a"] = []string{"app v 0 RUNNING i0", "app v 1 RUNNING i1"}
	w.run(61 * time.Second)
	list := w.deas["a"]
	delete(w.deas, "a") // nobody is heard
	w.run(10 * time.Minute)
	w.want("silence")
	w.failing = errors.New("the Cloud Controller is away")
	w.deas["a"] = list[:1]
	w.run(10 * time.Minute)
	w.want("the desired state cannot be read")
	if s := w.m.stats; s.NotFresh == 0 || s.FetchesFailed == 0 {
		t.Errorf("the totals are %+v", s)
	}
}

func TestR51AtMostSixtyStartsInAPass(t *testing.T) {
	w := newWorld(t, 0)
	w.desired = []desiredApp{want("app", 100)}
	w.deas["a"] = []string{"other v 0 CRASHED x"}
	w.run(121 * time.Second)
	if len(w.log) != 60 {
		t.Errorf("it sent %d starts in a pass, want 60", len(w.log))
	}
	w.run(60 * time.Second)
	if len(w.log) != 100 {
		t.Errorf("it sent %d starts in two passes, want 100", len(w.log))
	}
}

// stopFor stops it and starts it again on the same store. Meanwhile nobody hears the DEAs.
func (w *world) stopFor(d time.Duration) {
	w.now = w.now.Add(d)
	w.m = newModel(Options{HeartbeatPeriod: beatPeriod, StartLimit: defaultStartLimit, Store: w.m.Store}, w.publish)
}

// TestTheStoreOutlivesIt: what HM9000 had queued when it was stopped it verifies when it comes back, but not the start of
// an evacuation. What it knew of instances, and that it was fresh, has run out by then.
func TestTheStoreOutlivesIt(t *testing.T) {
	for _, c := range []struct {
		name    string
		queue   func(w *world)
		restart func(w *world) // what is so when it comes back
		want    []string
	}{
		{
			"a start that is still needed goes out in the first pass", func(w *world) { w.deas["a"] = nil },
			func(*world) {}, []string{"7260 start app/0"},
		},
		{
			"a start that is not needed any more is dropped", func(w *world) { w.deas["a"] = nil },
			func(w *world) { w.deas["a"] = []string{"app v 0 RUNNING i9"} }, nil,
		},
		{
			"W17 the start of an evacuation is not verified", func(w *world) {
				w.m.freshUntil = w.now // so it is kept, and not sent
				w.m.exited(w.now, []byte(`{"droplet":"app","version":"v","index":0,"reason":"DEA_SHUTDOWN"}`))
			},
			func(*world) {}, []string{"7260 start app/0"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 0)
			w.desired = []desiredApp{want("app", 1)}
			w.deas["a"] = []string{"app v 0 RUNNING i0"}
			w.run(110 * time.Second)
			c.queue(w)
			w.run(11 * time.Second) // one pass
			w.stopFor(2*time.Hour - 121*time.Second)
			c.restart(w)
			w.run(150 * time.Second)
			w.want("it comes back after two hours", c.want...)
		})
	}
}

// TestOneWrongFieldLosesTheHeartbeat, and with it everything on the DEA.
func TestOneWrongFieldLosesTheHeartbeat(t *testing.T) {
	w := newWorld(t, 0)
	w.m.heartbeat([]byte(`{"dea":"a","droplets":[{"droplet":"app","version":"v","instance":"i","index":"0","state":"RUNNING"}]}`))
	if w.m.stats.Malformed != 1 || len(w.m.waiting) != 0 {
		t.Errorf("%+v, %d waiting", w.m.stats, len(w.m.waiting))
	}
}

func TestFaults(t *testing.T) {
	t.Run("IgnoreFreshness", func(t *testing.T) {
		w := newWorld(t, 0)
		w.m.faults.IgnoreFreshness = true
		w.desired = []desiredApp{want("app", 1)}
		w.deas["a"] = []string{"app v 0 RUNNING i0"}
		w.run(61 * time.Second)
		delete(w.deas, "a")
		w.run(5 * time.Minute)
		if len(w.log) == 0 {
			t.Error("it sent nothing in a silence")
		}
	})
	t.Run("EmptyReads W07", func(t *testing.T) {
		w := newWorld(t, 0)
		w.m.faults.EmptyReads = true
		w.desired = []desiredApp{want("app", 1)}
		w.deas["a"] = []string{"app v 0 RUNNING i0"}
		w.run(5 * time.Minute)
		w.want("what runs looks missing", "120 start app/0", "240 start app/0")
	})
}
