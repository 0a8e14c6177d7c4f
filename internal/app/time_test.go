package app

import (
	"testing"
	"time"
)

func TestTimeNext(t *testing.T) {
	for _, c := range []struct {
		t    Time
		d    time.Duration
		want Time
	}{{0, time.Second, 1000}, {999, time.Second, 1000}, {1000, time.Second, 2000}, {1000, time.Microsecond, 1001}, {7, 50 * time.Millisecond, 50}} {
		if got := c.t.Next(c.d); got != c.want {
			t.Errorf("the first multiple of %v after %d is %d, want %d", c.d, int64(c.t), int64(got), int64(c.want))
		}
	}
}
