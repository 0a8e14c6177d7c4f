package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hm/internal/api"
	"hm/internal/api/apitest"
	"hm/internal/dashboard"
	"hm/internal/reconcile"
	"hm/raftfsm"
)

var sprintf = fmt.Sprintf

func writeJSON(t *testing.T, w io.Writer, v any) {
	t.Helper()
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Error(err)
	}
}

// fakeSandbox notes what is asked of it.
type fakeSandbox struct {
	mu   sync.Mutex
	done []string
}

func (f *fakeSandbox) Actions() []dashboard.SandboxAction {
	return []dashboard.SandboxAction{{Name: "kill-dea", Key: "k", Text: "kill a DEA"}, {Name: "toggle-nats", Key: "n", Text: "stop or start NATS"}}
}

func (f *fakeSandbox) Do(_ context.Context, name string) error {
	if name == "unknown" {
		return fmt.Errorf("the sandbox has no action %q", name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, name)
	return nil
}

func (f *fakeSandbox) State() dashboard.SandboxState {
	return dashboard.SandboxState{
		About: "3 nodes", Desired: 10, Settled: 9, Router: true, Requests: 5, RequestsFailed: 1, Faults: []string{"NATS is stopped (n)"},
		Done: []dashboard.SandboxEvent{{At: time.Unix(1, 0), Text: "killed <b>DEA</b>", Failed: true}}, Places: []dashboard.SandboxPlace{{Name: "nats", Address: "nats://x"}},
	}
}

// browser sends forms as a browser does: it keeps cookies and follows redirects.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
	user   string
}

func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, base: base, client: &http.Client{Jar: jar, Transport: oneRequest.Transport}}
}

// send sends a form with a header, and gives the page on which the browser ends.
func (b *browser) send(path string, form url.Values, header ...string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return b.do(req)
}

func (b *browser) get(path string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(req)
}

func (b *browser) do(req *http.Request) (*http.Response, string) {
	b.t.Helper()
	if b.user != "" {
		req.SetBasicAuth(b.user, "secret")
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(raw)
}

// TestFormsChangeAndTell pauses, resumes, sets and releases a hold on the pages. Each outcome is told once.
func TestFormsChangeAndTell(t *testing.T) {
	node := apitest.Fleet()
	b := newBrowser(t, serve(t, node.Options(), dashboard.Options{}))
	step := func(path string, form url.Values, tells string, holds ...string) {
		t.Helper()
		form.Set("back", "/cluster")
		resp, body := b.send(path, form)
		if resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/cluster" || !strings.Contains(body, tells) {
			t.Fatalf("%s %v ends at %s with %s and does not tell %q:\n%s", path, form, resp.Request.URL, resp.Status, tells, body)
		}
		var names []string
		for _, h := range node.View().Holds() {
			names = append(names, h.Name)
		}
		if fmt.Sprint(names) != fmt.Sprint(holds) {
			t.Errorf("after %s the holds are %v, want %v", path, names, holds)
		}
		if _, again := b.get("/cluster"); strings.Contains(again, `class="told`) {
			t.Errorf("the outcome of %s is told twice", path)
		}
	}
	step("/do/pause", url.Values{"reason": {"upgrading"}, "minutes": {"30"}, "by": {"amy"}}, "set by amy: upgrading", "paused")
	step("/do/resume", url.Values{}, "nothing was changed: tick the box", "paused")
	step("/do/resume", url.Values{"confirm": {"yes"}}, "hm is no longer paused")
	step("/do/resume", url.Values{"confirm": {"yes"}}, "no hold paused was set any more")
	step("/do/pause", url.Values{"minutes": {"-3"}}, "is not a number of minutes")
	step("/do/hold", url.Values{"name": {"network-work"}, "reason": {"<b>"}}, "network-work until released, set by 127.0.0.1: &lt;b&gt;", "network-work")
	step("/do/hold", url.Values{"name": {" "}}, "a hold needs a name", "network-work")
	step("/do/hold", url.Values{"name": {"two words"}}, "was refused", "network-work")
	step("/do/release", url.Values{"name": {"network-work"}}, "tick the box", "network-work")
	step("/do/release", url.Values{"name": {"network-work"}, "confirm": {"yes"}}, "hold network-work is released")
	step("/do/cancel", url.Values{}, "names no command")
	step("/do/cancel", url.Values{"id": {"x"}}, "x")
	for c := range node.View().AllCommands() {
		if c.State.String() == "pending" {
			step("/do/cancel", url.Values{"id": {c.ID.String()}}, "is dropped")
		}
	}
}

