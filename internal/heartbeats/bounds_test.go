package heartbeats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"hm/actual/feed"
)

// TestMemoryIsBounded: bodies under way take so much memory at most, whatever they promise.
func TestMemoryIsBounded(t *testing.T) {
	const most = 1 << 20
	fill := func(n int) io.Reader { return io.LimitReader(spaces{}, int64(n)) }
	for name, c := range map[string]struct {
		body   io.Reader
		length int64
		size   int
		want   error
	}{
		"empty":                    {fill(0), 0, 0, nil},
		"as promised":              {fill(1000), 1000, 1000, nil},
		"large":                    {fill(400_000), 400_000, 400_000, nil},
		"unknown length":           {fill(400_000), -1, 400_000, nil},
		"byte by byte":             {iotest.OneByteReader(fill(3000)), 3000, 3000, nil},
		"beyond the memory":        {fill(2 << 20), 2 << 20, 0, errNoMemory},
		"promises too much":        {fill(10), feed.MaxHeartbeat + 1, 0, feed.ErrTooLarge},
		"breaks off":               {io.MultiReader(fill(10), iotest.ErrReader(io.ErrUnexpectedEOF)), 100, 0, io.ErrUnexpectedEOF},
		"empty, of unknown length": {fill(0), -1, 0, nil},
	} {
		m := memory{most: most}
		body, release, err := m.read(c.body, c.length)
		if !errors.Is(err, c.want) || len(body) != c.size {
			t.Errorf("%s: %d bytes, %v", name, len(body), err)
		}
		if used := m.used.Load(); used < int64(len(body)) || used > most {
			t.Errorf("%s: %d bytes are counted", name, used)
		}
		if release(); m.used.Load() != 0 {
			t.Errorf("%s: %d bytes are still counted", name, m.used.Load())
		}
	}
	m := memory{most: 64 << 20}
	if _, release, err := m.read(spaces{}, -1); !errors.Is(err, feed.ErrTooLarge) {
		t.Errorf("without an end: %v", err)
	} else {
		release()
	}
}

// spaces is a body without an end.
type spaces struct{}

func (spaces) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte(" "), len(b))), nil }

// TestRates: a DEA may send a burst, and then so many in a period; others are not touched by that.
func TestRates(t *testing.T) {
	r := newRates(10 * time.Second)
	now := time.Now()
	allowed := func(key string, n int) (allowed int) {
		for range n {
			if r.allow(key, now) {
				allowed++
			}
		}
		return allowed
	}
	if n := allowed("a", 1000); n != rateBurst {
		t.Errorf("a burst of %d was allowed", n)
	}
	if n := allowed("b", 10); n != 10 {
		t.Errorf("%d of 10 of another DEA were allowed", n)
	}
	now = now.Add(time.Second)
	if n := allowed("a", 1000); n != ratePeriod/10 {
		t.Errorf("%d were allowed after a tenth of a period", n)
	}
	now = now.Add(time.Hour)
	if n := allowed("a", 1000); n != rateBurst {
		t.Errorf("%d were allowed after an hour", n)
	}
	for i := range 5 * maxRates {
		r.allow(fmt.Sprint(i), now)
	}
	if len(r.young)+len(r.old) > 2*maxRates {
		t.Errorf("%d DEAs are kept", len(r.young)+len(r.old))
	}
	if k := rateKey("", "192.0.2.1:99"); k != rateKey("", "192.0.2.1:100") || !strings.Contains(k, "192.0.2.1") {
		t.Errorf("the key of a host is %q", k)
	}
}
