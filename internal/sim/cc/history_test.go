package cc

import (
	"slices"
	"testing"
)

func TestHistory(t *testing.T) {
	h := newHistory(3)
	for i, id := range []string{"a", "b", "a", "c", "d", "b"} {
		h.record(Command{MessageID: id, Action: ActionStart, Accepted: i%2 == 0,
			Check: []string{CheckNone, CheckVersion}[i%2]})
	}
	var seqs []uint64
	for _, c := range h.since(0, 100) {
		seqs = append(seqs, c.Seq)
	}
	if !slices.Equal(seqs, []uint64{4, 5, 6}) {
		t.Errorf("kept %v", seqs)
	}
	if got := h.since(5, 100); len(got) != 1 || got[0].MessageID != "b" {
		t.Errorf("since 5: %+v", got)
	}
	if got := h.since(0, 1); len(got) != 1 || got[0].Seq != 4 {
		t.Errorf("the oldest: %+v", got)
	}
	if got := h.since(6, 100); len(got) != 0 {
		t.Errorf("since the newest: %+v", got)
	}
	// "a" came again while it was in the ring, "b" only afterwards.
	n := h.total()
	if n.Repeated != 1 || n.StartsAccepted != 3 || n.StartsRefused != 3 || n.Checks["start:version-differs"] != 3 ||
		len(n.Checks) != 1 {
		t.Errorf("counts %+v", n)
	}
}