// TestWhoWroteIsRecorded holds that the API records the user of the browser, and the name that the person gave.
func TestWhoWroteIsRecorded(t *testing.T) {
	node := apitest.Fleet()
	o := node.Options()
	o.Username, o.Password = "ops", "secret"
	b := newBrowser(t, serve(t, o, dashboard.Options{}))
	resp, body := b.get("/")
	if resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") || strings.Contains(body, "hm-1") {
		t.Errorf("without a password: %s %v\n%s", resp.Status, resp.Header, body)
	}
	if resp, _ := b.send("/do/pause", url.Values{}); resp.StatusCode != http.StatusUnauthorized || len(node.View().Holds()) > 0 {
		t.Errorf("a form without a password: %s, holds %v", resp.Status, node.View().Holds())
	}
	b.user = "ops"
	b.send("/do/pause", url.Values{"by": {"amy"}})
	if holds := node.View().Holds(); len(holds) != 1 || holds[0].By != "ops (amy)" {
		t.Errorf("the holds are %+v", holds)
	}
}

// TestForeignPagesChangeNothing sends the forms as pages of other sites would, and the addresses of forms as links.
func TestForeignPagesChangeNothing(t *testing.T) {
	node, sandbox := apitest.Fleet(), &fakeSandbox{}
	b := newBrowser(t, serve(t, node.Options(), dashboard.Options{Sandbox: sandbox}))
	form := url.Values{"confirm": {"yes"}, "name": {"x"}, "id": {"x"}, "action": {"kill-dea"}}
	before := node.View().Index()
	for _, path := range []string{"/do/pause", "/do/resume", "/do/hold", "/do/release", "/do/cancel", "/do/sandbox", "/do/theme"} {
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}} {
			if resp, body := b.send(path, form, header...); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s with %q: %s\n%s", path, header, resp.Status, body)
			}
		}
		if resp, _ := b.send(path, form, "Content-Type", "text/plain"); resp.StatusCode != http.StatusOK || resp.Request.Method != http.MethodGet {
			t.Errorf("%s as text: %s", path, resp.Status)
		}
		if resp, _ := b.get(path + "?" + form.Encode()); resp.StatusCode != http.StatusMethodNotAllowed && resp.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
	if node.View().Index() != before || len(sandbox.done) > 0 {
		t.Errorf("something was changed: index %d, was %d; %v", node.View().Index(), before, sandbox.done)
	}
}

