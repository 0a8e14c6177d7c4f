package main

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"hm/internal/liveview"
)

// The live view draws, takes keys, and ends by a key and by its context, leaving no goroutine and no terminal mode.
func TestDevLiveView(t *testing.T) {
	takesSeconds(t)
	o := testDevOptions()
	o.nodes, o.plain = 1, false
	r := startDev(t, o)
	r.await("gate", gateOpen)
	for name, end := range map[string]func(keys io.Writer, cancel func()){
		"key":     func(keys io.Writer, _ func()) { _, _ = io.WriteString(keys, "q") },
		"control": func(keys io.Writer, _ func()) { _, _ = io.WriteString(keys, "\x03") },
		"signal":  func(_ io.Writer, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			in, keys := io.Pipe()
			out := &devTestLog{}
			ended := make(chan error, 1)
			go func() { ended <- showDevLive(ctx, newCLI(in, out, io.Discard), r.stage) }()
			count := len(r.stage.Frame().Events)
			if _, err := io.WriteString(keys, "a"); err != nil {
				t.Fatal(err)
			}
			r.await("the key's event", func(f liveview.Frame) bool { return len(f.Events) > count })
			end(keys, cancel)
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(devTestDeadline):
				t.Fatal("the live view does not end")
			}
			keys.Close()
			if text := out.String(); !strings.Contains(text, "hm dev ran for ") || !strings.Contains(text, "\x1b[?1049l") {
				t.Errorf("it ended with %q", text[max(0, len(text)-400):])
			}
			awaitGoroutines(t, before+4) // the simulation's and the API's come and go
		})
	}
}

// Lines are told once, in order, however often the totals are looked at.
func TestDevPlainLines(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 31, 12, 0, s, 0, time.UTC) }
	events := []liveview.Event{{At: at(3), Text: "c"}, {At: at(2), Text: "b"}, {At: at(1), Text: "a"}}
	for told, want := range map[int]string{0: "abc", 1: "bc", 3: ""} {
		got := ""
		for _, e := range newEvents(events, at(told)) {
			got += e.Text
		}
		if got != want {
			t.Errorf("after second %d: %q, want %q", told, got, want)
		}
	}
	var out bytes.Buffer
	for _, l := range []devLine{
		{Type: "listen", At: at(0), Places: []liveview.Place{{Name: "hm-0", Address: "http://127.0.0.1:5155"}}},
		{Type: "totals", At: at(1), Totals: &liveview.Totals{GateOpen: true}},
		{Type: "event", At: at(2), Text: "stopped NATS"},
	} {
		if err := printDevLine(&out, l); err != nil {
			t.Fatal(err)
		}
	}
	want := "hm-0  http://127.0.0.1:5155\n12:00:01.000 gate open, leader none, "
	if text := out.String(); !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "\n12:00:02.000 stopped NATS\n") {
		t.Errorf("printed %q", text)
	}
}
