package commands_test

import (
	"testing"

	"hm/commands"
)

// TestNumbersAreForEver holds the numbers that recorded commands carry, and the words that JSON does.
func TestNumbersAreForEver(t *testing.T) {
	for i, word := range []string{"none", "start", "stop"} {
		if got := commands.Action(i).String(); got != word {
			t.Errorf("action %d is %q, want %q", i, got, word)
		}
	}
	for i, word := range []string{"", "MISSING", "CRASHED", "EVACUATING", "EXTRA", "DUPLICATE", "EVACUATION_COMPLETE"} {
		if got := commands.Reason(i).String(); got != word {
			t.Errorf("reason %d is %q, want %q", i, got, word)
		}
	}
}
