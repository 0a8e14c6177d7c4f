package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hm/internal/api"
)

// longList answers GET /v1/apps with so many apps. It makes each page when it is asked for, and measures what is alive
// in this process then: what the client keeps is part of it.
type longList struct {
	apps  int
	page  int // apps in a page at most; 0: what the client asks for
	pages int
	alive []uint64 // bytes, at each page
}

func (l *longList) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	from, _ := strconv.Atoi(q.Get("cursor"))
	if l.page > 0 {
		limit = min(limit, l.page)
	}
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
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // without what others have allocated since
	metrics.Read(live)
	l.alive = append(l.alive, live[0].Value.Uint64())
	l.pages++
}

// lines counts the lines that are written to it.
type lines int

func (n *lines) Write(p []byte) (int, error) {
	*n += lines(strings.Count(string(p), "\n"))
	return len(p), nil
}

// TestALongListNeedsTheMemoryOfAPage: in every format, what is alive later in the list is what was alive after the first
// pages. The pages are small, so that those on their way blur little of what is measured; and the lists are printed in a
// process of their own, because what other tests have left is still being freed.
func TestALongListNeedsTheMemoryOfAPage(t *testing.T) {
	if os.Getenv("HM_TEST_ALONE") == "" {
		alone := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		alone.Env = append(os.Environ(), "HM_TEST_ALONE=1")
		out, err := alone.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS: "+t.Name()+"/yaml") {
			t.Errorf("in its own process: %v\n%s", err, out)
		}
		return
	}
	const apps, bound = 8_000, 1 << 20 // 22 pages of 40 come between, with more than 2 MiB of rows
	for format, want := range map[string]int{
		formatTable: apps + 2, formatWide: apps + 2, formatJSON: apps + 2, formatYAML: 13 * apps, formatName: apps,
	} {
		t.Run(format, func(t *testing.T) {
			l := &longList{apps: apps, page: 200}
			s := httptest.NewServer(l)
			defer s.Close()
			var out lines
			var told strings.Builder
			code := newCLI(strings.NewReader(""), &out, &told).run(t.Context(), []string{"apps", "--limit", "0", "-o", format, "--addr", s.URL})
			if code != 0 || int(out) != want {
				t.Fatalf("exit code %d and %d lines, want %d: %s", code, out, want, &told)
			}
			// What is kept is alive at each page; what is on its way, not. At first nothing is on its way.
			first, last := slices.Min(l.alive[8:18]), slices.Min(l.alive[len(l.alive)-10:])
			t.Logf("%d pages, %d KiB alive at the first, %d KiB at the last", l.pages, first>>10, last>>10)
			if last > first+bound {
				t.Errorf("%d KiB more are alive at the last pages of the list than at its first", (last-first)>>10)
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