// TestRebindingChangesNothing: a page of another site whose name points to this machine asks from its own origin, as the
// browser sees it. Without a password only its name gives it away.
func TestRebindingChangesNothing(t *testing.T) {
	node := apitest.Fleet()
	base := serve(t, node.Options(), dashboard.Options{})
	_, port, _ := strings.Cut(strings.TrimPrefix(base, "http://"), ":")
	for host, want := range map[string]int{"evil.example:" + port: http.StatusForbidden, "localhost:" + port: http.StatusSeeOther, "127.0.0.1:" + port: http.StatusSeeOther} {
		for path, kind := range map[string]string{"/do/theme": "application/x-www-form-urlencoded", "/v1/holds": "application/json"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, strings.NewReader(`{"name":"x","reason":"y"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			req.Header.Set("Content-Type", kind)
			req.Header.Set("Origin", "http://"+host)
			resp, err := oneRequest.Transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if forbidden := resp.StatusCode == http.StatusForbidden; forbidden != (want == http.StatusForbidden) {
				t.Errorf("%s from %s: %s", path, host, resp.Status)
			}
		}
	}
}

// TestFormsReturnToPagesOfHM holds that no form can send a browser elsewhere.
func TestFormsReturnToPagesOfHM(t *testing.T) {
	base := serve(t, apitest.Fleet().Options(), dashboard.Options{})
	for back, want := range map[string]string{
		"/events?kind=hold": "/events?kind=hold", "": "/", "//evil.example/": "/", "https://evil.example/": "/", "/\\evil.example": "/",
		"javascript:alert(1)": "/", "/do/pause": "/", "/apps/%2F": "/apps/%2F", "/x\r\nSet-Cookie: a=b": "/", "/%zz": "/",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/do/theme", strings.NewReader(url.Values{"back": {back}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := oneRequest.Transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("back to %q: %s %q, want %q", back, resp.Status, got, want)
		}
	}
}

// TestHeaders holds that pages are never stored, cannot be framed and run no script but their own, and that assets are
// kept for ever.
func TestHeaders(t *testing.T) {
	base := serve(t, apitest.Fleet().Options(), dashboard.Options{})
	resp, body := load(t, base+"/")
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "same-origin",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	policy := resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(policy, "unsafe") ||
		!strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("the policy is %q", policy)
	}
	types := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
	loaded := 0
	for _, quoted := range strings.Split(body, `"`) {
		if !strings.HasPrefix(quoted, "/assets/") || strings.Contains(quoted, " ") {
			continue
		}
		loaded++
		resp, content := load(t, base+quoted)
		ext := quoted[strings.LastIndex(quoted, "."):]
		if resp.StatusCode != http.StatusOK || content == "" || resp.Header.Get("Cache-Control") != "private, max-age=31536000, immutable" ||
			resp.Header.Get("Content-Type") != types[ext] {
			t.Errorf("%s: %s %v", quoted, resp.Status, resp.Header)
		}
	}
	if loaded < 4 {
		t.Errorf("the page loads %d assets", loaded)
	}
	if resp, _ := load(t, base+"/assets/app.js"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an asset without its hash: %s", resp.Status)
	}
}

// TestSandboxPanel does what the buttons say, and only where there is a sandbox.
func TestSandboxPanel(t *testing.T) {
	sandbox := &fakeSandbox{}
	b := newBrowser(t, serve(t, apitest.Fleet().Options(), dashboard.Options{Sandbox: sandbox}))
	for _, path := range []string{"/sandbox", "/"} {
		if resp, body := b.get(path); resp.StatusCode != http.StatusOK || !strings.Contains(body, `value="kill-dea"`) || !strings.Contains(body, "NATS is stopped") {
			t.Errorf("%s: %s\n%s", path, resp.Status, body)
		}
	}
	b.send("/do/sandbox", url.Values{"action": {"kill-dea"}, "back": {"/sandbox"}})
	if _, body := b.send("/do/sandbox", url.Values{"action": {"unknown"}, "back": {"/sandbox"}}); !strings.Contains(body, "has no action") {
		t.Errorf("an unknown action is not told:\n%s", body)
	}
	if fmt.Sprint(sandbox.done) != "[kill-dea]" {
		t.Errorf("the sandbox was asked for %v", sandbox.done)
	}
	plain := newBrowser(t, serve(t, apitest.Fleet().Options(), dashboard.Options{}))
	if resp, body := plain.get("/sandbox"); resp.StatusCode != http.StatusNotFound || strings.Contains(body, "/do/sandbox") {
		t.Errorf("without a sandbox: %s", resp.Status)
	}
	if _, body := plain.send("/do/sandbox", url.Values{"action": {"kill-dea"}}); !strings.Contains(body, "there is no sandbox") {
		t.Errorf("without a sandbox the form tells:\n%s", body)
	}
}

// TestBrowsersShareAPage holds that many browsers cost little more than one, that a change is seen at once, and that
// requests that go away leave nothing behind.
func TestBrowsersShareAPage(t *testing.T) {
	node := apitest.Fleet()
	var asked atomic.Int64
	o := node.Options()
	o.Dashboard = func(c *api.Client) http.Handler {
		pages := dashboard.New(c, dashboard.Options{})
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { pages.ServeHTTP(w, r) })
	}
	clock := o.Clock
	o.Clock = func() time.Time { asked.Add(1); return clock() } // each answer of the API asks for the time
	s, err := api.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	base := "http://" + s.Addr()
	ask := func(browsers int) int64 {
		before := asked.Load()
		var all sync.WaitGroup
		for range browsers {
			all.Go(func() {
				if resp, _ := load(t, base+"/", "Hm-Part", "live"); resp.StatusCode != http.StatusOK {
					t.Error(resp.Status)
				}
			})
		}
		all.Wait()
		return asked.Load() - before
	}
	began := time.Now()
	one := ask(1)
	many := ask(40)
	if rounds := int64(time.Since(began)/time.Second) + 1; many > rounds*one {
		t.Errorf("40 browsers made the API answer %d times in %s, one %d times", many, time.Since(began), one)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(gone, http.MethodGet, base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oneRequest.Do(req); err == nil {
		t.Error("a request that was given up was answered")
	}
	if _, body := load(t, base+"/cluster"); strings.Contains(body, "Paused by the test") {
		t.Fatal("the node is paused already")
	}
	node.Must(node.At, raftfsm.HoldSet{Hold: raftfsm.Hold{Name: "seen-later", Reason: "set by another", SetAt: node.At}})
	b := newBrowser(t, base)
	if _, body := b.send("/do/pause", url.Values{"reason": {"Paused by the test"}, "back": {"/cluster"}}); !strings.Contains(body, "Paused by the test") ||
		!strings.Contains(body, reconcile.HoldPaused) {
		t.Errorf("the page after a change is that from before:\n%s", body)
	}
}
