package raftfsm

import (
	"testing"
	"unsafe"
)

func TestInstancesArePacked(t *testing.T) {
	if n := unsafe.Sizeof(packed{}); n != 36 {
		t.Errorf("an instance record has %d bytes, want 36", n)
	}
	for _, ms := range []int64{0, 1, 1_700_000_000_000, MaxSince} {
		i := testInstance(testKey(0), 0, 65535, 2)
		i.Since = ms
		if p := pack(i, 7); p.since.ms() != ms {
			t.Errorf("since %d became %d", ms, p.since.ms())
		}
	}
	if clampSince(-5) != 0 || clampSince(MaxSince+1) != MaxSince {
		t.Error("a time outside the range is not recorded as the nearer bound")
	}
}
