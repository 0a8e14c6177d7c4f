package recorder

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/desired"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
	"hm/internal/config"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
	"hm/internal/replay"
	"hm/raftfsm"
)

// source fails with each of errs once, and then returns read.
type source struct {
	mu   sync.Mutex
	errs []error
	read desired.Read
}

func (s *source) Read(context.Context) (desired.Read, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return desired.Read{}, err
	}
	return s.read, nil
}

func TestListenRecordsMessagesAndReads(t *testing.T) {
	nats := bustest.Run(t, nil)
	link, err := bus.Open(bus.Options{Servers: []string{nats.URL()}, PingInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	read, err := desired.NewRead("the test", []desired.App{{Key: recordingtest.Key("web", "v1"), Instances: 1, State: desired.Started, Package: desired.Staged}})
	if err != nil {
		t.Fatal(err)
	}
	var out recordingtest.Buffer
	w := recording.WriteTo(&out, recording.WriterOptions{Header: recording.Header{Note: "a test"}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	term, holds, unreachable := uint64(3), []raftfsm.Hold(nil), true
	var logged recordingtest.Buffer
	done := make(chan error, 1)
	go func() {
		done <- Listen(ctx, ListenOptions{
			Link: link, Source: &source{errs: []error{errors.New("not yet")}, read: read}, Writer: w, PollInterval: 300 * time.Millisecond, ReadTimeout: time.Second,
			AskNode: func(context.Context) (NodeInfo, error) {
				mu.Lock()
				defer mu.Unlock()
				if unreachable {
					return NodeInfo{}, errors.New("connection refused")
				}
				return NodeInfo{Term: term, Holds: holds}, nil
			},
			Logger: slog.New(slog.NewTextHandler(&logged, nil)),
		})
	}()
	has := func(what string) {
		t.Helper()
		bustest.Until(t, "the recording has "+what, func() bool { return strings.Contains(out.String(), what) })
	}
	has(`"error":"not yet"`)
	has(`"apps":[{"id":"web"`)
	has(`"unchanged":true`)
	client := bustest.Client(t, nats.URL())
	publish := func(subject, data string) {
		t.Helper()
		if err := errors.Join(client.Publish(subject, []byte(data)), client.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	// The subscriptions may not exist yet, so the DEA sends its heartbeat again and again.
	bustest.Until(t, "a heartbeat is recorded", func() bool {
		publish("dea.heartbeat", `{"dea":"dea-a","droplets":[]}`)
		return strings.Contains(out.String(), `"repeat":"dea-a"`)
	})
	for _, s := range []string{"droplet.exited", "droplet.updated", "hm9000.start", "hm9000.stop"} {
		publish(s, `{"what":"`+s+`"}`)
		has(`"subject":"` + s + `","data":{"what":"` + s + `"}`)
	}
	publish("dea.heartbeat", "no JSON")
	has(`"base64":"bm8gSlNPTg=="`)
	logs := func(what string) {
		t.Helper()
		bustest.Until(t, "it logs "+what, func() bool { return strings.Count(logged.String(), what) == 1 })
	}
	logs("the node does not answer") // once, however often it is asked
	mu.Lock()
	unreachable = false
	mu.Unlock()
	logs("the node answers again")
	mu.Lock()
	term++
	holds = []raftfsm.Hold{{Name: "paused", By: "ann"}, {Name: "mass-loss", By: "hm"}}
	mu.Unlock()
	has(`"type":"leader","change":true`)
	has(`"type":"hold","name":"paused","set":true,"by":"ann"`)
	mu.Lock()
	holds = nil
	mu.Unlock()
	has(`"type":"hold","name":"paused","set":false`)
	if strings.Contains(out.String(), "mass-loss") {
		t.Error("a hold that hm has set is recorded, but a replay sets it by itself")
	}
	nats.Stop()
	has(`"type":"link","up":false`)
	nats.Start(t, nil)
	has(`"type":"link","up":true`)
	cancel()
	if err := errors.Join(<-done, w.Close()); err != nil {
		t.Fatal(err)
	}
	if r, err := replay.Run(t.Context(), replay.OptionsOf(config.Default()), recording.Text("f", []byte(out.String()))); err != nil || r.Heartbeats < 2 {
		t.Errorf("the replay of the recording gives %+v, %v", r, err)
	}
}

// fullDisk fails after some bytes.
type fullDisk struct{ after int }

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestListenEndsWhenItCannotWrite(t *testing.T) {
	nats := bustest.Run(t, nil)
	link, err := bus.Open(bus.Options{Servers: []string{nats.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	w := recording.WriteTo(&fullDisk{after: 150}, recording.WriterOptions{})
	err = Listen(t.Context(), ListenOptions{Link: link, Source: &source{}, Writer: w, PollInterval: 20 * time.Millisecond, ReadTimeout: time.Second})
	if !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("the error is %v", err)
	}
}
