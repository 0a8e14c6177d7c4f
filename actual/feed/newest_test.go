package feed

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
)

// otherInstance is the text of an entry with another instance.
func otherInstance(n int) string {
	return entry(map[string]string{"instance": fmt.Sprintf(`"%032x"`, n), "index": fmt.Sprint(n)})
}

func TestListsSame(t *testing.T) {
	one, two, three := otherInstance(1), otherInstance(2), otherInstance(3)
	spaced := strings.ReplaceAll(one, `"instance":`, `"instance" : `)
	short := entry(map[string]string{"instance": `"i1"`})
	for _, c := range []struct {
		name         string
		newer, older []byte
		want         bool
	}{
		{"the same list", beat(one, two), beat(one, two), true},
		{"an instance more", beat(one, two), beat(one), true},
		{"the first instance moved", beat(two, one), beat(one), true},
		{"the first instance gone", beat(two), beat(one, two), false},
		{"two DEAs", beat(two, three), beat(one), false},
		{"nothing any more", beat(), beat(one), false},
		{"nothing before", beat(one), beat(), true},
		{"spaces", beat(one), beat(spaced), true},
		{"a guid that is too short to tell", beat(short), beat(short), false},
		{"no guid", beat(one), beat(`{"droplet":"x"}`), false},
		{"cut off in a guid", beat(one), []byte(`{"droplets":[{"instance":"abc`), false},
		{"cut off before a guid", beat(one), []byte(`{"droplets":[{"instance"`), false},
		{"nothing", beat(one), nil, false},
	} {
		if got := listsSame(c.newer, c.older); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// slowSink is a sink that waits in each heartbeat until it may go on.
type slowSink struct {
	recordingSink
	entered, goOn chan struct{}
	end           chan struct{} // closed when the test ends
}

func (s *slowSink) Heartbeat(hb actual.Heartbeat, d Digest) {
	select {
	case s.entered <- struct{}{}:
		select {
		case <-s.goOn:
		case <-s.end:
		}
	case <-s.end:
	}
	s.recordingSink.Heartbeat(hb, d)
}

// TestW12NewestOfBoth: of the heartbeats that wait, only the newest of a DEA is decoded. If two DEAs use one id, the list
// of neither replaces the other's. All are recorded.
func TestW12NewestOfBoth(t *testing.T) {
	srv := bustest.Run(t, nil)
	link, err := bus.Open(bus.Options{Servers: []string{srv.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	sink := &slowSink{recordingSink{newest: map[Digest]bool{}}, make(chan struct{}), make(chan struct{}), make(chan struct{})}
	defer close(sink.end)
	seen := make(chan string, 100)
	f, err := Open(link, sink, time.Second, func(_ string, data []byte) { seen <- string(data) }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", func() bool { return link.State().Up })
	nc := bustest.Client(t, srv.URL())
	var sent []string
	send := func(entries ...string) {
		sent = append(sent, string(beat(entries...)))
		if err := nc.Publish(SubjectHeartbeat, beat(entries...)); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	send(otherInstance(1))
	<-sink.entered
	send(otherInstance(1), otherInstance(11))
	send(otherInstance(1), otherInstance(12))
	send(otherInstance(1), otherInstance(13))
	send(otherInstance(2))                    // the other DEA
	send(otherInstance(2), otherInstance(22)) // replaces it
	send(otherInstance(1), otherInstance(14))
	// While the first one is handled, the next ones reach this process: none of them is handled before all have.
	if err := nc.Publish(SubjectExited, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "a later message has arrived", func() bool { return f.Stats().Exits.Received == 1 })
	go func() {
		for range 3 {
			sink.goOn <- struct{}{}
			<-sink.entered
		}
	}()
	bustest.Until(t, "the last is decoded", func() bool {
		c := f.Stats().Heartbeats
		return c.Received == 7 && c.Decoded == 4
	})
	sink.goOn <- struct{}{}
	if err := link.Close(); err != nil {
		t.Fatal(err)
	}
	var lists []string
	for _, hb := range sink.heartbeats {
		var ids []string
		for _, in := range hb.Instances {
			ids = append(ids, strings.TrimLeft(in.GUID.String(), "0"))
		}
		lists = append(lists, strings.Join(ids, " "))
	}
	if want := []string{"1", "1 d", "2 16", "1 e"}; !slices.Equal(lists, want) {
		t.Errorf("decoded %q, want %q", lists, want)
	}
	if c := f.Stats().Heartbeats; c.Superseded != 3 {
		t.Errorf("counted %+v", c)
	}
	close(seen)
	var got []string
	for text := range seen {
		if text != "{}" {
			got = append(got, text)
		}
	}
	if !slices.Equal(got, sent) {
		t.Errorf("recorded %d messages, sent %d", len(got), len(sent))
	}
}
