package bulk

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"syscall"
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

// BenchmarkUnchangedRead reads 400,000 apps again, of which none has changed, without a network: the processor time of a
// read with all of the garbage collector's that it causes, what stays in memory until the next read, and the processor
// time of one collection between two reads.
func BenchmarkUnchangedRead(b *testing.B) {
	const apps, batch = 400_000, 5000
	_, rows := fleet(apps)
	answers := map[string]string{}
	cc := &controller{rows: rows}
	for after := 0; after <= apps; after += batch {
		answers[fmt.Sprintf(`{"id":%d}`, after)] = cc.answer(batch, after)
	}
	answers[firstToken] = answers[`{"id":0}`]
	rows, cc.rows = nil, nil
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	s := source(b, Options{URL: "http://cc.example", BatchSize: batch})
	s.client.Transport = answering(func(r *http.Request) string { return answers[r.URL.Query().Get("bulk_token")] })
	mustRead(b, s)
	kept := heap() - before
	collection := processorTime(b)
	runtime.GC()
	collection = processorTime(b) - collection
	began := processorTime(b)
	for b.Loop() {
		if read := mustRead(b, s); len(read.Apps) != apps {
			b.Fatalf("%d apps", len(read.Apps))
		}
	}
	b.ReportMetric((processorTime(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/read")
	b.ReportMetric(kept/1e6, "MB-kept")
	b.ReportMetric(collection.Seconds()*1000, "cpu-ms/collection")
}

// answering answers a request without a network.
type answering func(*http.Request) string

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(a(r))), Request: r}, nil
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
