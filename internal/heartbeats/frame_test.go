package heartbeats

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"hm/actual/feed"
)

func TestFramesComeBack(t *testing.T) {
	var b bytes.Buffer
	key := feed.DigesterKey{1, 2, 31: 9}
	requests := []request{
		{asksDigest, 1, 77, bytes.Repeat([]byte{7}, 16)}, {asksBody, 1 << 60, -5, beat("dea-1", 2)}, {asksBody, 3, 1, []byte{}},
	}
	replies := []reply{{saysClock, 0, 0}, {saysRefused, 1 << 60, 1 << 62}}
	if err := writeGreeting(&b, key); err != nil {
		t.Fatal(err)
	}
	for _, q := range requests {
		if err := writeRequest(&b, q); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range replies {
		if err := writeReply(&b, p); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := readGreeting(&b); err != nil || got != key {
		t.Errorf("the greeting came back as %v, %v", got, err)
	}
	for _, q := range requests {
		if got, err := readRequest(&b); err != nil || got.kind != q.kind || got.number != q.number || got.deadline != q.deadline || !bytes.Equal(got.payload, q.payload) {
			t.Errorf("%+v came back as %+v, %v", q, got, err)
		}
	}
	for _, p := range replies {
		if got, err := readReply(&b); err != nil || got != p {
			t.Errorf("%+v came back as %+v, %v", p, got, err)
		}
	}
	if _, err := readReply(&b); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := readGreeting(bytes.NewReader(append([]byte("hmb\x02"), key[:]...))); !errors.Is(err, errRelay) {
		t.Errorf("another version: %v", err)
	}
}

// FuzzFrames reads what a peer may send. Whatever can be read is written as the same bytes.
func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	_ = writeGreeting(&b, feed.DigesterKey{})
	f.Add(bytes.Clone(b.Bytes()))
	b.Reset()
	_ = writeRequest(&b, request{kind: asksDigest, number: 1, deadline: 2, payload: make([]byte, 16)})
	_ = writeRequest(&b, request{kind: asksBody, number: 2, deadline: 2, payload: beat("dea-1", 1)})
	f.Add(bytes.Clone(b.Bytes()))
	b.Reset()
	_ = writeReply(&b, reply{saysWanted, 1, 5})
	f.Add(bytes.Clone(b.Bytes()))
	f.Add([]byte{asksBody, 17: 0xff, 18: 0xff, 19: 0xff, 20: 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		same := func(what string, r *bytes.Reader, write func(io.Writer) error) {
			var out bytes.Buffer
			if err := write(&out); err != nil || !bytes.Equal(out.Bytes(), data[:len(data)-r.Len()]) {
				t.Errorf("%s %x was written as %x, %v", what, data[:len(data)-r.Len()], out.Bytes(), err)
			}
		}
		r := bytes.NewReader(data)
		if q, err := readRequest(r); err == nil {
			same("a request", r, func(w io.Writer) error { return writeRequest(w, q) })
		}
		r.Reset(data)
		if p, err := readReply(r); err == nil {
			same("a reply", r, func(w io.Writer) error { return writeReply(w, p) })
		}
		r.Reset(data)
		if key, err := readGreeting(r); err == nil {
			same("a greeting", r, func(w io.Writer) error { return writeGreeting(w, key) })
		}
	})
}
