package app

import "time"

// Time is hm time in milliseconds since the Unix epoch: the newest recorded time plus the monotonic time since it was
// recorded. It never goes back, whatever a wall clock does. All deadlines are in hm time. 0 means "never".
type Time int64

// TimeOf turns a time of a wall clock into hm time. Only the first entry of a log gets its time in this way.
func TimeOf(t time.Time) Time { return Time(t.UnixMilli()) }

// Add returns t moved by d, in whole milliseconds.
func (t Time) Add(d time.Duration) Time { return t + Time(d/time.Millisecond) }

// Sub returns how much later t is than u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t-u) * time.Millisecond }

// Next gives the first multiple of d, in whole milliseconds, after t.
func (t Time) Next(d time.Duration) Time {
	step := max(Time(d/time.Millisecond), 1)
	return (t/step + 1) * step
}

// Std gives t as a standard UTC time, for people and for JSON.
func (t Time) Std() time.Time { return time.UnixMilli(int64(t)).UTC() }

// String gives t as RFC 3339 with milliseconds, or "never".
func (t Time) String() string {
	if t == 0 {
		return "never"
	}
	return t.Std().Format("2006-01-02T15:04:05.000Z07:00")
}
