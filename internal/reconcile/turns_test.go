package reconcile

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/app"
)

// TestTurns: a loop that waits for work is not busy, and one that hangs in a turn ends none.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		cf := newSimCF(t, opts)
		cf.desire(20, 1, false)
		h := &hanging{apps: cf.apps}
		log := &liveLog{cf: cf, start: cf.now, began: time.Now()}
		var loop *Loop
		intake := NewIntake(log, actual.NewLiveness(hb, 3*hb, 3*hb, log.Now()), func() { loop.Wake() })
		entered, release := make(chan struct{}), make(chan struct{})
		loop = NewLoop(LoopOptions{
			Options: cf.opts, Log: log, Leader: log, Publisher: h, Source: h, Intake: intake, ReadTimeout: time.Hour,
			ReadEnded: func(app.Time, desired.Read, error) { // in the loop's own goroutine
				close(entered)
				<-release
			},
		}, cf.endedCommands)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { loop.Run(ctx); close(done) }()
		<-entered
		stuckAt, _ := loop.Turns()
		for range 10 {
			time.Sleep(hb)
			loop.Wake()
			now, busy := loop.Turns()
			if now != stuckAt || !busy {
				t.Fatalf("%d turns have ended, %d before; busy is %t: the turn hangs", now, stuckAt, busy)
			}
		}
		close(release)
		time.Sleep(hb)
		synctest.Wait()
		if now, busy := loop.Turns(); now <= stuckAt || busy {
			t.Errorf("%d turns have ended, %d before; busy is %t: the loop goes on and waits for work", now, stuckAt, busy)
		}
		cancel()
		<-done
	})
}
