package jsonlex_test

import (
	"encoding/json"
	"strings"
	"testing"

	"hm/internal/jsonlex"
)

// TestNumber compares Number with encoding/json.
func TestNumber(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "7", "-12", "0.5", "1.25", "1e3", "1E+30", "2.5e-7", "-0.0e0", "123456789012345678901234567890",
		"", "-", "+1", "01", "-01", "1.", ".5", "1.e2", "1e", "1e+", "0x1", "1_0", "NaN", " 1", "1 ", "１",
	} {
		got := text != "" && jsonlex.Number([]byte(text)) == len(text)
		want := json.Valid([]byte(text)) && strings.TrimSpace(text) == text
		if got != want {
			t.Errorf("%q is a number: %v, want %v", text, got, want)
		}
	}
	if n := jsonlex.Number([]byte("12,34")); n != 2 {
		t.Errorf("the number before a comma has length %d, want 2", n)
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]int{"": 0, `abc"d`: 3, `ab\"`: 2, "a\nb": 1, "é\"": 2, "abc": 3, "a\x7f\"": 2} {
		if got := jsonlex.Plain([]byte(text)); got != want {
			t.Errorf("%q begins with %d plain bytes, want %d", text, got, want)
		}
	}
}
