package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"hm/desired"
	"hm/internal/app"
	"hm/internal/config"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
	"hm/internal/replay"
	"hm/raftfsm"
)

// hookedNode is a hook with a recording under way.
type hookedNode struct {
	*Hook
	out   recordingtest.Buffer
	end   func() error
	began app.Time

	state *raftfsm.State
	view  atomic.Pointer[raftfsm.State] // of state

	ahead time.Duration // of hm time
}

// startHook begins a recording in a synctest bubble. slow, if not nil, is called before each write.
func startHook(t *testing.T, state *raftfsm.State, slow func()) *hookedNode {
	t.Helper()
	r := &hookedNode{state: state}
	r.view.Store(state.Freeze())
	r.Hook = NewHook(func() app.Time { return app.TimeOf(time.Now()).Add(r.ahead) })
	r.began = app.TimeOf(time.Now())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	out := io.Writer(&r.out)
	if slow != nil {
		out = writerFunc(func(p []byte) (int, error) { slow(); return r.out.Write(p) })
	}
	go func() {
		done <- r.Record(ctx, out, nil, func() Start {
			return Start{Header: recording.Header{Node: "hm-0"}, LinkUp: true, State: r.view.Load(), ReadBegan: r.began}
		})
	}()
	synctest.Wait()
	r.end = func() error { cancel(); return <-done }
	return r
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// smallState has one DEA and one desired app.
func smallState() *raftfsm.State {
	s := raftfsm.NewState()
	row := desired.App{Key: recordingtest.Key("web", "v1"), Instances: 1, State: desired.Started, Package: desired.Staged}
	s.Apply(1, 1, raftfsm.Entry{At: 1, Records: []raftfsm.Record{
		raftfsm.DEAChanges{DEA: "dea-a"}, raftfsm.DesiredChanges{Generation: 1, Upserts: []desired.App{row}}, raftfsm.DesiredCommit{Generation: 1, Parts: 1, Source: "the test"},
	}})
	return s
}

func TestHookWritesInTheOrderOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHook(t, smallState(), nil)
		now := func() app.Time { return app.TimeOf(time.Now()) }
		time.Sleep(time.Second)
		r.Message("dea.heartbeat", []byte(`{"dea":"dea-a","droplets":[]}`))
		time.Sleep(100 * time.Millisecond)
		late := now()
		time.Sleep(100 * time.Millisecond)
		r.Message("droplet.updated", []byte(`{"droplet":"web"}`))
		r.Hold(late, raftfsm.Hold{Name: "paused", By: "ann"}, false) // learned from the log only now
		r.Leaderless(late)
		r.Leader()
		r.Link(false, false)
		read, _ := desired.NewRead("the test", nil)
		r.Read(0, now(), read, nil)
		r.Read(0, now(), desired.Read{}, errors.New("no answer"))
		r.ReadApp(late, late, app.MustGUID("web"), nil, nil)
		r.Command(late, "hm9000.start", []byte(`{"message_id":"1","droplet":"web","version":"v1","instance_index":0}`))
		if strings.Contains(r.out.String(), "hold") {
			t.Error("an event was written that an earlier one may still precede")
		}
		time.Sleep(settleTime + writeEvery)
		synctest.Wait()
		if !strings.Contains(r.out.String(), "no answer") {
			t.Error("an event was not written after the settle time")
		}
		r.Message("droplet.exited", []byte(`{}`))
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if r.Active() {
			t.Error("the hook is active without a recording")
		}
		r.Message("dea.heartbeat", []byte(`{"dea":"dea-z","droplets":[]}`))
		var kinds []string
		reader, err := recording.NewReader(recording.Text("f", []byte(r.out.String())))
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		for {
			var e recording.Event
			if err := reader.Next(&e); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, fmt.Sprintf("%d%s", e.Type, e.Subject))
		}
		want := "5 2 1dea.heartbeat 6 4 2 1hm9000.start 1droplet.updated 4 3 2 2 1droplet.exited"
		if got := strings.Join(kinds, " "); got != want || reader.Header().Node != "hm-0" {
			t.Errorf("the recording has %s\nwant              %s\n%s", got, want, r.out.String())
		}
		if _, err := replay.Run(t.Context(), replay.OptionsOf(config.Default()), recording.Text("f", []byte(r.out.String()))); err != nil {
			t.Error(err)
		}
	})
}

func TestHookKeepsTheConnectionAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHook(t, smallState(), nil)
		lines := strings.Count(r.out.String(), "\n")
		time.Sleep(5*keepAliveEvery + writeEvery)
		synctest.Wait()
		if got := strings.Count(r.out.String(), "\n") - lines; got != 5 {
			t.Errorf("%d empty lines in %v, want 5", got, 5*keepAliveEvery)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}

// A recording that is too slow loses messages and has a gap there. It never delays the node.
func TestSlowRecordingHasAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stuck atomic.Bool
		r := startHook(t, smallState(), func() {
			for stuck.Load() {
				time.Sleep(writeEvery)
			}
		})
		stuck.Store(true)
		send := func(n int) {
			for range n {
				r.Message("dea.heartbeat", []byte(`{"dea":"dea-a","droplets":[]}`))
			}
		}
		send(maxQueuedMessages + 50)
		time.Sleep(2 * settleTime)
		stuck.Store(false)
		time.Sleep(2 * settleTime)
		send(1)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		out := r.out.String()
		if n := strings.Count(out, `"dea.heartbeat"`); n != maxQueuedMessages+1 {
			t.Errorf("%d heartbeats were written, want those that fit and the one after them", n)
		}
		gap := strings.Index(out, `"type":"link","up":true,"gap":true`)
		if gap < 0 || strings.Count(out[gap:], `"dea.heartbeat"`) != 1 {
			t.Error("the gap is not before the first message after the lost ones")
		}
	})
}

func TestRecordingEndsWhenItLosesOtherEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stuck atomic.Bool
		r := startHook(t, smallState(), func() {
			for stuck.Load() {
				time.Sleep(writeEvery)
			}
		})
		r.Leader()
		stuck.Store(true)
		time.Sleep(2 * settleTime)
		for range maxQueuedMessages + maxQueuedOthers + 1 {
			r.Leader()
		}
		stuck.Store(false)
		time.Sleep(2 * settleTime)
		if err := r.end(); !errors.Is(err, errBehind) {
			t.Errorf("the recording ended with %v", err)
		}
	})
}

// hm time jumps when a node receives entries late. The time of the recording does not.
func TestRecordingIgnoresJumpsOfHMTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHook(t, smallState(), nil)
		start := time.Now()
		time.Sleep(time.Second)
		r.ahead = time.Hour // an entry has arrived
		now := r.now()
		r.Leader()
		read, _ := desired.NewRead("the test", nil)
		r.Read(now, now.Add(-time.Second), read, nil)
		r.Hold(now, raftfsm.Hold{Name: "paused", Until: now.Add(time.Minute)}, false)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		reader, err := recording.NewReader(recording.Text("f", []byte(r.out.String())))
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		var e recording.Event
		for e.Type != recording.TypeHold {
			if err := reader.Next(&e); err != nil {
				t.Fatal(err)
			}
			if e.Type == recording.TypeDesired && e.At.Sub(start) == time.Second && e.At.Sub(e.Began) != time.Second {
				t.Errorf("the read was begun %v before its end, want 1 s", e.At.Sub(e.Began))
			}
		}
		if e.At.Sub(start) != time.Second || e.Hold.Until.Std().Sub(e.At) != time.Minute {
			t.Errorf("the hold is set %v after the start, until %v after that", e.At.Sub(start), e.Hold.Until.Std().Sub(e.At))
		}
	})
}
