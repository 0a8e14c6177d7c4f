package server

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hm/internal/app"
	"hm/internal/bus/bustest"
	"hm/internal/sim"
)

// forger publishes on NATS what it should not.
type forger struct {
	*shape
	nc *nats.Conn
}

func startForger(t *testing.T, nodes int) *forger {
	t.Helper()
	takesSeconds(t)
	t.Parallel()
	srv := bustest.Run(t, nil)
	s := startShape(t, clusterSetup{nodes: nodes, period: 200 * time.Millisecond, sim: deas(srv.URL()), natsURL: func(int) string { return srv.URL() }}, srv)
	s.awaitConverged()
	return &forger{s, bustest.Client(t, srv.URL())}
}

// repeat publishes again and again, twice a heartbeat, until the returned function is called.
func (f *forger) repeat(subject string, messages ...string) (end func()) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			for _, m := range messages {
				_ = f.nc.Publish(subject, []byte(m))
			}
			select {
			case <-stop:
				return
			case <-time.After(f.period / 2):
			}
		}
	})
	return func() { close(stop); running.Wait() }
}

// instances gives every running instance.
func (f *forger) instances() (all []sim.InstanceView) {
	for _, a := range f.sim.Apps(0, 100) {
		all = append(all, a.Running...)
	}
	return all
}

// entry is an instance in a heartbeat.
func entry(in sim.InstanceView, guid app.GUID) string {
	return fmt.Sprintf(`{"droplet":%q,"version":%q,"instance":%q,"index":%d,"state":"RUNNING","state_timestamp":%d,"cc_partition":"default"}`,
		in.App, in.Version, guid, in.Index, in.Since.Unix())
}

func heartbeatOf(dea string, entries ...string) string {
	return fmt.Sprintf(`{"dea":%q,"droplets":[%s]}`, dea, strings.Join(entries, ","))
}

// wait lets heartbeats pass.
func (f *forger) wait(heartbeats int) { time.Sleep(time.Duration(heartbeats) * f.period) }

// TestForgedCopies: a DEA that does not exist lists a copy of every instance. hm keeps the instance that it knew first,
// and stops the copies, which nobody runs.
func TestForgedCopies(t *testing.T) {
	f := startForger(t, 1)
	var copies []string
	for i, in := range f.instances() {
		copies = append(copies, entry(in, app.FromBinary([16]byte{0xfa, 0xce, byte(i), 15: 1}, 'u')))
	}
	before := f.sim.State().Commands
	end := f.repeat("dea.heartbeat", heartbeatOf("fake-dea", copies...))
	bustest.Until(t, "hm stops copies", func() bool { return f.commands() > 0 })
	f.wait(10)
	end()
	bustest.Until(t, "the fake DEA is forgotten and everything runs", func() bool { return f.commander() >= 0 && f.sim.State().Converged })
	f.wait(10)
	now := f.sim.State()
	t.Logf("%d copies: %d messages of hm; %+v, before %+v", len(copies), f.commands(), now.Commands, before)
	if now.Commands.Needless != 0 || now.Commands.Harmful != 0 || !now.Converged {
		t.Errorf("needless %d, harmful %d, converged %t", now.Commands.Needless, now.Commands.Harmful, now.Converged)
	}
}

// TestForgedEmptyHeartbeats: somebody sends empty heartbeats in the name of every DEA, between the true ones. hm takes it
// for a loss of most instances, and holds. It starts nothing: what a true heartbeat shows again is not missing.
func TestForgedEmptyHeartbeats(t *testing.T) {
	f := startForger(t, 1)
	ids := map[string]bool{}
	var empty []string
	for _, in := range f.instances() {
		if !ids[in.DEA] {
			ids[in.DEA] = true
			empty = append(empty, heartbeatOf(in.DEA))
		}
	}
	end := f.repeat("dea.heartbeat", empty...)
	held := false
	for range 300 {
		f.note()
		held = held || f.reasons["hold:mass-loss"]
		time.Sleep(f.period / 10)
	}
	during := f.sim.State()
	end()
	bustest.Until(t, "the gate is open and everything runs", func() bool { return f.commander() >= 0 && f.sim.State().Converged })
	t.Logf("%d DEAs, 30 heartbeats: hold %t; %+v", len(empty), held, during.Commands)
	if after := f.sim.State().Commands; !held || after.StartsAccepted+after.StopsAccepted != 0 || !during.Converged {
		t.Errorf("held %t, commands %+v", held, after)
	}
}

// TestForgedExits: somebody says of every instance that it crashed, three times. hm starts each once more, for nothing, and
// stops the copy later: the load doubles for a while.
func TestForgedExits(t *testing.T) {
	f := startForger(t, 1)
	all := f.instances()
	for range 3 {
		for _, in := range all {
			_ = f.nc.Publish("droplet.exited", fmt.Appendf(nil, `{"droplet":%q,"version":%q,"instance":%q,"index":%d,"reason":"CRASHED","exit_status":1,"crash_timestamp":%d,"cc_partition":"default"}`,
				in.App, in.Version, in.GUID, in.Index, time.Now().Unix()))
		}
		f.wait(5)
	}
	f.wait(20)
	during := f.sim.State()
	bustest.Until(t, "everything runs once", func() bool { return f.commander() >= 0 && f.sim.State().Converged })
	t.Logf("%d instances, 3 exits each: %+v", len(all), during.Commands)
	if now := f.sim.State().Commands; now.Needless > uint64(len(all)) || now.Harmful != 0 {
		t.Errorf("%d needless starts, %d harmful stops; want %d at most and none", now.Needless, now.Harmful, len(all))
	}
}

// TestForgedLife: a DEA dies, and somebody goes on to send its heartbeats. hm cannot tell, and starts nothing as long as
// that lasts. This is the worst that forged heartbeats do.
func TestForgedLife(t *testing.T) {
	f := startForger(t, 1)
	all := f.instances()
	dead := all[0].DEA
	var list []string
	for _, in := range all {
		if in.DEA == dead {
			list = append(list, entry(in, in.GUID))
		}
	}
	end := f.repeat("dea.heartbeat", heartbeatOf(dead, list...))
	if err := f.sim.Fleet.Kill(dead); err != nil {
		t.Fatal(err)
	}
	f.wait(20)
	during := f.sim.State()
	if during.Missing != len(list) || during.Commands.StartsAccepted != 0 {
		t.Errorf("%d instances are missing and %d were started, want %d and 0: hm believes a heartbeat", during.Missing, during.Commands.StartsAccepted, len(list))
	}
	end()
	bustest.Until(t, "the instances of the dead DEA run elsewhere", func() bool { return f.sim.State().Converged })
	t.Logf("%d instances: %+v", len(list), f.sim.State().Commands)
}
