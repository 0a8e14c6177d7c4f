package feed

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hm/actual"
	"hm/internal/app"
	"hm/internal/bus"
	"hm/internal/bus/bustest"
)

// recordingSink is a Sink that keeps everything that it gets.
type recordingSink struct {
	mu         sync.Mutex
	newest     map[Digest]bool
	heartbeats []actual.Heartbeat
	exits      []actual.Exit
	updates    []app.GUID
	garbled    map[string]int // by "sender: reason"
}

func (r *recordingSink) Unchanged(d Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest[d]
}

func (r *recordingSink) Heartbeat(hb actual.Heartbeat, d Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest[d] = true
	r.heartbeats = append(r.heartbeats, hb)
}

func (r *recordingSink) Garbled(dea, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if why == "" {
		why = "nothing"
	}
	if r.garbled == nil {
		r.garbled = map[string]int{}
	}
	r.garbled[dea+": "+strings.SplitN(why, ":", 2)[0]]++
}

func (r *recordingSink) Exit(e actual.Exit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exits = append(r.exits, e)
}

func (r *recordingSink) Updated(g app.GUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.updates = append(r.updates, g)
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Malformed and huge messages arrive on every subject, with good ones in between. The Sink gets the good ones; the
// others are counted, and nothing else happens (I10, N08, N13).
func TestFeedOverNATS(t *testing.T) {
	srv := bustest.Run(t, func(o *server.Options) { o.MaxPayload = MaxHeartbeat + 1024; o.MaxPending = 256 << 20 })
	link, err := bus.Open(bus.Options{Servers: []string{srv.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	sink, log := &recordingSink{newest: map[Digest]bool{}}, &logBuffer{}
	f, err := Open(link, sink, time.Second, nil, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "the link is up", func() bool { return link.State().Up })
	nc := bustest.Client(t, srv.URL())

	huge := bytes.Repeat([]byte(" "), MaxHeartbeat+1)
	bad := [][]byte{
		nil, []byte("{}"), []byte("[]"), []byte("null"), []byte("\x00\xff\xfe"), []byte(`{"droplets":`), []byte(`{"dea":1,"droplets":2}`),
		[]byte(`{"dea":"dea-9","droplets":[NaN]}`), []byte(`{"droplet":7}`), bytes.Repeat([]byte("["), 1<<16),
	}
	const rounds = 10
	for n := range rounds {
		for _, subject := range []string{SubjectHeartbeat, SubjectExited, SubjectUpdated} {
			for _, data := range bad {
				if err := nc.Publish(subject, data); err != nil {
					t.Fatal(err)
				}
			}
			if n == 0 {
				if err := nc.Publish(subject, huge); err != nil {
					t.Fatal(err)
				}
			}
		}
		good := beat(entry(map[string]string{"index": fmt.Sprint(n)}), `{"droplet":"`+d1+`"}`)
		for subject, data := range map[string][]byte{
			SubjectHeartbeat: good, SubjectExited: []byte(exit(map[string]string{"index": fmt.Sprint(n)})), SubjectUpdated: []byte(`{"droplet":"` + d1 + `"}`),
		} {
			if err := nc.Publish(subject, data); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Publish(SubjectHeartbeat, good); err != nil { // the same heartbeat again
			t.Fatal(err)
		}
		bustest.Until(t, "the heartbeats are handled", func() bool { // else the next round's replace them
			c := f.Stats().Heartbeats
			return c.Decoded+c.Unchanged+c.Superseded >= uint64(2*(n+1))
		})
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}

	bytesSent := uint64(0)
	for _, data := range bad {
		bytesSent += uint64(len(data)) * rounds
	}
	refused := uint64((len(bad) - 1) * rounds) // one of the bad messages is nested too deeply, which counts as too large
	wantExits := Counts{Received: refused + rounds + 1 + rounds, Decoded: rounds, Malformed: refused, TooLarge: rounds + 1}
	wantHeartbeats := wantExits
	wantHeartbeats.Received += rounds
	wantHeartbeats.Unchanged = rounds
	wantHeartbeats.Rejected = rounds
	received := func() (s Stats) {
		s = f.Stats()
		for _, c := range []*Counts{&s.Heartbeats, &s.Exits, &s.Updates} {
			if c.Bytes < bytesSent+uint64(len(huge)) {
				c.Malformed = 0 // not all messages have arrived
			}
			c.Bytes = 0
		}
		// The second of two equal heartbeats repeats the first, or replaces it while it waits.
		s.Heartbeats.Unchanged, s.Heartbeats.Superseded = s.Heartbeats.Unchanged+s.Heartbeats.Superseded, 0
		return s
	}
	want := Stats{Heartbeats: wantHeartbeats, Exits: wantExits, Updates: wantExits}
	bustest.Until(t, "all messages are counted", func() bool {
		s := f.Stats()
		return s.Heartbeats.Received >= wantHeartbeats.Received && s.Exits.Received >= wantExits.Received && s.Updates.Received >= wantExits.Received &&
			s.Updates.Decoded >= rounds && s.Exits.Decoded >= rounds && s.Heartbeats.Decoded+s.Heartbeats.Unchanged+s.Heartbeats.Superseded >= 2*rounds
	})
	if got := received(); got != want {
		t.Errorf("counted %+v\nwant    %+v", got, want)
	}
	f.Close()
	if len(sink.heartbeats) != rounds || len(sink.exits) != rounds || len(sink.updates) != rounds {
		t.Errorf("the sink has %d heartbeats, %d exits, %d updates, want %d of each", len(sink.heartbeats), len(sink.exits), len(sink.updates), rounds)
	}
	if len(sink.garbled) != 1 || sink.garbled["dea-9: message is malformed"] != rounds {
		t.Errorf("Garbled was called with %v, want %d messages of dea-9", sink.garbled, rounds)
	}
	for n, hb := range sink.heartbeats {
		if len(hb.Instances) != 1 || hb.Instances[0].Index != uint32(n) || hb.Rejected != 1 {
			t.Errorf("heartbeat %d is %+v", n, show(hb))
		}
	}
	if n := strings.Count(log.String(), "\n"); n < 4 || n > 40 {
		t.Errorf("%d lines of log for %d bad messages:\n%s", n, 3*len(bad)*rounds, log.String())
	}
	if s := link.State(); !s.Up || s.Outages != 0 || s.Gaps != 0 {
		t.Errorf("the link had an outage or a gap: %+v", s)
	}

	before := f.Stats()
	if err := nc.Publish(SubjectUpdated, []byte(`{"droplet":"`+d1+`"}`)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := link.Close(); err != nil { // drains: the message has been handled then
		t.Fatal(err)
	}
	if s := f.Stats(); s != before || len(sink.updates) != rounds {
		t.Error("a closed Feed has handled a message")
	}
	if _, err := Open(link, sink, time.Second, nil, nil); err == nil {
		t.Error("Open succeeds on a closed link")
	}
}

func TestDigests(t *testing.T) {
	for name, make := range map[string]func() Digester{"keyed": NewDigester, "fast": NewFastDigester} {
		t.Run(name, func(t *testing.T) {
			a, b := make(), make()
			data := dea(1, 3)
			seen := map[Digest]int{a.Sum(nil): -1}
			for i := range data {
				if j, twice := seen[a.Sum(data[:i+1])]; twice {
					t.Fatalf("the first %d and %d bytes have the same digest", i+1, j)
				}
				seen[a.Sum(data[:i+1])] = i + 1
			}
			whole := a.Sum(data)
			if whole != a.Sum(bytes.Clone(data)) {
				t.Error("equal payloads have different digests")
			}
			if whole == b.Sum(data) {
				t.Error("two Digesters have the same key")
			}
			data[len(data)/2] ^= 1
			if whole == a.Sum(data) {
				t.Error("a changed bit does not change the digest")
			}
		})
	}
}
