package replay

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

func TestImportWithADesiredState(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"rows.json": `[{"id":"web","version":"v1","instances":2,"state":"STARTED","package_state":"STAGED"}]`,
		"bulk.json": `{"results":{"web":{"id":"web","version":"v1","instances":2,"state":"STARTED","package_state":"STAGED","memory":64}},"bulk_token":{"id":7}}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := recording.ReadDesired(path)
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		for s := 0; s < 120; s += 10 {
			at := time.Date(2026, 1, 15, 12, 0, s, 0, time.UTC)
			log.WriteString(at.Format(time.RFC3339) + ` dea.heartbeat {"dea":"dea-a","droplets":[{"droplet":"web","version":"v1","instance":"web-0","index":0,"state":"RUNNING"}]}` + "\n")
		}
		r, err := Run(t.Context(), optionsForTests(), recording.ImportSource(recording.Text("f", []byte(log.String())), recording.ImportOptions{Format: recording.FormatHM9000, Desired: &read, Poll: time.Minute}))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Commands) == 0 || r.Commands[0].Action != "start" || r.Commands[0].Index != 1 {
			t.Errorf("%s: commands %+v", name, r.Commands)
		}
	}
	bad := filepath.Join(dir, "bad.json")
	for _, text := range []string{`{}`, `[{"id":"web"}]`, `nonsense`} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := recording.ReadDesired(bad); err == nil || !strings.Contains(err.Error(), "bad.json") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAnonymizedRecordingGivesTheSameCommands(t *testing.T) {
	for _, name := range []string{"R05-crashed", "R20-duplicate", "R26-evacuation", "R34-exit-crashed", "outage-dea-lost"} {
		data := scenes(t)[name].record()
		var hidden bytes.Buffer
		w := recording.WriteTo(&hidden, recording.WriterOptions{Header: recording.Header{Node: "hm-of-a-customer"}, Anonymize: true})
		recordingtest.Rewrite(t, w, data)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"web-0", `"web"`, "api-", `"dea-a"`, "Cloud Controller", "customer"} { // with quotes, since a replacement may contain dea-a
			if strings.Contains(hidden.String(), secret) {
				t.Errorf("%s: %q is still in\n%s", name, secret, hidden.String())
			}
		}
		shape := func(r Result) (s []string) {
			for _, c := range r.Commands {
				s = append(s, c.At.String()+c.Action+c.Reason)
			}
			return s
		}
		want, got := shape(replay(t, recording.Text("f", data))), shape(replay(t, recording.Text("f", hidden.Bytes())))
		if strings.Join(got, "\n") != strings.Join(want, "\n") || len(want) == 0 {
			t.Errorf("%s: anonymized, the commands are %v, want %v", name, got, want)
		}
	}
}
