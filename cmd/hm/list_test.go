package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"hm/internal/api"
)

// longList answers GET /v1/apps with so many apps. It makes each page when it is asked for, and measures what is alive
// in this process then: what the client keeps is part of it.
type longList struct {
	apps  int
	pages int
	alive []uint64 // bytes, at each page
}

func (l *longList) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	from, _ := strconv.Atoi(q.Get("cursor"))
	to := min(from+limit, l.apps)
	items := make([]api.AppItem, 0, to-from)
	for i := from; i < to; i++ {
		items = append(items, api.AppItem{
			App: fmt.Sprintf("a%07d-0000-4000-8000-000000000001", i), Version: "b0000001-0000-4000-8000-000000000001",
			Desired: &api.Desired{State: "STARTED", PackageState: "STAGED", Instances: uint32(i % 9)}, Verdict: "as desired",
		})
	}
	if to < l.apps {
		w.Header().Set("X-Hm-Next-Cursor", strconv.Itoa(to))
	}
	w.Header().Set("X-Hm-Total", strconv.Itoa(l.apps))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(items)
	items = nil
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	l.alive = append(l.alive, m.HeapAlloc)
	l.pages++
}

// lines counts the lines that are written to it.
type lines int

func (n *lines) Write(p []byte) (int, error) {
	*n += lines(strings.Count(string(p), "\n"))
	return len(p), nil
}

// TestALongListNeedsTheMemoryOfAPage: in every format, what is alive after most of the list is what was alive after the
// first pages.
func TestALongListNeedsTheMemoryOfAPage(t *testing.T) {
	const apps, bound = 60_000, 12 << 20 // the rows of the whole list are more than 30 MiB
	for format, want := range map[string]int{
		formatTable: apps + 2, formatWide: apps + 2, formatJSON: apps + 2, formatYAML: 13 * apps, formatName: apps,
	} {
		t.Run(format, func(t *testing.T) {
			l := &longList{apps: apps}
			s := httptest.NewServer(l)
			defer s.Close()
			var out lines
			var told strings.Builder
			code := newCLI(strings.NewReader(""), &out, &told).run(t.Context(), []string{"apps", "--limit", "0", "-o", format, "--addr", s.URL})
			if code != 0 || int(out) != want {
				t.Fatalf("exit code %d and %d lines, want %d: %s", code, out, want, &told)
			}
			first, most := l.alive[3], uint64(0)
			for _, n := range l.alive[3:] {
				most = max(most, n)
			}
			t.Logf("%d pages, %d KiB alive at the fourth, at most %d KiB later", l.pages, first>>10, most>>10)
			if most > first+bound {
				t.Errorf("%d KiB more are alive later in the list than at its fourth page", (most-first)>>10)
			}
		})
	}
}

// BenchmarkLongList prints lists of so many apps. The ratio is to the reading of the pages alone.
func BenchmarkLongList(b *testing.B) {
	const apps = 20_000
	s := httptest.NewServer(&longList{apps: apps})
	defer s.Close()
	client, err := api.NewClient(api.ClientOptions{Addr: s.URL})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		for range b.N {
			for _, err := range client.AppPages(api.ListOptions{}).All(b.Context()) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*apps), "ns/app")
	})
	for _, format := range allFormats {
		b.Run(format, func(b *testing.B) {
			for range b.N {
				if code := newCLI(nil, io.Discard, io.Discard).run(b.Context(), []string{"apps", "--limit", "0", "-o", format, "--addr", s.URL}); code != 0 {
					b.Fatal(code)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*apps), "ns/app")
		})
	}
}

// TestAnInterruptedListIsNoWholeList: what a signal cuts short must not look complete.
func TestAnInterruptedListIsNoWholeList(t *testing.T) {
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		l := &longList{apps: 3000}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if l.pages == 1 {
				cancel()
			}
			l.ServeHTTP(w, r)
		}))
		var out, told strings.Builder
		code := newCLI(strings.NewReader(""), &out, &told).run(ctx, []string{"apps", "-o", "json", "--addr", s.URL})
		s.Close()
		if code != 1 || strings.HasSuffix(out.String(), "]\n") {
			t.Fatalf("exit code %d, told %q; the output ends with %q", code, &told, out.String()[max(0, out.Len()-20):])
		}
	}
}

// TestAListEndsWithItsError: what came before an error is printed, and the error is told.
func TestAListEndsWithItsError(t *testing.T) {
	l := &longList{apps: 3000}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") != "" {
			http.Error(w, "no more", http.StatusBadGateway)
			return
		}
		l.ServeHTTP(w, r)
	}))
	defer s.Close()
	var out, told strings.Builder
	if code := newCLI(strings.NewReader(""), &out, &told).run(t.Context(), []string{"apps", "-o", "json", "--addr", s.URL}); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(told.String(), "502") || strings.HasSuffix(out.String(), "]\n") {
		t.Errorf("told is %q; the output ends with %q", told.String(), out.String()[max(0, out.Len()-20):])
	}
}
