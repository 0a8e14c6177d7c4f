package replay

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
	"hm/raftfsm"
)

// scene makes the recording of a small Cloud Foundry: DEAs that send a heartbeat every 10 s, a Cloud Controller that is
// read every 60 s, and steps that change them at given seconds.
type scene struct {
	t      testing.TB
	start  time.Time
	header recording.Header
	end    int // second at which it ends
	every  int // seconds between reads; 0: 60

	deas    []*sceneDEA
	apps    []desired.App
	readErr error // of reads; nil: they succeed
	filter  desired.Filter
	steps   []step
}

type sceneDEA struct {
	id    string
	list  []actual.Instance
	quiet bool
}

type step struct {
	at float64 // seconds
	do func(s *scene, w *recording.Writer, now time.Time) error
}

func newScene(t testing.TB, note string, end int) *scene {
	return &scene{t: t, start: time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC), header: recording.Header{Note: note, Config: map[string]string{}}, end: end, every: 60}
}

// dea adds a DEA.
func (s *scene) dea(ids ...string) *scene {
	for _, id := range ids {
		s.deas = append(s.deas, &sceneDEA{id: "dea-" + id})
	}
	return s
}

func (s *scene) find(id string) *sceneDEA {
	for _, d := range s.deas {
		if d.id == "dea-"+id {
			return d
		}
	}
	s.t.Fatalf("no DEA %s", id)
	return nil
}

// runs puts n instances of name in v1 on the DEAs in turn, from the first DEA on.
func (s *scene) runs(name string, n int) *scene {
	for i := range n {
		d := s.deas[i%len(s.deas)]
		d.list = append(d.list, actual.Instance{App: recordingtest.Key(name, "v1"), GUID: app.MustGUID(fmt.Sprintf("%s-%d", name, i)), Index: uint32(i), State: actual.Running, Since: s.start.Add(-time.Hour).UnixMilli()})
	}
	return s
}

// fleet adds three DEAs and an app "web" with three running instances.
func (s *scene) fleet() *scene { return s.dea("a", "b", "c").runs("web", 3).wants("web", 3) }

// cell makes the recording that of a cell: its hm reads a part of the desired state.
func (s *scene) cell() *scene {
	s.filter = desired.Filter{Organizations: []string{"ours"}}
	return s
}

// wants makes the Cloud Controller want n started and staged instances of name in v1, from the beginning.
func (s *scene) wants(name string, n int) *scene {
	s.set(name, "v1", n, desired.Started, desired.Staged)
	return s
}

func (s *scene) set(name, version string, n int, state desired.RunState, pack desired.PackageState) {
	s.apps = slices.DeleteFunc(s.apps, func(a desired.App) bool { return a.Key.Droplet == app.MustGUID(name) })
	s.apps = append(s.apps, desired.App{Key: recordingtest.Key(name, version), Instances: uint32(n), State: state, Package: pack})
}

func (s *scene) at(second float64, do func(s *scene)) *scene {
	s.steps = append(s.steps, step{second, func(s *scene, _ *recording.Writer, _ time.Time) error { do(s); return nil }})
	return s
}

// want changes the desired state of an app at a second.
func (s *scene) want(second float64, name, version string, n int, state desired.RunState, pack desired.PackageState) *scene {
	return s.at(second, func(s *scene) { s.set(name, version, n, state, pack) })
}

// forget deletes apps from the Cloud Controller.
func (s *scene) forget(second float64, names ...string) *scene {
	return s.at(second, func(s *scene) {
		for _, name := range names {
			s.apps = slices.DeleteFunc(s.apps, func(a desired.App) bool { return a.Key.Droplet == app.MustGUID(name) })
		}
	})
}

// put adds an instance to a DEA. Guids of instances are "name-index" or "name-index-suffix".
func (s *scene) put(second float64, dea, name, version string, index int, guid string, state actual.State) *scene {
	return s.at(second, func(s *scene) {
		d := s.find(dea)
		d.list = append(d.list, actual.Instance{App: recordingtest.Key(name, version), GUID: app.MustGUID(guid), Index: uint32(index), State: state, Since: s.start.Add(time.Duration(second) * time.Second).UnixMilli()})
	})
}

// turn changes the state of instances.
func (s *scene) turn(second float64, state actual.State, guids ...string) *scene {
	return s.at(second, func(s *scene) {
		for _, d := range s.deas {
			list := slices.Clone(d.list)
			for i := range list {
				if slices.Contains(guids, list[i].GUID.String()) {
					list[i].State = state
				}
			}
			d.list = list
		}
	})
}

// lose removes instances.
func (s *scene) lose(second float64, guids ...string) *scene {
	return s.at(second, func(s *scene) {
		for _, d := range s.deas {
			d.list = slices.DeleteFunc(slices.Clone(d.list), func(i actual.Instance) bool { return slices.Contains(guids, i.GUID.String()) })
		}
	})
}

