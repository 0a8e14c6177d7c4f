package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/app"
	"hm/internal/sim"
)

// busWatch notes every command that any node publishes, and counts the heartbeats of the fleet. It connects again within
// a millisecond, so that it hears what a node would send late.
type busWatch struct {
	nc *nats.Conn

	mu       sync.Mutex
	commands []busCommand
	beats    int
	delay    time.Duration // the longest delay of a message to itself, since calm
}

// busCommand is a command as it was published.
type busCommand struct {
	at    time.Time
	beats int    // heartbeats of the fleet so far
	key   string // what it starts or stops: startOf or stopOf
	text  string
}

func startOf(droplet, version app.GUID, index int) string {
	return fmt.Sprintf("start %s/%s/%d", droplet, version, index)
}

func stopOf(instance app.GUID) string { return "stop " + instance.String() }

func watchBus(t *testing.T, url string) *busWatch {
	t.Helper()
	w := &busWatch{}
	var err error
	w.nc, err = nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.nc.Close)
	for _, subject := range []string{"hm9000.start", "hm9000.stop", "health.start", "health.stop", "dea.heartbeat"} {
		if _, err := w.nc.Subscribe(subject, w.take); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		w.measure(done)
	}()
	t.Cleanup(func() {
		close(done)
		<-ended
	})
	return w
}

// measure notes how much longer a short pause and a message to itself take than they should: a loaded machine delays
// everybody.
func (w *busWatch) measure(done <-chan struct{}) {
	const pause = 20 * time.Millisecond
	for {
		began := time.Now()
		select {
		case <-done:
			return
		case <-time.After(pause):
		}
		if w.nc.IsConnected() && w.nc.FlushTimeout(time.Second) != nil {
			continue // NATS went away
		}
		w.mu.Lock()
		w.delay = max(w.delay, time.Since(began)-pause)
		w.mu.Unlock()
	}
}

// calm begins a new measurement.
func (w *busWatch) calm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = 0
}

func (w *busWatch) delayNow() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.delay
}

func (w *busWatch) take(m *nats.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Subject == "dea.heartbeat" {
		w.beats++
		return
	}
	var o struct {
		Droplet  app.GUID `json:"droplet"`
		Version  app.GUID `json:"version"`
		Index    int      `json:"instance_index"`
		Instance app.GUID `json:"instance_guid"`
	}
	key := "unreadable"
	if err := json.Unmarshal(m.Data, &o); err == nil {
		switch m.Subject {
		case "hm9000.start":
			key = startOf(o.Droplet, o.Version, o.Index)
		case "hm9000.stop":
			key = stopOf(o.Instance)
		}
	}
	w.commands = append(w.commands, busCommand{time.Now(), w.beats, key, m.Subject + " " + string(m.Data)})
}

func (w *busWatch) all() []busCommand {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.commands)
}

func (w *busWatch) beatsNow() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.beats
}

// truth is what runs, by the DEAs' own knowledge: each instance with its state.
func truth(s *sim.Sim) map[app.GUID]sim.InstanceView {
	all := map[app.GUID]sim.InstanceView{}
	for _, a := range s.Apps(0, 1<<30) {
		for _, in := range a.Running {
			all[in.GUID] = in
		}
	}
	return all
}

// routesAgree reports whether the router's table is exactly the instances that serve.
func routesAgree(s *sim.Sim) bool {
	has, want := map[string]string{}, map[string]string{}
	for _, r := range s.Router.Routes("", 1<<30) {
		has[r.Instance] = r.App + " " + r.Address
	}
	for _, e := range s.Fleet.Endpoints() {
		want[e.Instance.String()] = e.App.String() + " " + e.Address
	}
	if len(has) != len(want) || len(has) != s.Router.Status().Endpoints {
		return false
	}
	for instance, where := range want {
		if has[instance] != where {
			return false
		}
	}
	return true
}
