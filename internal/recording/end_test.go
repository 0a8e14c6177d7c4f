package recording_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

// EndOf agrees with the golden results of the corpus.
func TestEndOf(t *testing.T) {
	goldens, err := filepath.Glob(filepath.Join(recordingtest.Corpus, "*.json"))
	if err != nil || len(goldens) == 0 {
		t.Fatalf("the corpus has %d golden results, %v", len(goldens), err)
	}
	for _, golden := range goldens {
		text, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		var want struct{ Ended string }
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		paths, err := filepath.Glob(strings.TrimSuffix(golden, ".json") + ".jsonl*")
		if err != nil || len(paths) != 1 {
			t.Fatalf("%s is of %d recordings, %v", golden, len(paths), err)
		}
		files, err := recording.Files(paths...)
		if err != nil {
			t.Fatal(err)
		}
		if end, err := recording.EndOf(t.Context(), files...); err != nil || end.String() != want.Ended {
			t.Errorf("%s ends at %v, %v; want %v", paths[0], end, err, want.Ended)
		}
	}
}

func TestEndOfFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	good := recording.Text("good", []byte(recordingtest.HeaderLine+recordingtest.DesiredLine))
	if _, err := recording.EndOf(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("after it was cancelled the error is %v", err)
	}
	if _, err := recording.EndOf(t.Context(), recording.Text("bad", []byte(recordingtest.HeaderLine+"{}\n"))); err == nil {
		t.Error("a malformed recording has an end")
	}
}
