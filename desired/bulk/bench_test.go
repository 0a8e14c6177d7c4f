package bulk

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

// BenchmarkRead reads 400,000 apps in pages and compares this with a client that makes the same requests and discards
// the answers.
func BenchmarkRead(b *testing.B) {
	const apps = 400_000
	_, rows := fleet(apps)
	for _, batch := range []int{500, 5000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			// The answers are made in advance, so the server takes the same time for both readers.
			answers := map[string]string{}
			var tokens []string
			cc := &controller{rows: rows}
			for after := 0; after <= apps; after += batch {
				token := firstToken
				if after > 0 {
					token = fmt.Sprintf(`{"id":%d}`, after)
				}
				tokens, answers[token] = append(tokens, token), cc.answer(batch, after)
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, answers[r.URL.Query().Get("bulk_token")])
			}))
			defer server.Close()
			s := source(b, Options{URL: server.URL, BatchSize: batch})

			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				if read := mustRead(b, s); len(read.Apps) != apps {
					b.Fatalf("%d apps", len(read.Apps))
				}
			}
			runtime.ReadMemStats(&after)
			perRead := b.Elapsed() / time.Duration(b.N)

			var bytes int64
			began := time.Now()
			const rounds = 3
			for range rounds {
				for _, token := range tokens {
					bytes += discard(b, server.URL+"/bulk/apps?batch_size=1&bulk_token="+url.QueryEscape(token))
				}
			}
			bare := time.Since(began) / rounds
			b.ReportMetric(perRead.Seconds(), "s/read")
			b.ReportMetric(perRead.Seconds()/bare.Seconds(), "x-bare-client")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N)/apps, "allocs/app")
			b.ReportMetric(float64(bytes)/rounds/perRead.Seconds()/1e6, "MB/s")
		})
	}
}

func discard(b *testing.B, url string) int64 {
	resp, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkPage decodes one page of 5,000 rows without a network.
func BenchmarkPage(b *testing.B) {
	const n = 5000
	_, rows := fleet(n)
	text := (&controller{rows: rows}).answer(n, 0)
	s := newScanner(nil)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s.reset(strings.NewReader(text))
		if p, err := readPage(s, func(row) error { return nil }); err != nil || p.rows != n {
			b.Fatal(p, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
}
