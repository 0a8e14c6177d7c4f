package fleet

import (
	"errors"
	"testing"

	"hm/internal/sim/wire"
)

func TestUnrestIsAShare(t *testing.T) {
	f := New(Options{})
	for _, u := range []Unrest{{Change: -0.1}, {Crash: 1.1}} {
		if err := f.SetUnrest(u); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%+v: %v", u, err)
		}
	}
	want := Unrest{Change: 0.5, Crash: 0.1}
	if err := f.SetUnrest(want); err != nil || f.Unrest() != want {
		t.Errorf("%+v, %v", f.Unrest(), err)
	}
}
