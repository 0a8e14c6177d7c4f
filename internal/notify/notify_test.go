package notify_test

import (
	"testing"

	"hm/internal/notify"
)

// TestSignal: notifications before a receive count as one, and a later one counts again.
func TestSignal(t *testing.T) {
	s := notify.New()
	for round := range 2 {
		s.Notify()
		s.Notify()
		select {
		case <-s.C():
		default:
			t.Fatalf("round %d: no notification after Notify", round)
		}
		select {
		case <-s.C():
			t.Fatalf("round %d: two notifications did not count as one", round)
		default:
		}
	}
}
