package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/raftfsm"
)

// missing returns a node with n desired apps of one instance each, of which none runs.
func missing(n int) *apitest.Node {
	w := apitest.New()
	apps := make([]desired.App, n)
	for i := range apps {
		apps[i] = desired.App{Key: apitest.Key(i+1, 1), Instances: 1, State: desired.Started, Package: desired.Staged}
	}
	w.Desire(apitest.Start, apps...)
	return w
}

// pages reads all pages of a listing, and gives its items and the number of pages. between runs before each page but
// the first.
func pages[T any](t *testing.T, base, path string, between func()) (items []T, n int) {
	t.Helper()
	for next := path; next != ""; n++ {
		if n > 1000 {
			t.Fatalf("%s does not end", path)
		}
		if n > 0 && between != nil {
			between()
		}
		resp, raw := ask(t, "GET", base+next, "")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", next, resp.StatusCode, raw)
		}
		var page []T
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatal(err)
		}
		items = append(items, page...)
		var rel string
		next = ""
		if link := resp.Header.Get("Link"); link != "" {
			if _, err := fmt.Sscanf(link, "<%s rel=%q", &next, &rel); err != nil || rel != "next" {
				t.Fatalf("Link %q: %v", link, err)
			}
			next = next[:len(next)-len(">;")]
			if u, err := url.Parse(next); err != nil || u.Query().Get("cursor") != resp.Header.Get("X-Hm-Next-Cursor") {
				t.Fatalf("Link %q and cursor %q differ", link, resp.Header.Get("X-Hm-Next-Cursor"))
			}
		}
	}
	return items, n
}

func TestDriftOfAHundredThousandAppsPages(t *testing.T) {
	t.Parallel()
	const apps = 100_000
	w := missing(apps)
	base := serve(t, w.Options())
	resp, raw := ask(t, "GET", base+"/v1/drift", "")
	if len(raw) > 1<<20 || resp.Header.Get("X-Hm-Total") != strconv.Itoa(apps) {
		t.Errorf("the first page has %d bytes of a list of %s items, want at most a MiB of %d", len(raw), resp.Header.Get("X-Hm-Total"), apps)
	}
	items, n := pages[api.DriftItem](t, base, "/v1/drift?limit=10000", nil)
	if n != apps/10_000 || len(items) != apps {
		t.Fatalf("%d items on %d pages, want %d on %d", len(items), n, apps, apps/10_000)
	}
	if !slices.IsSortedFunc(items, func(a, b api.DriftItem) int { return strings.Compare(a.App, b.App) }) {
		t.Error("the items are not sorted")
	}
	if n := len(slices.CompactFunc(items, func(a, b api.DriftItem) bool { return a.App == b.App })); n != apps {
		t.Errorf("%d different items, want %d", n, apps)
	}
}

// TestDriftPagesHoldStill changes the fleet between the pages and lets time pass: a listing shows each finding once.
func TestDriftPagesHoldStill(t *testing.T) {
	w := missing(50)
	base := serve(t, w.Options())
	n := 50
	items, count := pages[api.DriftItem](t, base, "/v1/drift?limit=7", func() {
		n--
		w.Must(w.Now().Add(time.Second), raftfsm.DEAChanges{DEA: "d", Upserts: []actual.Instance{apitest.Instance(apitest.Key(n, 1), n, 0, actual.Running)}})
	})
	if count != 8 || len(items) != 50 {
		t.Errorf("%d items on %d pages, want 50 on 8", len(items), count)
	}
}

