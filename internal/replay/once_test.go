package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// What comes through a pipe plays as the file does, compressed or not, in one go or byte by byte.
func TestAPipePlaysAsTheFile(t *testing.T) {
	text := scenes(t)["R05-crashed"].record()
	want := string(replay(t, Text("f", text)).JSON())
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
			sources, err := Sources(t.Context(), in, "-")
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // looking takes nothing away
				if h, err := ReadHeader(sources...); err != nil || h.Started.IsZero() {
					t.Fatalf("%s, %s: the header is %+v, %v", name, how, h, err)
				}
			}
			if got, err := Run(t.Context(), optionsForTests(), sources...); err != nil || string(got.JSON()) != want {
				t.Errorf("%s, %s: %v, the result is\n%s\nwant\n%s", name, how, err, got.JSON(), want)
			}
			if _, err := NewReader(sources...); err == nil || !strings.Contains(err.Error(), "standard input can be read only once") {
				t.Errorf("%s, %s: played again, the error is %v", name, how, err)
			}
		}
	}
}

func TestFilesAndPipesTogether(t *testing.T) {
	names := inParts(t, scenes(t)["R05-crashed"].record())
	second, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	files, err := Files(names...)
	if err != nil {
		t.Fatal(err)
	}
	want := string(replay(t, files...).JSON())
	names[1] = "-"
	sources, err := Sources(t.Context(), bytes.NewReader(second), names...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadHeader(sources...); err != nil {
		t.Fatal(err)
	}
	if got, err := Run(t.Context(), optionsForTests(), sources...); err != nil || string(got.JSON()) != want {
		t.Errorf("%v, the result is\n%s\nwant\n%s", err, got.JSON(), want)
	}
	if _, err := Sources(t.Context(), nil, "-", "-"); err == nil {
		t.Error("standard input may be named twice")
	}
	if _, err := Sources(t.Context(), nil, "nothing.jsonl"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the error of a file that is not there is %v", err)
	}
}

// A pipe that gives nothing holds nobody who wants to stop.
func TestASilentPipe(t *testing.T) {
	stopped := errors.New("stopped")
	for name, heard := range map[string]string{"from the start": "", "behind the header": goodHeader, "within a line": goodHeader + `{"t":"`} {
		for _, foreign := range []bool{false, true} {
			in, out := io.Pipe()
			go func() { _, _ = out.Write([]byte(heard)) }() // the reader may be gone
			ctx, cancel := context.WithCancelCause(t.Context())
			sources, err := Sources(ctx, in, "-")
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case foreign: // whose header is only known at the first message
				sources[0] = Imported(sources[0], ImportOptions{Format: FormatNATSSub})
			case heard != "":
				if _, err := ReadHeader(sources...); err != nil {
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
