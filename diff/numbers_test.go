package diff_test

import (
	"testing"

	"hm/diff"
)

// TestNumbersAreForEver holds the numbers that recorded commands carry, and the words that JSON does.
func TestNumbersAreForEver(t *testing.T) {
	for i, word := range []string{"none", "start", "stop"} {
		if got := diff.Action(i).String(); got != word {
			t.Errorf("action %d is %q, want %q", i, got, word)
		}
	}
	for i, word := range []string{"", "MISSING", "CRASHED", "EVACUATING", "EXTRA", "DUPLICATE", "EVACUATION_COMPLETE"} {
		if got := diff.Reason(i).String(); got != word {
			t.Errorf("reason %d is %q, want %q", i, got, word)
		}
	}
}
