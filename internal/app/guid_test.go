package app

import (
	"cmp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var samples = []string{
	"3f2a1b4c-0d9e-4f00-8abc-0123456789ab", "00000000-0000-0000-0000-000000000000", "3F2A1B4C-0D9E-4F00-8ABC-0123456789AB",
	"3f2a1b4c0d9e4f008abc0123456789ab", "00000000000000000000000000000000", "app-1", "a", "0-3f2a1b4c0d9e4f008abc0123456789ab",
	"3f2a1b4c-0d9e-4f00-8abc-0123456789aB", "3f2a1b4c+0d9e-4f00-8abc-0123456789ab", strings.Repeat("x", MaxGUIDLen), `we"ird\/,`,
}

func TestGUIDKeepsItsText(t *testing.T) {
	for _, s := range samples {
		g, err := ParseGUID(s)
		if err != nil {
			t.Fatalf("ParseGUID(%q): %v", s, err)
		}
		if g.String() != s || g.IsZero() {
			t.Errorf("ParseGUID(%q) gives %q, zero %v", s, g, g.IsZero())
		}
		if h, err := ParseGUIDBytes([]byte(s)); err != nil || h != g {
			t.Errorf("%q read from bytes is not the same guid: %v %v", s, h, err)
		}
		w, rest, err := CutWire(append(g.AppendWire(nil), "tail"...))
		if err != nil || w != g || string(rest) != "tail" {
			t.Errorf("%q does not survive the wire: %v %q %v", s, w, rest, err)
		}
	}
}

func TestGUIDRefusesWhatIsNone(t *testing.T) {
	for _, s := range []string{"", " ", "a b", "a\n", "é", strings.Repeat("x", MaxGUIDLen+1), "\x00hex32"} {
		if g, err := ParseGUID(s); err == nil {
			t.Errorf("ParseGUID(%q) = %v, want an error", s, g)
		}
	}
}

func TestGUIDOrdersByText(t *testing.T) {
	for _, a := range samples {
		for _, b := range samples {
			if got, want := MustGUID(a).Compare(MustGUID(b)), cmp.Compare(a, b); got != want {
				t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestGUIDProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[0-9a-f]{32}`), rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), rapid.StringMatching(`[!-~]{1,40}`))
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		x, y := MustGUID(a), MustGUID(b)
		if x.Compare(y) != cmp.Compare(a, b) || (x == y) != (a == b) {
			t.Fatalf("order of %q and %q differs from that of their texts", a, b)
		}
		if bin, form := x.Binary(); form != 0 && FromBinary(bin, form) != x {
			t.Fatalf("%q does not survive Binary", a)
		}
	})
}

func FuzzCutWire(f *testing.F) {
	for _, s := range samples {
		f.Add(MustGUID(s).AppendWire(nil))
	}
	f.Add([]byte{'t', 200, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, rest, err := CutWire(b)
		if err != nil {
			return
		}
		h, _, err := CutWire(g.AppendWire(nil))
		if err != nil || h != g || len(rest) > len(b) {
			t.Fatalf("%x reads as %q and then as %q: %v", b, g, h, err)
		}
	})
}

func BenchmarkParseGUID(b *testing.B) {
	s := []byte(samples[0])
	for b.Loop() {
		if _, err := ParseGUIDBytes(s); err != nil {
			b.Fatal(err)
		}
	}
}
