package dashboard_test

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"hm/actual"
	"hm/desired"
	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/app"
	"hm/internal/dashboard"
	"hm/internal/journal"
	"hm/internal/words"
	"hm/raftfsm"
)

// mainOf gives the content of a page.
func mainOf(t *testing.T, body string) string {
	t.Helper()
	from, to := strings.Index(body, "<main"), strings.Index(body, "</main>")
	if from < 0 || to < 0 {
		t.Fatalf("the page has no content: %.2000s", body)
	}
	return body[from : to+len("</main>")]
}

// TestGoldenPages: the content of each page, over nodes whose record and clock stand still.
func TestGoldenPages(t *testing.T) {
	closed := apitest.Fleet()
	closed.CloseGate("nats-down", "actual-stale")
	fleet := serve(t, apitest.Fleet().Options(), dashboard.Options{})
	odd := serve(t, apitest.WithUnreadable().Options(), dashboard.Options{})
	held := serve(t, closed.Options(), dashboard.Options{})
	shadow := serve(t, apitest.Shadow().Options(), dashboard.Options{})
	for name, url := range map[string]string{
		"apps": fleet + "/apps", "apps_narrowed": fleet + "/apps?show=missing&sort=wanted&q=a000000", "apps_refused": fleet + "/apps?filter=drft=missing",
		"app_crashed": fleet + "/apps/a0000003", "app_index": fleet + "/apps/a0000001?index=1", "app_two_versions": fleet + "/apps/a0000009",
		"app_held": held + "/apps/a0000007", "app_whole": fleet + "/apps/a0000005?all&span=15m",
		"deas": odd + "/deas", "deas_gone": fleet + "/deas?show=gone", "dea": odd + "/deas/1-dea-two", "dea_state": fleet + "/deas/1-dea-one?state=CRASHED",
		"commands": fleet + "/commands", "commands_of_app": fleet + "/commands?q=a0000003&ended=expired", "commands_shadow": shadow + "/commands",
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := load(t, url)
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", url, resp.Status)
			}
			golden(t, name+".html", mainOf(t, body)+"\n")
		})
	}
}

var (
	paragraph = regexp.MustCompile(`(?s)<p[ >].*?</p>`)
	tag       = regexp.MustCompile(`<[^>]*>`)
)

// explained gives the lines of the explanation on an app's page, as words with one space between.
func explained(t *testing.T, body string) (lines []string) {
	t.Helper()
	_, rest, ok := strings.Cut(body, `<div class="lines">`)
	if !ok {
		t.Fatalf("the page explains nothing: %.500s", mainOf(t, body))
	}
	part, _, _ := strings.Cut(rest, "</div>")
	for _, p := range paragraph.FindAllString(part, -1) {
		if text := strings.Join(strings.Fields(html.UnescapeString(tag.ReplaceAllString(p, ""))), " "); text != "" {
			lines = append(lines, text)
		}
	}
	return lines
}

