package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
)

// BenchmarkLists asks a node with 1,000,000 instances, half of whose DEAs are lost, for lists that are filtered and sorted:
// first with nothing kept from before, then again. Beside each request a goroutine wakes once in a millisecond, as the
// loop does, and how late it wakes is reported.
func BenchmarkLists(b *testing.B) {
	w := apitest.Large(10_000, 5000)
	s, err := api.Open(w.Options())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, path := range []string{
		"/v1/status", "/metrics", "/v1/apps", "/v1/drift", "/v1/deas",
		"/v1/apps?prefix=a00123", "/v1/apps?filter=drift=missing", "/v1/apps?filter=drift=none", "/v1/apps?filter=crashes>0", "/v1/apps?sort=-drift",
		"/v1/apps?sort=-instances", "/v1/apps?filter=running<2,drift=any&sort=-wanted", "/v1/drift?filter=bucket=wait", "/v1/drift?filter=dea=dea-00001",
		"/v1/drift?sort=-app", "/v1/deas?sort=-instances", "/v1/deas?filter=state=gone&sort=-silence", "/v1/commands?filter=state=pending", "/v1/series",
	} {
		for _, first := range []bool{true, false} {
			name := path + " again"
			if first {
				name = path + " first"
			}
			b.Run(name, func(b *testing.B) {
				done, late := make(chan struct{}), make(chan []time.Duration)
				go lateness(done, late)
				for b.Loop() {
					if first {
						s.DropSelections()
						s.DropPass()
					}
					fetch(b, "http://"+s.Addr()+path)
				}
				close(done)
				delays := <-late
				slices.Sort(delays)
				b.ReportMetric(float64(delays[len(delays)*99/100].Microseconds())/1000, "late-p99-ms")
				b.ReportMetric(float64(delays[len(delays)-1].Microseconds())/1000, "late-max-ms")
			})
		}
	}
}

// lateness wakes once in a millisecond until done, and gives how late each time.
func lateness(done chan struct{}, out chan []time.Duration) {
	var delays []time.Duration
	for {
		began := time.Now()
		select {
		case <-done:
			out <- append(delays, 0)
			return
		case <-time.After(time.Millisecond):
			delays = append(delays, time.Since(began)-time.Millisecond)
		}
	}
}

func fetch(b *testing.B, path string) {
	u, err := url.Parse(path)
	if err != nil {
		b.Fatal(err)
	}
	u.RawQuery = u.Query().Encode()
	resp, err := http.Get(u.String())
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		b.Fatal(path, resp.Status, err)
	}
}
