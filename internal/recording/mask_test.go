package recording_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"hm/actual/feed"
	"hm/internal/reconcile"
	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
	"hm/raftfsm"
)

// A guid gets the same replacement in upper and lower case. The id of a DEA is case-sensitive.
func TestMaskIgnoresTheCaseOfGUIDs(t *testing.T) {
	const beat = `{"dea":"Dea","droplets":[{"droplet":"abcdef01-0a1b-4c5d-8e9f-00112233aabb","version":"fedcba98765432100123456789abcdef","instance":"deadbeef0a1b4c5d8e9f00112233abcd","index":0,"state":"RUNNING"}]}`
	var out bytes.Buffer
	w := recording.WriteTo(&out, recording.WriterOptions{Anonymize: true})
	now := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	write := func(text string) {
		t.Helper()
		if err := w.Message(now, feed.SubjectHeartbeat, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write(beat)
	for seed := range uint64(20) {
		write(recordingtest.MixCase(beat, seed))
	}
	if w.Stats.Repeated != 20 || w.Stats.LeftOut != 0 || strings.Contains(strings.ToLower(out.String()), "abcdef01") {
		t.Errorf("of 20 heartbeats with mixed case %d repeat the first\n%s", w.Stats.Repeated, out.String())
	}
	write(strings.Replace(beat, `"Dea"`, `"dEA"`, 1))
	if w.Stats.Repeated != 20 {
		t.Error("two DEAs whose ids differ in case have the same replacement")
	}
}

func TestAnonymousHoldsHideTheirNames(t *testing.T) {
	var out bytes.Buffer
	w := recording.WriteTo(&out, recording.WriterOptions{Anonymize: true})
	now := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	err := errors.Join(w.Hold(now, raftfsm.Hold{Name: "deploy-of-web", Reason: "web is being deployed", By: "ann"}, false),
		w.Hold(now, raftfsm.Hold{Name: "deploy-of-web"}, true), w.Hold(now, raftfsm.Hold{Name: reconcile.HoldPaused, By: "ann"}, false), w.Close())
	if err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Contains(text, "web") || strings.Contains(text, "ann\"") || strings.Count(text, `"name":"hold-`) != 2 || !strings.Contains(text, `"name":"paused"`) {
		t.Errorf("the recording is %s", text)
	}
	if n, err := read(recording.Text("f", out.Bytes())); err != nil || n != 3 {
		t.Errorf("it has %d events, %v", n, err)
	}
}
