package recording

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// Some lines fit into one chunk, and some do not.
func TestLinesOfEveryLength(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var text []byte
		var want []string
		for range 12 {
			n := []int{0, 10, chunkRoom - 1, chunkRoom + 1, chunkSize, chunkSize + chunkRoom, 3 * chunkSize}[rnd.IntN(7)]
			line := bytes.Repeat([]byte{byte('a' + rnd.IntN(26))}, max(n+rnd.IntN(5)-2, 0))
			want = append(want, string(line))
			text = append(append(text, line...), '\n')
		}
		r, err := newLineReader(iotest.HalfReader(bytes.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			if got, err := r.next(); err != nil || string(got) != w {
				t.Fatalf("line %d: %d bytes, %v; want %d", i, len(got), err, len(w))
			}
		}
		if _, err := r.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("after the last line: %v", err)
		}
		r.close()
	}
}

// The goroutine ends when the reader is closed, even if nobody has read anything.
func TestReadAheadEnds(t *testing.T) {
	r, err := newLineReader(bytes.NewReader(make([]byte, 20*chunkSize)))
	if err != nil {
		t.Fatal(err)
	}
	r.close()
	r.close()
	if _, open := <-r.ahead.done; open {
		t.Error("the goroutine still runs")
	}
}
