package api_test

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/reconcile"
)

// BenchmarkBigFleet asks a node with 1,000,000 instances, as desired and with half of its DEAs lost. The reference is
// one pass over the fleet, as reconcile makes it.
func BenchmarkBigFleet(b *testing.B) {
	for name, lost := range map[string]int{"calm": 0, "half lost": 5000} {
		b.Run(name, func(b *testing.B) {
			w := apitest.Large(10_000, lost)
			s, err := api.Open(w.Options())
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			get := func(b *testing.B, path string) http.Header {
				resp, err := http.Get("http://" + s.Addr() + path)
				if err != nil || resp.StatusCode != 200 {
					b.Fatal(err)
				}
				_, err = io.Copy(io.Discard, resp.Body)
				if err = errors.Join(err, resp.Body.Close()); err != nil {
					b.Fatal(err)
				}
				return resp.Header
			}
			eval := reconcile.NewEvaluator(apitest.Policy())
			bare := func() time.Duration {
				began := time.Now()
				eval.Fleet(w.View(), reconcile.Knowledge{}, w.Now(), func(*reconcile.Evaluation) bool { return true })
				return time.Since(began)
			}
			bare()
			reference := bare()
			began := time.Now()
			get(b, "/metrics")
			b.Logf("bare pass %v, first scrape %v", reference, time.Since(began))
			cursor := get(b, "/v1/drift").Get("X-Hm-Next-Cursor")
			for _, path := range []string{"/metrics", "/v1/status", "/v1/drift", "/v1/drift?cursor=" + cursor, "/v1/apps"} {
				if cursor == "" && path == "/v1/drift?cursor=" {
					continue
				}
				b.Run(path[:min(len(path), 17)], func(b *testing.B) {
					for b.Loop() {
						get(b, path)
					}
					b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(reference), "x-bare-pass")
				})
			}
		})
	}
}