// TestAnAppsPageExplainsAsHmExplainDoes: with exactly the lines that hm explain prints, for each app of a fleet with every
// kind of drift, for all indices, one, and with those that are as desired.
func TestAnAppsPageExplainsAsHmExplainDoes(t *testing.T) {
	closed := apitest.Fleet()
	closed.CloseGate("hold:mass-loss")
	for _, w := range []*apitest.Node{apitest.Fleet(), apitest.WithUnreadable(), closed} {
		base := serve(t, w.Options(), dashboard.Options{})
		client, err := api.NewClient(api.ClientOptions{Addr: base})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for n := range 9 {
			guid := apitest.Key(n+1, 1).Droplet.String()
			for query, o := range map[string]words.ExplainOptions{
				"": {}, "?all": {All: true}, "?index=0": {Index: "0"}, "?index=7": {Index: "7"},
			} {
				e, _, err := client.Explain(t.Context(), guid, o.Index)
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				for line := range strings.Lines(words.Print(words.Explanation(e, o), nil)) {
					if text := strings.Join(strings.Fields(line), " "); text != "" {
						want = append(want, text)
					}
				}
				_, body := load(t, base+"/apps/"+guid+query)
				if got := explained(t, body); strings.Join(got, "\n") != strings.Join(want, "\n") {
					t.Errorf("the page of %s%s explains\n%s\n\nhm explain prints\n%s", guid, query, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
}

var address = regexp.MustCompile(`href="(/(?:apps|deas)/[^"]*)"`)

// TestHostileNamesAreShownAndReached: ids are chosen by others. Whatever is in them, no page takes them for HTML, and the
// links of the lists lead to the pages of the things that they name.
func TestHostileNamesAreShownAndReached(t *testing.T) {
	hostile := []string{
		`<script>alert(1)</script>`, `"><img/src=x/onerror=alert(1)>`, `'onfocus=alert(1)`, `javascript:alert(1)`, `a/b`, `/`, `//`, `.`, `..`,
		`../../do/pause`, `?q=1`, `#x`, `%2F`, `%`, `{{.}}`, "`${x}`", `</title>`, `]]>`, `-->`,
	}
	w := apitest.New()
	var rows []desired.App
	for i, id := range hostile {
		k := app.Key{Droplet: app.MustGUID(id), Version: app.MustGUID(id)}
		rows = append(rows, desired.App{Key: k, Instances: 2, State: desired.Started, Package: desired.Staged})
		w.Must(apitest.Start.Add(time.Second), raftfsm.DEAChanges{DEA: id, Upserts: []actual.Instance{
			{App: k, GUID: app.MustGUID(id + "i"), Index: 0, State: actual.Crashed},
		}})
		w.HeardAt[id] = apitest.Start.Add(time.Second)
		_ = i
	}
	w.Desire(apitest.Start.Add(2*time.Second), rows...)
	base := serve(t, w.Options(), dashboard.Options{})
	check := func(path string) string {
		resp, body := load(t, base+path)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
		content := mainOf(t, body)
		for _, bad := range []string{"<script", "<img", "</title", "href=\"javascript", "'onfocus=alert(1)'"} {
			if strings.Contains(strings.ReplaceAll(strings.ReplaceAll(content, "<title>", ""), "</title>", ""), bad) {
				t.Errorf("%s has %s:\n%s", path, bad, content)
			}
		}
		return body
	}
	reached := map[string]bool{}
	for _, list := range []string{"/apps", "/deas"} {
		for _, link := range address.FindAllStringSubmatch(check(list), -1) {
			path := html.UnescapeString(link[1])
			if reached[path] {
				continue
			}
			reached[path] = true
			body := check(path)
			named := false
			for _, id := range hostile {
				heading := regexp.MustCompile(`<h1>(?:App|DEA) <code class="id">` + regexp.QuoteMeta(html.EscapeString(id)) + `</code>`)
				plain := strings.NewReplacer("&#39;", "'", "&#34;", `"`, "&#43;", "+", "&#96;", "`").Replace(body)
				escaped := strings.NewReplacer("&#39;", "'", "&#34;", `"`).Replace(heading.String())
				if regexp.MustCompile(escaped).MatchString(plain) {
					named = true
				}
			}
			if !named {
				t.Errorf("%s leads to a page that names none of them: %.300s", path, mainOf(t, body))
			}
		}
	}
	if len(reached) != 2*len(hostile) {
		t.Errorf("the lists lead to %d pages, want %d: %v", len(reached), 2*len(hostile), reached)
	}
}

var (
	nextPage = regexp.MustCompile(`href="([^"]*)" rel="next"`)
	appLink  = regexp.MustCompile(`<tr data-row><td data-label="App"><a href="([^"]*)"`)
	deaLink  = regexp.MustCompile(`<tr data-row><td data-label="DEA"><a href="([^"]*)"`)
)

// TestListsAreReadPageByPageWithoutAScript: following the links to the next page gives every item once.
func TestListsAreReadPageByPageWithoutAScript(t *testing.T) {
	base := serve(t, manyApps(450, 320).Options(), dashboard.Options{})
	for first, c := range map[string]struct {
		link *regexp.Regexp
		want int
	}{
		"/apps": {appLink, 450}, "/apps?sort=wanted": {appLink, 450}, "/apps?show=missing": {appLink, 450}, "/apps?q=a00001": {appLink, 100},
		"/deas": {deaLink, 320}, "/deas?sort=silence": {deaLink, 320},
	} {
		seen := map[string]bool{}
		for path, pages := first, 0; path != ""; pages++ {
			if pages > 10 {
				t.Fatalf("%s does not end", first)
			}
			_, body := load(t, base+path)
			for _, m := range c.link.FindAllStringSubmatch(body, -1) {
				if seen[m[1]] {
					t.Errorf("%s: %s comes twice", first, m[1])
				}
				seen[m[1]] = true
			}
			if path = ""; nextPage.MatchString(body) {
				path = html.UnescapeString(nextPage.FindStringSubmatch(body)[1])
			}
		}
		if len(seen) != c.want {
			t.Errorf("%s gives %d items, want %d", first, len(seen), c.want)
		}
	}
}

// manyApps gives a node with apps of which one index each is missing, and DEAs.
func manyApps(apps, deas int) *apitest.Node {
	w := apitest.New()
	var rows []desired.App
	changes := make([]raftfsm.Record, deas)
	lists := make([][]actual.Instance, deas)
	for i := range apps {
		k := apitest.Key(i+1, 1)
		rows = append(rows, desired.App{Key: k, Instances: 2, State: desired.Started, Package: desired.Staged})
		lists[i%deas] = append(lists[i%deas], apitest.Instance(k, i+1, 0, actual.Running))
	}
	for d := range deas {
		id := fmt.Sprintf("dea-%05d", d)
		changes[d] = raftfsm.DEAChanges{DEA: id, Upserts: lists[d]}
		w.HeardAt[id] = apitest.Start.Add(time.Duration(d%30) * time.Second)
	}
	w.Desire(apitest.Start, rows...)
	w.Must(apitest.Start.Add(30*time.Second), changes...)
	return w
}

// TestTheMapLeadsToItsDEAs: each cell has the page of the DEA at that place of the list.
func TestTheMapLeadsToItsDEAs(t *testing.T) {
	base := serve(t, manyApps(50, 40).Options(), dashboard.Options{})
	alone := *http.DefaultClient
	alone.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for cell, want := range map[string]string{"0": "/deas/dea-00000", "39": "/deas/dea-00039", "40": "", "-1": "", "x": ""} {
		resp, err := alone.Get(base + "/map/dea/" + cell)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Location"); got != want || (want == "") != (resp.StatusCode == http.StatusNotFound) {
			t.Errorf("cell %s leads to %q (%s), want %q", cell, got, resp.Status, want)
		}
	}
	if _, about := load(t, base+"/map/dea/39?about"); about != "dea-00039: heard, 1 instances" {
		t.Errorf("cell 39 is about %q", about)
	}
}

// TestManyBrowsersSeeTheMapAtOnce: they share one reading of the list, and one that goes away takes nothing from the
// others.
func TestManyBrowsersSeeTheMapAtOnce(t *testing.T) {
	base := serve(t, manyApps(50, 40).Options(), dashboard.Options{})
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/deas?n=%d", base, i), nil)
			if err != nil {
				t.Error(err)
				return
			}
			if i%3 == 0 {
				go leave()
			}
			resp, err := oneRequest.Do(req)
			if err != nil {
				if i%3 != 0 {
					t.Error(err)
				}
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); i%3 != 0 && (err != nil || !strings.Contains(string(body), "All 40 DEAs")) {
				t.Errorf("%s, %v: %.300s", resp.Status, err, body)
			}
		})
	}
	all.Wait()
}

// TestAnAppThatIsGoneHasItsHistory: nothing is recorded of it any more, and its page tells what happened to it.
func TestAnAppThatIsGoneHasItsHistory(t *testing.T) {
	w := apitest.Fleet()
	gone := apitest.Key(40, 1)
	w.History.Add(journal.Event{
		ID: journal.ID{Position: journal.Position{Index: 99}}, At: w.At, Kind: journal.InstanceCrashed, App: gone, Index: 3, DEA: "1-dea-one",
	})
	base := serve(t, w.Options(), dashboard.Options{})
	resp, body := load(t, base+"/apps/"+gone.Droplet.String())
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "Nothing of this app is recorded any more") || !strings.Contains(body, "instance.crashed") {
		t.Errorf("%s: %s", resp.Status, mainOf(t, body))
	}
	if resp, _ := load(t, base+"/apps/"+apitest.Key(41, 1).Droplet.String()); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an app that never was: %s", resp.Status)
	}
}

// TestPagesStandWithoutAHistory: the journal cannot be read, and the pages of apps, DEAs and commands say so and show the
// rest.
func TestPagesStandWithoutAHistory(t *testing.T) {
	w := apitest.Fleet()
	w.History.Fail(journal.ErrUnavailable)
	base := serve(t, w.Options(), dashboard.Options{})
	for path, want := range map[string]string{
		"/apps/a0000003": "index 1", "/deas/1-dea-two": "STARTING", "/commands": "crashed repeatedly: restart is delayed",
	} {
		resp, body := load(t, base+path)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, want) || !strings.Contains(body, "The history cannot be read") {
			t.Errorf("%s: %s\n%s", path, resp.Status, mainOf(t, body))
		}
	}
}
