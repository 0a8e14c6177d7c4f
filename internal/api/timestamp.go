package api

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"hm/internal/app"
)

// Timestamp is a time in JSON: RFC 3339 in UTC with milliseconds, or null for "never".
type Timestamp struct{ time.Time }

const timestampLayout = "2006-01-02T15:04:05.000Z"

// String gives the timestamp's text in JSON, or "never".
func (t Timestamp) String() string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(timestampLayout)
}

// MarshalJSON writes t as a string, or as null if it is zero.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.String() + `"`), nil
}

// UnmarshalJSON reads null or RFC 3339.
func (t *Timestamp) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = Timestamp{}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a time must be a string in RFC 3339: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return fmt.Errorf("a time must be in RFC 3339, like 2026-01-31T12:00:00Z: %w", err)
	}
	*t = Timestamp{at.UTC()}
	return nil
}

// Wall turns hm time into the time of a wall clock. It holds the difference between the two. People and the Cloud
// Controller read wall time; no deadline is computed from it. With the zero Wall, wall time is hm time.
type Wall struct{ offset time.Duration }

// Time gives t in the time of the wall clock, in whole milliseconds; zero for "never".
func (w Wall) Time(t app.Time) Timestamp {
	if t == 0 {
		return Timestamp{}
	}
	return Timestamp{t.Add(w.offset).Std()}
}

// HM gives a time of the wall clock in hm time.
func (w Wall) HM(t time.Time) app.Time { return app.TimeOf(t).Add(-w.offset) }

// stamp gives a time of this process as a Timestamp, without the monotonic reading.
func stamp(t time.Time) Timestamp {
	if t.IsZero() {
		return Timestamp{}
	}
	return Timestamp{t.UTC().Round(time.Millisecond)}
}

// wallJitter is by how much the difference between the two clocks may change before it is measured again. Both clocks
// are read in milliseconds, one after the other: without wallJitter the same deadline would sometimes differ by a
// millisecond.
const wallJitter = 50 * time.Millisecond

// wallClock keeps the difference between wall clock and hm time the same from one answer to the next.
type wallClock struct{ offset atomic.Int64 }

func (c *wallClock) at(wall time.Time, now app.Time) Wall {
	offset := app.TimeOf(wall).Sub(now)
	kept := time.Duration(c.offset.Load())
	if (offset - kept).Abs() <= wallJitter {
		return Wall{kept}
	}
	c.offset.Store(int64(offset))
	return Wall{offset}
}

// WallOf gives the Wall of a wall clock that is ahead of hm time by lead.
func WallOf(lead time.Duration) Wall { return Wall{lead} }
