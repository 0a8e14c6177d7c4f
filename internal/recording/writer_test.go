package recording_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

// The Writer writes a recording as it was read.
func TestWriterWritesWhatIsRead(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordingtest.Corpus, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the corpus has %d files, %v", len(files), err)
	}
	for _, path := range files {
		if strings.HasPrefix(filepath.Base(path), "case-") {
			continue // not written by hm
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		h, err := recording.ReadHeader(recording.Text(path, data))
		if err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		w := recording.WriteTo(&again, recording.WriterOptions{Header: h})
		recordingtest.Rewrite(t, w, data)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), data) {
			t.Errorf("%s is written differently", path)
		}
	}
}

func TestWriterNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := recording.Create(path, recording.WriterOptions{}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("the error is %v", err)
	}
	numbered := filepath.Join(filepath.Dir(path), "r.0001.jsonl")
	if err := os.WriteFile(numbered, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := recording.Create(path, recording.WriterOptions{MaxBytes: 100}) // continues after the existing parts
	if err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(filepath.Dir(path), "r.0002.jsonl")
	if err := os.WriteFile(second, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Link(time.Now(), true, false), w.Close()); err == nil || !strings.Contains(err.Error(), "r.0002.jsonl exists already") {
		t.Errorf("the error of a numbered file is %v", err)
	}
	for _, p := range []string{path, numbered, second} {
		if text, err := os.ReadFile(p); err != nil || string(text) != "precious" {
			t.Errorf("%s is now %q, %v", p, text, err)
		}
	}
}

// A file name with the ending of another compression is refused.
func TestWriterRefusesOtherEndings(t *testing.T) {
	for name, good := range map[string]bool{
		"r": true, "r.jsonl": true, "r.txt": true, "r.gz": true, "r.jsonl.zst": true, "r.2026.01.15": true,
		"r.jsonl.bz2": false, "r.JSONL.GZ": false, "r.zstd": false, "r.xz": false,
	} {
		if _, err := recording.Create(filepath.Join(t.TempDir(), name), recording.WriterOptions{}); (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriterRotatesBySize(t *testing.T) {
	data := recordingtest.Load(t, "R05-crashed")
	files, err := recording.Files(recordingtest.InFiles(t, data)...)
	if err != nil {
		t.Fatal(err)
	}
	messages := func(sources ...recording.Source) (n int) {
		for _, e := range recordingtest.Events(t, sources...) {
			if e == "nats" || strings.HasPrefix(e, "repeat") {
				n++
			}
		}
		return n
	}
	if got, want := messages(files...), messages(recording.Text("f", data)); got != want {
		t.Errorf("the files have %d messages, want %d", got, want)
	}
}
