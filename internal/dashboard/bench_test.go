package dashboard_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/dashboard"
)

// BenchmarkPages makes each page anew, over a fleet of 1,000 DEAs with 100 instances each, calm and with two fifths of the
// DEAs lost. HM_TEST_DEAS=10000 has a fleet of 1,000,000 instances. The reference is the status, which each page asks for.
func BenchmarkPages(b *testing.B) {
	deas := 1000
	if n, err := strconv.Atoi(os.Getenv("HM_TEST_DEAS")); err == nil {
		deas = n
	}
	for name, lost := range map[string]int{"calm": 0, "lost": deas * 2 / 5} {
		b.Run(name, func(b *testing.B) {
			w := apitest.Large(deas, lost)
			for i := range deas {
				w.HeardAt[fmt.Sprintf("dea-%05d", i)] = w.At
			}
			o := w.Options()
			o.Dashboard = func(c *api.Client) http.Handler { return dashboard.New(c, dashboard.Options{}) }
			s, err := api.Open(o)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			n := 0
			get := func(path string, fresh bool) (bytes int) {
				if fresh { // a page is kept by its address
					n++
					path += "&n=" + strconv.Itoa(n)
				}
				resp, err := http.Get("http://" + s.Addr() + path)
				if err != nil {
					b.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Fatalf("%s: %d %s %v", path, resp.StatusCode, body, err)
				}
				return len(body)
			}
			get("/cluster?", false)
			began := time.Now()
			for range 5 {
				get("/cluster?", true)
			}
			reference := time.Since(began) / 5
			for _, path := range []string{"/?", "/apps?", "/apps?show=missing", "/apps?sort=crashes", "/apps/a0000001?", "/deas?", "/deas?sort=silence", "/deas/dea-00001?", "/commands?"} {
				b.Run(path[1:], func(b *testing.B) {
					b.ReportAllocs()
					size := 0
					began := time.Now()
					get(path, true)
					first := time.Since(began)
					for b.Loop() {
						size = get(path, true)
					}
					b.ReportMetric(float64(first.Milliseconds()), "first-ms")
					b.ReportMetric(float64(size)/1024, "KB")
					b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(reference), "x-cluster-page")
				})
			}
		})
	}
}
