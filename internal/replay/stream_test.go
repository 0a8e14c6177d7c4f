package replay

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"hm/internal/app"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

// Errors that are found while events are decoded have a position, too.
func TestMalformedEventsSayWhereAndWhy(t *testing.T) {
	at := func(second int) string {
		return time.Date(2026, 1, 15, 12, 0, second, 0, time.UTC).Format(time.RFC3339)
	}
	event := func(s string) string { return recordingtest.HeaderLine + recordingtest.DesiredLine + s + "\n" }
	for _, c := range []struct{ name, data, want string }{
		{"repeat of nothing", event(`{"t":"` + at(1) + `","type":"nats","subject":"dea.heartbeat","repeat":"dea-z"}`), "f:3: DEA dea-z cannot repeat its heartbeat"},
		{"a heartbeat's line that is no JSON", event(`{"t":"` + at(1) + `","type":"nats","subject":"dea.heartbeat","data":{"dea":"a","droplets":[]]}`), "f:3: invalid character"},
		{"a state that is none", recordingtest.HeaderLine + `{"t":"` + at(1) + `","type":"state","snapshot":"AAAA"}`, "f:2: the state cannot be restored"},
		{"a state of later", recordingtest.HeaderLine + string(recordingtest.StateLine(t, at(0), 2_000_000_000_000)), "f:2: the state is of 2033-05-18T03:33:20.000Z, which is later than the line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Run(t.Context(), optionsForTests(), recording.Text("f", []byte(c.data)))
			var e *recording.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %v, want %q in it", err, c.want)
			}
		})
	}
}

// TestARepeatedHeartbeatTakesLittleMemory: most lines of a recording are such.
func TestARepeatedHeartbeatTakesLittleMemory(t *testing.T) {
	const lines = 50_000 // so many that the buffers of the file count little
	data := recordingtest.HeaderLine + `{"t":"2026-01-15T12:00:01Z","type":"nats","subject":"dea.heartbeat","data":{"droplets":[],"dea":"dea-a"}}` + "\n" +
		strings.Repeat(`{"t":"2026-01-15T12:00:02Z","type":"nats","subject":"dea.heartbeat","repeat":"dea-a"}`+"\n", lines)
	r, err := recording.NewReader(recording.Text("f", []byte(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := newDecoder(r)
	if _, err := d.next(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range lines {
		if i, err := d.next(); err != nil || i.kind != itemHeartbeat {
			t.Fatal(i.kind, err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / lines; each > 100 {
		t.Errorf("each line takes %d bytes", each)
	}
}

// A replay of a pipe without a writer can be stopped.
func TestStopWhileAPipeBlocks(t *testing.T) {
	stopped := errors.New("stopped")
	for name, written := range map[string]string{"from the start": "", "after the header": recordingtest.HeaderLine, "within a line": recordingtest.HeaderLine + `{"t":"`} {
		for _, foreign := range []bool{false, true} {
			in, out := io.Pipe()
			go func() { _, _ = out.Write([]byte(written)) }() // the reader may be gone
			ctx, cancel := context.WithCancelCause(t.Context())
			sources, err := recording.Sources(ctx, in, "-")
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case foreign: // its header is only known at the first message
				sources[0] = recording.ImportSource(sources[0], recording.ImportOptions{Format: recording.FormatNATSSub})
			case written != "":
				if _, err := recording.ReadHeader(sources...); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			ended := make(chan error)
			go func() {
				_, err := Run(ctx, optionsForTests(), sources...)
				ended <- err
			}()
			cancel(stopped)
			if err := <-ended; !errors.Is(err, stopped) {
				t.Errorf("%s: it ends with %v", name, err)
			}
			in.Close()
		}
	}
}

// FuzzRun plays the first minutes of any input.
func FuzzRun(f *testing.F) {
	recordingtest.AddSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		opts := optionsForTests()
		opts.Settle = -1
		if h, err := recording.NewReader(recording.Text("f", data)); err == nil {
			opts.Until = app.TimeOf(h.Started().Add(3 * time.Minute)) // a long time takes long to play
			h.Close()
		}
		r, err := Run(t.Context(), opts, recording.Text("f", data))
		var e *recording.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("the error has no position: %v", err)
		}
		if err == nil && r.Events < r.Heartbeats {
			t.Fatalf("%d events, %d heartbeats", r.Events, r.Heartbeats)
		}
	})
}
