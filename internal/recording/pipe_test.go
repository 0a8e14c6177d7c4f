package recording_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"hm/internal/recording"
	"hm/internal/recording/recordingtest"
)

// A pipe gives the same events as the file, compressed or not, at once or byte by byte.
func TestPipeGivesTheSameAsTheFile(t *testing.T) {
	text := recordingtest.Load(t, "R05-crashed")
	want := allOf(t, recording.Text("f", text))
	var zipped, zstandard bytes.Buffer
	g := gzip.NewWriter(&zipped)
	z, err := zstd.NewWriter(&zstandard)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, stored := range map[string][]byte{"plain": text, "gzip": zipped.Bytes(), "zstd": zstandard.Bytes()} {
		for how, in := range map[string]io.Reader{"at once": bytes.NewReader(stored), "byte by byte": iotest.OneByteReader(bytes.NewReader(stored))} {
			sources, err := recording.Sources(t.Context(), in, "-")
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // ReadHeader leaves everything to be read
				if h, err := recording.ReadHeader(sources...); err != nil || h.Started.IsZero() {
					t.Fatalf("%s, %s: the header is %+v, %v", name, how, h, err)
				}
			}
			if got := allOf(t, sources...); !slices.Equal(got, want) {
				t.Errorf("%s, %s: the events are\n%v\nwant\n%v", name, how, got, want)
			}
			if _, err := recording.NewReader(sources...); err == nil || !strings.Contains(err.Error(), "standard input can be read only once") {
				t.Errorf("%s, %s: when it is opened again the error is %v", name, how, err)
			}
		}
	}
}

// allOf returns each event with all its fields, as JSON.
func allOf(t *testing.T, sources ...recording.Source) (all []string) {
	t.Helper()
	recordingtest.Each(t, func(e *recording.Event) bool {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(text))
		return true
	}, sources...)
	return all
}

func TestPipeAmongFiles(t *testing.T) {
	names := recordingtest.InFiles(t, recordingtest.Load(t, "R05-crashed"))
	second, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	files, err := recording.Files(names...)
	if err != nil {
		t.Fatal(err)
	}
	want := allOf(t, files...)
	names[1] = "-"
	sources, err := recording.Sources(t.Context(), bytes.NewReader(second), names...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recording.ReadHeader(sources...); err != nil {
		t.Fatal(err)
	}
	if got := allOf(t, sources...); !slices.Equal(got, want) {
		t.Errorf("the events are\n%v\nwant\n%v", got, want)
	}
	if _, err := recording.Sources(t.Context(), nil, "-", "-"); err == nil {
		t.Error("standard input may be given twice")
	}
	if _, err := recording.Sources(t.Context(), nil, "nothing.jsonl"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error of a missing file is %v", err)
	}
}
