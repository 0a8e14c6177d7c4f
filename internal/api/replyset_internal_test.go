package api

import "testing"

// TestRepliesToOneQuestionAreBounded: a reply beyond the limit of a message is left out, and so is one that does not fit
// beside those before it; smaller ones still go.
func TestRepliesToOneQuestionAreBounded(t *testing.T) {
	s := replySet{maxOne: 100, maxAll: 150}
	for i, c := range []struct {
		size int
		want bool
	}{{100, true}, {101, false}, {60, false}, {50, true}, {1, false}} {
		if got := s.takes("d", c.size); got != c.want {
			t.Errorf("reply %d of %d bytes: %v, want %v", i, c.size, got, c.want)
		}
	}
	if s.replies != 5 || s.bytes != 150 || s.tooLarge.apps != 1 || s.tooLarge.whole != 101 || s.tooMany.apps != 2 || s.tooMany.size != 60 {
		t.Errorf("%+v", s)
	}
}