// quiet makes DEAs silent, or send heartbeats again.
func (s *scene) quiet(second float64, quiet bool, deas ...string) *scene {
	return s.at(second, func(s *scene) {
		for _, id := range deas {
			s.find(id).quiet = quiet
		}
	})
}

// reads makes reads of the desired state fail with err, or succeed if it is empty.
func (s *scene) reads(second float64, err string) *scene {
	return s.at(second, func(s *scene) {
		if s.readErr = nil; err != "" {
			s.readErr = errors.New(err)
		}
	})
}

func (s *scene) write(second float64, do func(w *recording.Writer, now time.Time) error) *scene {
	s.steps = append(s.steps, step{second, func(_ *scene, w *recording.Writer, now time.Time) error { return do(w, now) }})
	return s
}

// updated lets the Cloud Controller announce a change of an app, and records the read of that app.
func (s *scene) updated(second float64, name string) *scene {
	s.say(second, "droplet.updated", fmt.Sprintf(`{"droplet":%q}`, name))
	s.steps = append(s.steps, step{second + 0.1, func(s *scene, w *recording.Writer, now time.Time) error {
		var rows []desired.App
		for _, a := range s.apps {
			if a.Key.Droplet == app.MustGUID(name) {
				rows = append(rows, a)
			}
		}
		return w.DesiredApp(now, now, app.MustGUID(name), rows, nil)
	}})
	return s
}

// hold lets a person set or release a hold.
func (s *scene) hold(second float64, name string, set bool) *scene {
	return s.write(second, func(w *recording.Writer, now time.Time) error {
		return w.Hold(now, raftfsm.Hold{Name: name, Reason: "maintenance", By: "ann"}, !set)
	})
}

// link takes the NATS link down or up. While it is down, no heartbeats are received.
func (s *scene) link(second float64, up bool) *scene {
	return s.write(second, func(w *recording.Writer, now time.Time) error { return w.Link(now, up, false) }).at(second, func(s *scene) {
		for _, d := range s.deas {
			d.quiet = !up
		}
	})
}

func (s *scene) leader(second float64) *scene {
	return s.write(second, func(w *recording.Writer, now time.Time) error { return w.Leader(now) })
}

// leaderless begins a time without a leader.
func (s *scene) leaderless(second float64) *scene {
	return s.write(second, func(w *recording.Writer, now time.Time) error { return w.Leaderless(now) })
}

func (s *scene) exit(second float64, name, version string, index int, guid string, reason actual.ExitReason) *scene {
	return s.write(second, func(w *recording.Writer, now time.Time) error {
		return w.Message(now, "droplet.exited", recording.EncodeExit(actual.Exit{App: recordingtest.Key(name, version), Instance: app.MustGUID(guid), Index: uint32(index), Reason: reason}))
	})
}

func (s *scene) say(second float64, subject, data string) *scene {
	return s.write(second, func(w *recording.Writer, now time.Time) error { return w.Message(now, subject, []byte(data)) })
}

// config sets a configuration key in the header.
func (s *scene) config(key, value string) *scene {
	s.header.Config[key] = value
	return s
}

// record returns the recording. At each instant steps come first, then reads, then heartbeats. The DEAs send one after
// the other within each 10 s.
func (s *scene) record() []byte {
	var out bytes.Buffer
	w := recording.WriteTo(&out, recording.WriterOptions{Header: s.header})
	slices.SortStableFunc(s.steps, func(a, b step) int {
		if a.at < b.at {
			return -1
		} else if a.at > b.at {
			return 1
		}
		return 0
	})
	check := func(err error) {
		if err != nil {
			s.t.Fatal(err)
		}
	}
	for tenth := 0; tenth <= s.end*10; tenth++ {
		now := s.start.Add(time.Duration(tenth) * 100 * time.Millisecond)
		for len(s.steps) > 0 && int(s.steps[0].at*10) <= tenth {
			d := s.steps[0]
			s.steps = s.steps[1:]
			check(d.do(s, w, now))
		}
		if tenth%(s.every*10) == 0 {
			read, err := desired.NewRead(desired.Filtered("the Cloud Controller", s.filter), slices.Clone(s.apps))
			check(err)
			check(w.Desired(now, now, read, s.readErr))
		}
		for i, d := range s.deas {
			if tenth%100 == (10+100*i/len(s.deas))%100 && !d.quiet {
				check(w.Message(now, "dea.heartbeat", recording.EncodeHeartbeat(actual.Heartbeat{DEA: d.id, Instances: d.list})))
			}
		}
	}
	check(w.Close())
	return out.Bytes()
}
