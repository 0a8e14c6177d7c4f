//go:build !race

package browsertest

import (
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"hm/internal/api/apitest"
)

// largePages are the pages and the lists of a large fleet, as links on the pages lead to them.
var largePages = []string{
	"/", "/apps", "/apps?show=drift", "/apps?q=a00", "/apps/" + appOfLarge, "/deas", "/deas?sort=instances", "/deas/dea-00099",
	"/commands", "/events", "/cluster",
}

// appOfLarge is an app of a large fleet.
var appOfLarge = apitest.Key(77, 1).Droplet.String()

// TestLargeFleet loads each page of a large fleet, and each list of the API. A tenth of the DEAs is gone, so that there is
// drift. With HM_TEST_DEAS=10000 there are 1,000,000 instances of 400,000 apps, and each page must load within a second.
func TestLargeFleet(t *testing.T) {
	deas := largeDEAs(t)
	node := apitest.Large(deas, deas/10)
	base := serve(t, node)
	b := openTab(t, base, desktop)
	t.Logf("%d instances of %d apps on %d DEAs", deas*100, deas*40, deas)
	rounds := 1
	if deas >= fullSize {
		rounds = 4
	}
	t.Logf("| page | bytes | made in | allocated | shown in | elements |")
	t.Logf("|---|---|---|---|---|---|")
	for _, path := range largePages {
		size, took, allocated := fetched(t, base+path, rounds)
		shown, elements := time.Hour, 0
		for range rounds {
			var ms float64
			if rounds > 1 {
				time.Sleep(pageKept) // otherwise the page may be the one that was made for fetched
			}
			b.visit(path)
			b.await("the end of loading", `performance.getEntriesByType("navigation")[0].loadEventEnd > 0`)
			b.eval(`performance.getEntriesByType("navigation")[0].loadEventEnd`, &ms)
			shown = min(shown, time.Duration(ms*float64(time.Millisecond)))
		}
		b.eval(`document.querySelectorAll("*").length`, &elements)
		t.Logf("| `%s` | %d | %v | %.1f MB | %v | %d |", path, size, took.Round(100*time.Microsecond), allocated, shown.Round(time.Millisecond), elements)
		if deas >= fullSize && shown > time.Second {
			t.Errorf("%s of %d DEAs is shown after %v", path, deas, shown)
		}
	}
	t.Logf("| list | bytes | made in | allocated | | |")
	for _, path := range []string{"/v1/status", "/v1/apps", "/v1/drift", "/v1/deas", "/v1/commands", "/v1/events", "/metrics"} {
		size, took, allocated := fetched(t, base+path, rounds)
		t.Logf("| `%s` | %d | %v | %.1f MB | | |", path, size, took.Round(100*time.Microsecond), allocated)
	}
}

// pageKept is longer than the dashboard uses a page again.
const pageKept = 1100 * time.Millisecond

// fetched asks for a page or a list so many times. It returns its size, the shortest time (the machine may be busy), and the
// megabytes that one answer allocates, those of the client included.
func fetched(t testing.TB, url string, rounds int) (size int64, took time.Duration, allocated float64) {
	t.Helper()
	var times []time.Duration
	for i := range rounds {
		if i > 0 {
			time.Sleep(pageKept)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(url, "/v1/") {
			req.Header.Set("Accept", "application/json") // events would follow without end
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		size, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", url, resp.Status, err)
		}
		times = append(times, time.Since(began))
		runtime.ReadMemStats(&after)
		allocated = float64(after.TotalAlloc-before.TotalAlloc) / 1e6
	}
	return size, slices.Min(times), allocated
}

// TestMapIsSmooth moves the mouse over the map of DEAs and goes through it by keys, and measures the frames meanwhile.
func TestMapIsSmooth(t *testing.T) {
	deas := largeDEAs(t)
	base := serve(t, apitest.Large(deas, deas/10))
	b := openTab(t, base, desktop)
	b.visit("/deas")
	b.script(`
		window.hmFrames = [];
		let last = performance.now();
		const frame = now => { hmFrames.push(now - last); last = now; requestAnimationFrame(frame); };
		requestAnimationFrame(frame);`)
	var box struct{ X, Y, W, H float64 }
	b.eval(`(() => { const r = document.querySelector("#map").getBoundingClientRect(); return {x: r.x, y: r.y, w: r.width, h: r.height} })()`, &box)
	began := time.Now()
	const moves = 200
	for i := range moves {
		at := float64(i) / moves
		b.do("moving the mouse", chromedp.MouseEvent("mouseMoved", box.X+at*box.W, box.Y+at*min(box.H, 500)))
	}
	var frames []float64
	b.eval("hmFrames.sort((x, y) => x - y)", &frames)
	var tasks []int
	b.eval("hmTest.longTasks", &tasks)
	p95 := frames[len(frames)*95/100]
	t.Logf("%d cells: %d frames in %v, 95%% within %.0f ms, the longest %.0f ms; tasks over 50 ms since the page was asked for: %v",
		deas, len(frames), time.Since(began).Round(time.Millisecond), p95, frames[len(frames)-1], tasks)
	if deas >= fullSize && p95 > 100 {
		t.Errorf("95%% of the frames need up to %.0f ms", p95)
	}
}
