package feed

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"hm/internal/bus"
	"hm/internal/bus/bustest"
)

// Heartbeats that do not come over NATS go the same way, and are counted apart: a DEA that sends one in two ways is
// decoded once.
func TestPosts(t *testing.T) {
	srv := bustest.Run(t, nil)
	link, err := bus.Open(bus.Options{Servers: []string{srv.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	sink := &recordingSink{newest: map[Digest]bool{}}
	var recorded [][]byte
	var f *Feed
	f, err = Open(link, sink, time.Second, func(subject string, data []byte) {
		if subject == SubjectHeartbeat {
			recorded = append(recorded, data)
		}
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", func() bool { return link.State().Up })
	good, garbled := beat(entry(nil)), []byte(`{"droplets":[7`)
	if err := bustest.Client(t, srv.URL()).Publish(SubjectHeartbeat, good); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "it is heard", func() bool { return f.Stats().Heartbeats.Decoded == 1 })

	posted, relayed := f.Posts(sink), f.Posts(sink)
	if err := posted.Take(bytes.Clone(good)); err != nil {
		t.Error(err)
	}
	if err := posted.Take(garbled); !errors.Is(err, ErrMalformed) {
		t.Errorf("a heartbeat that is cut off: %v", err)
	}
	if err := posted.Take(make([]byte, MaxHeartbeat+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a heartbeat that is too large: %v", err)
	}
	if !relayed.Repeats(DigesterOf(relayed.Key()).Sum(good)) || relayed.Repeats(DigesterOf(relayed.Key()).Sum(garbled)) {
		t.Error("a digest that another node has made is not known, or one is that was never heard")
	}
	if c := f.Stats().Heartbeats; c.Received != 1 {
		t.Errorf("over NATS: %+v", c)
	}
	want := Counts{Received: 3, Bytes: uint64(len(good) + len(garbled) + MaxHeartbeat + 1), Unchanged: 1, Malformed: 1, TooLarge: 1}
	if c := posted.Counts(); c != want {
		t.Errorf("posted: %+v, want %+v", c, want)
	}
	if c := relayed.Counts(); c != (Counts{Received: 1, Unchanged: 1}) {
		t.Errorf("relayed: %+v", c)
	}
	if !slices.EqualFunc(recorded, [][]byte{good, good, garbled, make([]byte, MaxHeartbeat+1)}, bytes.Equal) {
		t.Errorf("%d messages are recorded", len(recorded))
	}
	f.Close()
	if err := posted.Take(good); !errors.Is(err, ErrClosed) || relayed.Repeats(DigesterOf(relayed.Key()).Sum(good)) {
		t.Errorf("a feed that is closed takes heartbeats: %v", err)
	}
}
