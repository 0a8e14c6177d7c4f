package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"hm/actual/feed"
	"hm/desired"
	"hm/internal/app"
	"hm/internal/reconcile"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

// cut returns the rest of a recording from a time on, with the state at that time or without.
func cut(t *testing.T, data []byte, at time.Time, anonymize, state bool) []byte {
	t.Helper()
	reader, err := recording.NewReader(recording.Text("f", data))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	opts := optionsForTests()
	opts.Until = app.TimeOf(at)
	p := newPlayer(opts, app.TimeOf(reader.Started()))
	s := newStream(t.Context(), reader)
	if err := p.play(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := recording.WriteTo(&out, recording.WriterOptions{Header: recording.Header{Note: "begins in the middle"}, Anonymize: anonymize})
	if state {
		err = w.State(at, p.View())
	}
	again, rerr := recording.NewReader(recording.Text("f", data))
	if err := errors.Join(err, rerr); err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	var read desired.Read
	payloads := map[string][]byte{}
	for begun := false; ; {
		var e recording.Event
		if err := again.Next(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if e.Type == recording.TypeDesired && !e.Unchanged && e.Failed == "" {
			read = e.Read
		}
		if e.Repeat != "" {
			e.Data = payloads[e.Repeat]
		} else if hb, err := feed.DecodeHeartbeat(e.Data); err == nil && e.Subject == feed.SubjectHeartbeat {
			payloads[hb.DEA] = bytes.Clone(e.Data)
		}
		if !e.At.After(at) {
			continue
		}
		var err error
		if !begun {
			begun = true
			err = w.Desired(at, at, read, nil)
		}
		switch e.Type {
		case recording.TypeNATS:
			err = errors.Join(err, w.Message(e.At, e.Subject, e.Data))
		case recording.TypeDesired:
			err = errors.Join(err, w.Desired(e.At, e.Began, read, nil))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A recording that begins in the middle of a crash loop has the same delays, because it begins with the state.
func TestRecordingBeginsWithTheState(t *testing.T) {
	whole := scenes(t)["R07-crash-loop"].record()
	at := time.Date(2026, 1, 15, 12, 2, 56, 0, time.UTC) // after the fifth crash, before the restarts at 12:03:54 and 12:06:24
	starts := func(data []byte) (times []string) {
		r, err := Run(t.Context(), optionsForTests(), recording.Text("f", data))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Commands {
			if app.Time(c.At) > app.TimeOf(at) {
				times = append(times, c.At.String()[11:19]+" "+c.Reason)
			}
		}
		return times
	}
	want := strings.Join(starts(whole), ", ")
	if got := strings.Join(starts(cut(t, whole, at, false, true)), ", "); got != want || want == "" {
		t.Errorf("with the state it starts at %s, the whole recording at %s", got, want)
	}
	if got := strings.Join(starts(cut(t, whole, at, false, false)), ", "); got == want {
		t.Errorf("without the state it starts at %s as well, so this test proves nothing", got)
	}
	if got := strings.Join(starts(cut(t, whole, at, true, true)), ", "); got != want {
		t.Errorf("anonymized it starts at %s, the whole recording at %s", got, want)
	}
}

// The state in an anonymized recording is anonymized, too.
func TestStateIsAnonymized(t *testing.T) {
	whole := scenes(t)["R07-crash-loop"].record()
	whole = append(whole, []byte(`{"t":"2026-01-15T12:29:00Z","type":"hold","name":"maintenance-of-acme","set":true,"reason":"told by acme","by":"wile"}`+"\n")...)
	hidden := cut(t, whole, time.Date(2026, 1, 15, 12, 30, 0, 0, time.UTC), true, true)
	s := recordingtest.State(t, hidden)
	if n := len(s.Holds()); n != 1 || s.Counts().Instances == 0 {
		t.Errorf("%d holds, %+v", n, s.Counts())
	}
	var text strings.Builder
	for a := range s.Apps() {
		fmt.Fprintln(&text, a.Key, s.Crashes(a.Key), s.Commands(a.Key), s.Instances(nil, a.Key))
	}
	for d := range s.DEAs() {
		fmt.Fprintln(&text, d.ID)
	}
	fmt.Fprintln(&text, s.Holds(), s.DesiredMeta().Source)
	for _, secret := range []string{"web", "acme", "wile", "dea-a", "v1", "Cloud Controller"} {
		if strings.Contains(text.String(), secret) {
			t.Errorf("%q is still in the state:\n%s", secret, text.String())
		}
	}
}

// Holds that people set and release have an effect. Releasing a hold that the replay does not have changes nothing.
func TestHoldsOfPeople(t *testing.T) {
	whole := scenes(t)["R01-missing"].record()
	play := func(lines ...string) Result {
		t.Helper()
		var out bytes.Buffer
		for _, l := range strings.SplitAfter(string(whole), "\n") {
			for len(lines) > 0 && len(l) > 26 && strings.Compare(l[6:25], lines[0][6:25]) >= 0 && !strings.Contains(l, `"header"`) {
				out.WriteString(lines[0] + "\n")
				lines = lines[1:]
			}
			out.WriteString(l)
		}
		r, err := Run(t.Context(), optionsForTests(), recording.Text("f", out.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	free := play()
	if len(free.Commands) != 1 {
		t.Fatalf("%d commands without a hold, want one", len(free.Commands))
	}
	at := func(d time.Duration) string { return app.Time(free.Commands[0].At).Std().Add(d).Format(time.RFC3339) }
	only := func(r Result) string {
		if len(r.Commands) != 1 {
			return fmt.Sprint(r.Commands)
		}
		return app.Time(r.Commands[0].At).Std().Format(time.RFC3339)
	}
	set := `{"t":"` + at(-20*time.Second) + `","type":"hold","name":"paused","set":true,"reason":"maintenance","by":"ann"}`
	if r := play(set); len(r.Commands) != 0 || r.Gate[2].Reasons[0] != reconcile.ReasonPaused {
		t.Errorf("paused: %d commands; gate %v", len(r.Commands), r.Gate)
	}
	release := `{"t":"` + at(5*time.Second) + `","type":"hold","name":"paused","set":false}`
	if got := only(play(set, release)); got != at(5*time.Second) {
		t.Errorf("paused for 25 s: started at %s, want %s", got, at(5*time.Second))
	}
	until := strings.Replace(set, `"reason"`, `"until":"`+at(4*time.Second)+`","reason"`, 1)
	if got := only(play(until)); got != at(4*time.Second) {
		t.Errorf("paused with an end: started at %s, want %s", got, at(4*time.Second))
	}
	if r := play(strings.Replace(release, "paused", "mass-loss", 1)); len(r.Commands) != 1 {
		t.Errorf("after the release of a hold that was not set: %d commands", len(r.Commands))
	}
}

// A read of one app counts at once, and a complete read that was begun earlier does not undo it.
func TestReadsOfOneApp(t *testing.T) {
	var out bytes.Buffer
	w := recording.WriteTo(&out, recording.WriterOptions{})
	start := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	row := func(n uint32) []desired.App {
		return []desired.App{{Key: recordingtest.Key("web", "v1"), Instances: n, State: desired.Started, Package: desired.Staged}}
	}
	read, err := desired.NewRead("the test", row(0))
	if err != nil {
		t.Fatal(err)
	}
	err = w.Desired(start, start, read, nil)
	for s := range 12 {
		at := start.Add(time.Duration(s) * 10 * time.Second)
		err = errors.Join(err, w.Message(at, feed.SubjectHeartbeat, []byte(`{"dea":"dea-a","droplets":[]}`)))
		if s == 4 {
			err = errors.Join(err, w.DesiredApp(at.Add(2*time.Second), at.Add(time.Second), app.MustGUID("web"), row(1), nil),
				w.Desired(at.Add(3*time.Second), at, read, nil), w.DesiredApp(at.Add(4*time.Second), at.Add(3*time.Second), app.MustGUID("web"), nil, errors.New("no answer")))
		}
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), optionsForTests(), recording.Text("f", out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Commands) == 0 || r.Commands[0].App != "web" || r.Commands[0].At.String() != "2026-01-15T12:01:12.000Z" {
		t.Errorf("commands %v, want the first at 12:01:12: a grace after the read at 12:00:42\n%s", r.Commands, out.Bytes())
	}
}
