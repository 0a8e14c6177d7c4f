package app

import (
	"cmp"
	"regexp"
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
		if g.String() != small(s) || g.IsZero() {
			t.Errorf("ParseGUID(%q) gives %q, zero %v", s, g, g.IsZero())
		}
		if got := LetterCaseOf(g, s).Spell(g); got != s {
			t.Errorf("%q is spelled %q", s, got)
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

// small gives the text of the guid that s is: in the binary forms its letters are small.
func small(s string) string {
	if low := strings.ToLower(s); binaryForm.MatchString(low) {
		return low
	}
	return s
}

var binaryForm = regexp.MustCompile(`^([0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)

// The case of letters does not count in a UUID and in 32 hex digits; in any other text it does.
func TestCaseDoesNotCountInBinaryForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[0-9a-f]{32}`), rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)).Draw(t, "text")
		spelled := []byte(text)
		for i, c := range spelled {
			if c >= 'a' && rapid.Bool().Draw(t, "capital") {
				spelled[i] = c - 'a' + 'A'
			}
		}
		g, h := MustGUID(text), MustGUID(string(spelled))
		c := LetterCaseOf(h, spelled)
		switch {
		case g != h || g.Compare(h) != 0 || h.String() != text:
			t.Fatalf("%q and %q are two guids, with the text %q", text, spelled, h)
		case c.Spell(h) != string(spelled):
			t.Fatalf("%q is spelled %q", spelled, c.Spell(h))
		case !c.Fits(h) || LetterCaseOf(g, text) != 0:
			t.Fatalf("the letter case %x does not fit %q", c, spelled)
		}
	})
	if MustGUID("App-1") == MustGUID("app-1") || MustGUID("3F2A1B4C_0d9e-4f00-8abc-0123456789ab") == MustGUID("3f2a1b4c_0d9e-4f00-8abc-0123456789ab") {
		t.Error("two texts that differ in case are one guid")
	}
	for g, c := range map[string]LetterCase{"app-1": 1, "01234567890123456789012345678901": 1, "3f2a1b4c0d9e4f008abc0123456789ab": 1} {
		if c.Fits(MustGUID(g)) {
			t.Errorf("the letter case %x fits %s", c, g)
		}
	}
}

// Every node reads an entry of an earlier version of hm in the same way.
func TestRecordedTextKeepsItsCase(t *testing.T) {
	const upper = "3F2A1B4C-0D9E-4F00-8ABC-0123456789AB"
	g, _, err := CutWire(append([]byte{'t', byte(len(upper))}, upper...))
	if err != nil || g.String() != upper || g == MustGUID(upper) {
		t.Errorf("the recorded text %s reads as %s: %v", upper, g, err)
	}
}

func TestInvalidGUIDsAreRefused(t *testing.T) {
	for _, s := range []string{"", " ", "a b", "a\n", "é", strings.Repeat("x", MaxGUIDLen+1), "\x00hex32"} {
		if g, err := ParseGUID(s); err == nil {
			t.Errorf("ParseGUID(%q) = %v, want an error", s, g)
		}
	}
}

func TestGUIDOrdersByText(t *testing.T) {
	for _, a := range samples {
		for _, b := range samples {
			if got, want := MustGUID(a).Compare(MustGUID(b)), cmp.Compare(small(a), small(b)); got != want {
				t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, want)
			}
			ga, gb := MustGUID(a), MustGUID(b)
			if x, y := ga.Order(), gb.Order(); x < y && ga.Compare(gb) >= 0 || x != y && ga == gb {
				t.Errorf("Order is %x of %q and %x of %q: not the order of Compare", x, a, y, b)
			}
		}
	}
}

func TestGUIDProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[0-9a-f]{32}`), rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), rapid.StringMatching(`[!-~]{1,40}`))
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		x, y := MustGUID(a), MustGUID(b)
		if x.Compare(y) != cmp.Compare(small(a), small(b)) || (x == y) != (small(a) == small(b)) {
			t.Fatalf("%q and %q are not in the order of their texts", a, b)
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
