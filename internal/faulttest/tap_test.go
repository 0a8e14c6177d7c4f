package faulttest

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

// stream is what a client sends to a NATS server.
const stream = "CONNECT {\"verbose\":false}\r\nPING\r\nSUB dea.heartbeat  1\r\nPUB hm9000.start 5\r\nhello\r\n" +
	"PUB a.request reply.to 9\r\nPUB x 1\r\n\r\nHPUB b 17 19\r\nNATS/1.0\r\nA:1\r\n\r\nhi\r\npub c 0\r\n\r\nUNSUB 1\r\n"

var streamMessages = []string{"hm9000.start=hello", "a.request=PUB x 1\r\n", "b=hi", "c="}

func TestTapFindsMessages(t *testing.T) {
	for size := 1; size <= len(stream); size++ {
		var got []string
		tap := newTap(func() time.Duration { return 0 }, func(p published) { got = append(got, p.Subject+"="+string(p.Data)) })
		for rest := []byte(stream); len(rest) > 0; {
			n := min(size, len(rest))
			tap.inspect(1, true, rest[:n])
			tap.inspect(1, false, []byte("PUB not.sent.by.the.client 0\r\n\r\n"))
			rest = rest[n:]
		}
		if !reflect.DeepEqual(got, streamMessages) {
			t.Fatalf("in pieces of %d bytes: %q, want %q", size, got, streamMessages)
		}
	}
}

func TestTapKnowsHowOldALinkIs(t *testing.T) {
	now := time.Duration(0)
	var got []string
	tap := newTap(func() time.Duration { return now }, func(p published) { got = append(got, fmt.Sprint(p.At, p.LinkAge)) })
	for n, at := range []time.Duration{1, 2, 5} {
		now = at * time.Second
		tap.inspect(uint64(1+n%2), true, []byte("PUB a 0\r\n\r\n"))
	}
	if want := []string{"1s 0s", "2s 0s", "5s 4s"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzTap(f *testing.F) {
	f.Add([]byte(stream), 7)
	f.Add([]byte("PUB a -1\r\n"), 1)
	f.Add([]byte("HPUB a 9 3\r\n\r\n"), 3)
	f.Add([]byte("PUB\r\n"), 2)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		read := func(size int) (got []string) {
			tap := newTap(func() time.Duration { return 0 }, func(p published) { got = append(got, p.Subject+"="+string(p.Data)) })
			for rest := b; len(rest) > 0; {
				n := min(max(size, 1), len(rest))
				tap.inspect(1, true, rest[:n])
				rest = rest[n:]
			}
			return got
		}
		if whole, pieces := read(len(b)), read(size%100); !reflect.DeepEqual(whole, pieces) {
			t.Errorf("%q in one piece, %q in pieces of %d", whole, pieces, size%100)
		}
	})
}