// TestDriftPagesWithoutTheirPass continues listings whose pass was dropped because of other listings.
func TestDriftPagesWithoutTheirPass(t *testing.T) {
	w := missing(40)
	w.Lock()
	w.At = apitest.Start.Add(time.Minute)
	w.Unlock()
	base := serve(t, w.Options())
	var cursors []string
	got := map[string]int{}
	take := func(resp *http.Response, raw []byte) {
		var page []api.DriftItem
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			got[d.App]++
		}
		cursors = append(cursors, resp.Header.Get("X-Hm-Next-Cursor"))
	}
	take(ask(t, "GET", base+"/v1/drift?limit=15", ""))
	for range 6 { // other listings, each at another time
		w.Must(w.Now().Add(time.Second), raftfsm.HoldSet{Hold: raftfsm.Hold{Name: "x"}})
		index := strconv.FormatUint(w.View().Index(), 10)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // a pass serves for a while
			if resp, _ := ask(t, "GET", base+"/v1/drift?limit=5", ""); resp.Header.Get("X-Hm-Index") == index {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("an old pass is kept for ever")
			}
		}
	}
	for cursors[len(cursors)-1] != "" && len(cursors) < 10 {
		take(ask(t, "GET", base+"/v1/drift?limit=15&cursor="+cursors[len(cursors)-1], ""))
	}
	if len(got) != 40 || len(cursors) != 3 {
		t.Fatalf("%d apps on %d pages, want 40 on 3", len(got), len(cursors))
	}
	for app, n := range got {
		if n != 1 {
			t.Errorf("app %s was listed %d times", app, n)
		}
	}
}

func TestListsPage(t *testing.T) {
	base := serve(t, apitest.Fleet().Options())
	for _, path := range []string{"/v1/apps", "/v1/deas", "/v1/commands", "/v1/commands?history=5", "/v1/drift", "/v1/drift?kind=missing", "/v1/drift?app=" + apitest.Moved.Droplet.String()} {
		t.Run(path, func(t *testing.T) {
			whole, n := pages[json.RawMessage](t, base, path, nil)
			if n != 1 {
				t.Fatalf("%d pages, want 1", n)
			}
			sep := "?"
			if strings.Contains(path, "?") {
				sep = "&"
			}
			single, n := pages[json.RawMessage](t, base, path+sep+"limit=1", nil)
			if len(single) != len(whole) || n < len(whole)-1 {
				t.Fatalf("%d items on %d pages, want %d", len(single), n, len(whole))
			}
			for i := range whole {
				if string(whole[i]) != string(single[i]) {
					t.Errorf("item %d differs:\n%s\n%s", i, whole[i], single[i])
				}
			}
		})
	}
}

func TestClientGathersPages(t *testing.T) {
	t.Parallel()
	c, err := api.NewClient(api.ClientOptions{Addr: serve(t, missing(25_000).Options())})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, want := range []struct {
		limit, items int
		more         bool
	}{{0, 25_000, false}, {7, 7, true}, {10_001, 10_001, true}, {25_000, 25_000, false}, {30_000, 25_000, false}} {
		l, err := c.Drift(context.Background(), "", "", want.limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Items) != want.items || l.More != want.more || l.Total != 25_000 || l.Basis.Leader != "hm-1" {
			t.Errorf("limit %d: %d items, more %v, total %d, want %d, %v", want.limit, len(l.Items), l.More, l.Total, want.items, want.more)
		}
	}
}

func FuzzCursor(f *testing.F) {
	w := apitest.Fleet()
	s, err := api.Open(w.Options())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	f.Add("eyJ0IjoxNzAwMDAwMDYwMDAwLCJkIjowLCJrIjoxLCJhIjoiYSIsInYiOiJiIiwibiI6MH0", "3")
	f.Add("ImEi", "1")
	f.Add("e30", "10000")
	f.Fuzz(func(t *testing.T, cursor, limit string) {
		for _, path := range []string{"/v1/drift", "/v1/apps", "/v1/deas", "/v1/commands"} {
			resp, raw := ask(t, "GET", "http://"+s.Addr()+path+"?cursor="+url.QueryEscape(cursor)+"&limit="+url.QueryEscape(limit), "")
			if resp.StatusCode != 200 && resp.StatusCode != 400 || !json.Valid(raw) {
				t.Errorf("%s: %d %s", path, resp.StatusCode, raw)
			}
		}
	})
}
