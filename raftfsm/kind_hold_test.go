package raftfsm

import (
	"errors"
	"testing"
)

func TestHolds(t *testing.T) {
	l := newLog(t)
	l.must(HoldSet{Hold: Hold{Name: "paused", Reason: "lunch", By: "me", Until: 7}})
	if h := l.Holds(); len(h) != 1 || h[0] != (Hold{Name: "paused", Reason: "lunch", By: "me", SetAt: l.Time(), Until: 7}) {
		t.Fatalf("holds %+v", h)
	}
	if res := l.apply(HoldReleased{Name: "other"}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrNoHold) {
		t.Fatalf("refused %+v", res.Refused)
	}
	for _, name := range []string{"", "two words", "é", string(make([]byte, MaxHoldName+1))} {
		if res := l.apply(HoldSet{Hold: Hold{Name: name}}); len(res.Refused) != 1 || !errors.Is(res.Refused[0].Err, ErrInvalid) {
			t.Fatalf("name %q: refused %+v", name, res.Refused)
		}
	}
	l.must(HoldSet{Hold: Hold{Name: "paused", SetAt: 3}}, HoldSet{Hold: Hold{Name: "mass-loss"}})
	if h := l.Holds(); len(h) != 2 || h[0].Name != "mass-loss" || h[1] != (Hold{Name: "paused", SetAt: 3}) {
		t.Fatalf("holds %+v", h)
	}
	l.must(HoldReleased{Name: "paused"})
	if h := l.Holds(); len(h) != 1 {
		t.Fatalf("holds %+v", h)
	}
}
