//go:build !race

package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

const (
	tabDeadline  = 45 * time.Second // bounds each wait; it is generous, for slow machines
	pollInterval = 25 * time.Millisecond
)

// tab is a tab of the browser with cookies and storage of its own. At its end the test fails for everything that a
// page did wrong: see complaints.
type tab struct {
	t    testing.TB
	ctx  context.Context
	base string // scheme and host of the node
	complaints
}

// look is how a tab shows pages.
type look struct {
	width, height int64
	phone         bool
	dark          bool
	noScript      bool
	scale         float64 // device pixels for each CSS pixel; 0: 1
}

var (
	desktop = look{width: 1280, height: 800}
	phone   = look{width: 390, height: 844, phone: true}
)

func (l look) inDark() look        { l.dark = true; return l }
func (l look) withoutScript() look { l.noScript = true; return l }

// String names a look in the name of a test.
func (l look) String() string {
	words := []string{"desktop"}
	if l.phone {
		words[0] = "phone"
	}
	if l.dark {
		words = append(words, "dark")
	} else {
		words = append(words, "light")
	}
	if l.noScript {
		words = append(words, "without script")
	}
	return strings.Join(words, " ")
}

// openTab opens an empty tab. It is closed when the test ends.
func openTab(t testing.TB, base string, l look) *tab {
	t.Helper()
	at, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{t: t, base: base, complaints: complaints{host: at.Host}}
	ctx, cancel := chromedp.NewContext(chromium.context(t), chromedp.WithNewBrowserContext(),
		chromedp.WithListener(b.hear))
	b.ctx = ctx
	t.Cleanup(func() {
		for _, c := range b.take() {
			t.Errorf("on %s: %s", base, c)
		}
		if t.Failed() {
			t.Logf("the tab at the end of the test:\n%s", b.describe())
		}
		cancel()
	})
	b.do("opening a tab") // before any action with a deadline: see chromedp.NewContext
	b.show(l)
	call(b, network.Enable, network.EnableParams{})
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: observeScript})
	return b
}

// show changes how the tab shows pages.
func (b *tab) show(l look) {
	b.t.Helper()
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: l.width, Height: l.height, DeviceScaleFactor: max(l.scale, 1), Mobile: l.phone,
	})
	call(b, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: l.phone})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.noScript})
}

// call sends the browser a command for the tab.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, tabDeadline)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%T: %v", params, err)
	}
	return result
}

// observeScript notes layout shifts that no input caused, and how long frames took, from the beginning of each page. It
// leaves out rows that make room for a new one in a list of events.
const observeScript = `
window.hmTest = {shift: 0, shifts: [], longTasks: []};
new PerformanceObserver(list => { for (const e of list.getEntries()) {
  const moved = e.sources.map(s => s.node?.nodeType === Node.ELEMENT_NODE ? s.node : s.node?.parentElement).filter(n => n && !n.closest(".events"));
  if (e.hadRecentInput || e.sources.length > 0 && moved.length === 0) continue;
  hmTest.shift += e.value;
  hmTest.shifts.push(e.value.toFixed(4) + " " + moved.map(n => n.tagName + "#" + n.id + "." + n.className).join(", "));
}}).observe({type: "layout-shift", buffered: true});
new PerformanceObserver(list => { for (const e of list.getEntries()) hmTest.longTasks.push(Math.round(e.duration)); })
  .observe({type: "longtask", buffered: true});
`

// step is an action without a result.
type step = chromedp.Action[chromedp.Void]

// do runs actions one after the other, with a bound on their time.
func (b *tab) do(what string, steps ...step) {
	b.t.Helper()
	ctx := b.ctx
	if len(steps) > 0 {
		bounded, cancel := context.WithTimeout(ctx, tabDeadline)
		defer cancel()
		ctx = bounded
	}
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// visit loads a page of the node and waits until its resources are loaded.
func (b *tab) visit(path string) {
	b.t.Helper()
	b.do("loading "+path, chromedp.Navigate(b.base+path))
}

// eval evaluates an expression in the page and decodes its value, which may be a promise, into v.
func (b *tab) eval(expression string, v any) {
	b.t.Helper()
	if err := b.tryEval(expression, v); err != nil {
		b.t.Fatalf("evaluating %.200s: %v", expression, err)
	}
}

func (b *tab) tryEval(expression string, v any) error {
	ctx, cancel := context.WithTimeout(b.ctx, tabDeadline)
	defer cancel()
	raw, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](expression, chromedp.EvalAsValue, chromedp.EvalAwaitPromise))
	if err != nil || v == nil {
		return err
	}
	if len(raw) == 0 {
		raw = []byte("null") // undefined
	}
	return json.Unmarshal(raw, v)
}

// script runs statements in the page, as often as a test wants. They are in a function, since a name that they declare
// outside of one could not be declared again before the page is replaced.
func (b *tab) script(statements string) {
	b.t.Helper()
	b.eval("(() => {\n"+statements+"\n})()", nil)
}

// text returns what a person reads in an element.
func (b *tab) text(selector string) (text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`(document.querySelector(%s) ?? {innerText: "there is no such element"}).innerText`, quote(selector)), &text)
	return text
}

// has reports whether an expression is true in the page. A page that is being replaced has no expression that is.
func (b *tab) has(expression string) bool {
	var is bool
	return b.tryEval("Boolean("+expression+")", &is) == nil && is
}

// await waits until an expression is true in the page.
func (b *tab) await(what, expression string) {
	b.t.Helper()
	b.awaitUntil(what, func() bool { return b.has(expression) })
}

// awaitText waits until an element's text contains a text.
func (b *tab) awaitText(selector, text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("%q in %s", text, selector),
		fmt.Sprintf(`document.querySelector(%s)?.innerText.includes(%s)`, quote(selector), quote(text)))
}

func (b *tab) awaitUntil(what string, reached func() bool) {
	b.t.Helper()
	for end := time.Now().Add(tabDeadline); !reached(); time.Sleep(pollInterval) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: not after %s", what, tabDeadline)
		}
	}
}

// click clicks the middle of an element, as a mouse does.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.do("clicking "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// describe gives the page's address and text, for a test that failed.
func (b *tab) describe() string {
	var text string
	err := b.tryEval(`location.href + "\n" + (document.body?.innerText ?? "")`, &text)
	if err != nil {
		return err.Error()
	}
	return text[:min(len(text), 4000)]
}

// quote makes a text a JavaScript literal.
func quote(text string) string {
	literal, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(literal)
}
