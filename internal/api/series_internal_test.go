package api

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"hm/internal/app"
)

// TestSeriesKeepTheNewestSamples compares the ring with a list that keeps everything.
func TestSeriesKeepTheNewestSamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s series
		var all []app.Time
		now := app.Time(1)
		for range rapid.SampledFrom([]int{0, 1, 5, seriesLength - 1, seriesLength, seriesLength + 1, 3 * seriesLength}).Draw(t, "samples") {
			now += app.Time(rapid.SampledFrom([]int{0, 1, 10_000}).Draw(t, "step"))
			if n := len(all); n > 0 && all[n-1] == now {
				all = all[:n-1]
			}
			all = append(all, now)
			s.add(sample{at: now})
		}
		kept := all[max(0, len(all)-seriesLength):]
		since := app.Time(rapid.Int64Range(0, int64(now)+1).Draw(t, "since"))
		oldest, got := s.from(since)
		if len(kept) == 0 {
			if oldest != 0 || got != nil {
				t.Fatalf("an empty series gives %v %v", oldest, got)
			}
			return
		}
		for len(kept) > 0 && kept[0] < since {
			kept = kept[1:]
		}
		if want := all[max(0, len(all)-seriesLength)]; oldest != want || len(got) != len(kept) {
			t.Fatalf("oldest %v, %d samples; want %v, %d", oldest, len(got), want, len(kept))
		}
		for i := range kept {
			if got[i].at != kept[i] {
				t.Fatalf("sample %d is of %v, want %v", i, got[i].at, kept[i])
			}
		}
		n := rapid.IntRange(1, seriesLength).Draw(t, "points")
		if few := spread(got, n); len(few) > n || len(got) > 0 && (len(few) == 0 || few[len(few)-1].at != got[len(got)-1].at) {
			t.Fatalf("%d of %d samples for %d points, without the newest", len(few), len(got), n)
		}
	})
}

func TestSamplesComeOncePerHeartbeatWithinBounds(t *testing.T) {
	for heartbeat, want := range map[time.Duration]time.Duration{
		100 * time.Millisecond: time.Second, 5 * time.Second: 5 * time.Second, time.Minute: 10 * time.Second,
	} {
		if got := samplePeriod(heartbeat); got != want {
			t.Errorf("heartbeat %v: a sample each %v, want %v", heartbeat, got, want)
		}
	}
}
