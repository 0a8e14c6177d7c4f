package browsertest

import (
	"maps"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"hm/internal/api/apitest"
)

// press presses keys, one after the other.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.do("pressing keys", chromedp.KeyEvent(keys))
}

// focused describes the element that has the focus, and whether it shows that.
func (b *tab) focused() (element string, shows bool) {
	b.t.Helper()
	var f struct {
		Element string
		Shows   bool
	}
	b.eval(`(() => {
		const e = document.activeElement, s = getComputedStyle(e);
		return {element: e.outerHTML.slice(0, 160), shows: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== "none"};
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
			window.unreached = new Set([...document.querySelectorAll("a[href], button, input, select, textarea, summary")].filter(e =>
				e.checkVisibility({visibilityProperty: true}) && !e.disabled && e.type !== "hidden" && e.tabIndex >= 0));
			document.addEventListener("focusin", e => unreached.delete(e.target));
			return [...unreached].map(e => e.outerHTML);
		})()`, &left)
		for range len(left) {
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
