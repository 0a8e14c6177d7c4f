//go:build !race

package browsertest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp/kb"

	"hm/internal/api/apitest"
	"hm/internal/words"
)

// press presses keys, one after the other, as a keyboard does: a page that takes a key keeps it from typing a letter.
// (chromedp types the letter by an event of its own.)
func (b *tab) press(keys string) {
	b.t.Helper()
	for _, r := range keys {
		k, ok := kb.Keys[r]
		if !ok {
			b.t.Fatalf("no key %q", r)
		}
		down := input.DispatchKeyEventParams{
			Type: input.DispatchKeyEventTypeKeyDown, Key: k.Key, Code: k.Code, Text: k.Text, UnmodifiedText: k.Unmodified,
			WindowsVirtualKeyCode: k.Windows, NativeVirtualKeyCode: k.Native,
		}
		call(b, input.DispatchKeyEvent, down)
		up := down
		up.Type, up.Text, up.UnmodifiedText = input.DispatchKeyEventTypeKeyUp, "", ""
		call(b, input.DispatchKeyEvent, up)
	}
}

// focused describes the element that has the focus, and whether it shows that.
func (b *tab) focused() (element string, shows bool) {
	b.t.Helper()
	var f struct {
		Element string
		Shows   bool
	}
	b.eval(`(() => {
		const e = document.activeElement, s = getComputedStyle(e), shape = e.querySelector(":scope > rect"); // of a map
		return {element: e.outerHTML.slice(0, 160), shows: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0
			|| s.boxShadow !== "none" || shape !== null && getComputedStyle(shape).stroke !== "none"};
	})()`, &f)
	return f.Element, f.Shows
}

// TestKeyboardReachesEverything holds that the tab key reaches every link, button and field, and that each shows it.
func TestKeyboardReachesEverything(t *testing.T) {
	base := serve(t, apitest.WithUnreadable())
	b := openTab(t, base, desktop)
	pages := stillPages()
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		b.visitStill(pages[name])
		var left []string
		b.eval(`(() => {
			window.unreached = new Set([...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex=\"0\"]")].filter(e =>
				e.checkVisibility({visibilityProperty: true}) && !e.disabled && e.type !== "hidden" && e.tabIndex >= 0));
			document.addEventListener("focusin", e => unreached.delete(e.target));
			return [...unreached].map(e => e.outerHTML);
		})()`, &left)
		for range 2 * len(left) { // tables that scroll are stops, too
			if !b.has("unreached.size > 0") {
				break
			}
			b.press(kb.Tab)
			if element, shows := b.focused(); !shows {
				t.Errorf("page %s does not show that this element has the focus: %s", name, element)
			}
		}
		b.eval(`[...unreached].map(e => e.outerHTML.slice(0, 160))`, &left)
		if len(left) > 0 {
			t.Errorf("page %s: the tab key does not reach %q", name, left)
		}
	}
}

// TestKeyboardAlone finds a crashed app, and pauses hm, without a mouse.
func TestKeyboardAlone(t *testing.T) {
	b := openTab(t, serve(t, apitest.Fleet()), desktop)
	b.visit("/")
	b.press(kb.Tab)
	if element, _ := b.focused(); !strings.Contains(element, "#main") {
		t.Errorf("the first tab stop is not the link that skips the navigation: %s", element)
	}
	b.press("/" + apitest.Crashy.Droplet.String()[:8] + kb.Enter)
	b.await("the page of the app", `location.pathname.startsWith("/apps") && document.readyState === "complete"`)
	b.awaitText("main", words.Short(apitest.Crashy.Droplet.String()))

	b.press("gl")
	b.await("the page of the cluster", `location.pathname === "/cluster" && document.readyState === "complete"`)
	b.tabTo(`details:has([action="/do/pause"]) > summary`)
	b.press(kb.Enter + kb.Tab + "switches are being replaced" + kb.Enter)
	b.awaitText("#gate", "paused")
}

// tabTo presses the tab key until an element has the focus.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	for range 300 {
		if b.has(fmt.Sprintf("document.activeElement.matches(%s)", quote(selector))) {
			return
		}
		b.press(kb.Tab)
	}
	b.t.Fatalf("the tab key does not reach %s", selector)
}
