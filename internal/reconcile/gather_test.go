package reconcile

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/notify"
)

// TestWhatIsHeardIsGathered: heartbeats that come one after the other are recorded by few steps, but an exit among them
// does not wait as long. With a short heartbeat period both wait equally.
func TestWhatIsHeardIsGathered(t *testing.T) {
	for _, x := range []struct {
		period time.Duration
		steps  int // in a second of heartbeats
	}{
		{10 * time.Second, 20},
		{time.Second, 40},
	} {
		synctest.Test(t, func(t *testing.T) {
			opts := testOptions()
			opts.Policy.HeartbeatPeriod = x.period
			cf := newSimCF(t, opts)
			cf.desire(20, 1, false)
			log, heard := &liveLog{cf: cf, start: cf.now, began: time.Now()}, notify.New()
			in := NewIntake(log, actual.NewLiveness(x.period, 3*x.period, 3*x.period, log.Now()), heard.Notify)
			h := &hanging{apps: cf.apps}
			loop := NewLoop(LoopOptions{Options: cf.opts, Log: log, Leader: log, Publisher: h, Source: h, Intake: in, Heard: heard, ReadTimeout: time.Hour}, cf.endedCommands)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { loop.Run(ctx); close(done) }()
			instance := func(i byte, since int64) actual.Instance {
				return actual.Instance{App: testKey(0, 1), GUID: app.FromBinary([16]byte{1, i}, 'h'), Index: uint32(i), State: actual.Running, Since: since}
			}
			recorded := func(i byte) actual.State {
				for _, r := range log.View().DEAInstances(nil, "dea-1") {
					if r.GUID == instance(i, 0).GUID {
						return r.State
					}
				}
				return 0
			}
			beat := func(since int64, n byte) {
				hb := actual.Heartbeat{DEA: "dea-1"}
				for i := range n {
					hb.Instances = append(hb.Instances, instance(i, since))
				}
				if d := digestOf(hb); !in.Unchanged(d) {
					in.Heartbeat(hb, d)
				}
			}
			in.Link(true, 1)
			beat(1, 2)
			time.Sleep(100 * time.Millisecond)
			before, _ := loop.Turns()
			for i := range 1000 {
				beat(int64(2+i), 2)
				time.Sleep(time.Millisecond)
			}
			after, _ := loop.Turns()
			if n := int(after - before); n < x.steps*3/4 || n > x.steps*5/4 {
				t.Errorf("with a period of %s %d steps were made in a second, want about %d", x.period, n, x.steps)
			}
			for n := byte(3); n < 20; n++ { // at any time since the newest step
				beat(int64(2000+int(n)), 2) // a step follows at once
				time.Sleep(time.Duration(n) * time.Millisecond)
				beat(int64(2500+int(n)), 2) // it waits
				in.Exit(actual.Exit{App: testKey(0, 1), Instance: instance(1, 0).GUID, Index: 1, Reason: actual.ExitCrashed})
				began := time.Now()
				for recorded(1) != actual.Crashed {
					time.Sleep(time.Millisecond)
				}
				if took := time.Since(began); took > gatherFor+2*time.Millisecond {
					t.Errorf("with a period of %s an exit was recorded after %s", x.period, took)
				}
				time.Sleep(100 * time.Millisecond)
				beat(int64(3000+int(n)), 1) // the crashed instance is gone
				time.Sleep(100 * time.Millisecond)
				beat(int64(4000+int(n)), 2)
				time.Sleep(100 * time.Millisecond)
			}
			cancel()
			<-done
		})
	}
}
