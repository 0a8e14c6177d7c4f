//go:build !race

package browsertest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"hm/internal/api/apitest"
)

// visitStill visits a page of a fake node. The pages that say that something does not exist answer 404.
func (b *tab) visitStill(path string) {
	b.t.Helper()
	if path == "/nothing" || path == "/apps/zzz" {
		b.tolerate("404")
	}
	b.visit(path)
}

// TestPagesAreAccessible runs axe-core on each page, in light and dark, on a desktop and on a phone.
func TestPagesAreAccessible(t *testing.T) {
	base := serve(t, apitest.WithUnreadable())
	b := openTab(t, base, desktop)
	pages := stillPages()
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		b.show(desktop)
		b.visitStill(pages[name])
		b.checkAccess(name+", light", allRules)
		b.show(desktop.inDark())
		b.checkAccess(name+", dark", lookRules)
		b.show(phone.inDark())
		b.checkAccess(name+", dark, on a phone", lookRules)
	}
}

// TestPagesFitAPhone holds that nothing is wider than a phone, so that a page scrolls in one direction only.
func TestPagesFitAPhone(t *testing.T) {
	base := serve(t, apitest.WithUnreadable())
	b := openTab(t, base, phone)
	for name, path := range stillPages() {
		b.visitStill(path)
		b.checkFits(name)
		var small []string
		b.eval(`[...document.querySelectorAll("main :is(p, td, th, li, a, button)")].filter(e =>
			e.checkVisibility() && e.innerText && parseFloat(getComputedStyle(e).fontSize) < 11).map(e => e.outerHTML.slice(0, 120))`, &small)
		if len(small) > 0 {
			t.Errorf("page %s has text below 11 px on a phone: %q", name, small)
		}
	}
}

// checkFits fails the test if the page scrolls sideways, or if something reaches out of the part of the page that it
// belongs to.
func (b *tab) checkFits(what string) {
	b.t.Helper()
	var wide []string
	b.eval(`[...document.querySelectorAll("body *")].filter(e => {
		const r = e.getBoundingClientRect(), text = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
		for (let p = e; p; p = p.parentElement) // what scrolls by itself may hold wider things
			if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(p).overflowX)) return false;
		return r.width > 1 && (r.right > document.documentElement.clientWidth + 1 || text && e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 4);
	}).map(e => e.outerHTML.slice(0, 120))`, &wide)
	var scrolls bool
	b.eval(`document.documentElement.scrollWidth > document.documentElement.clientWidth`, &scrolls)
	if scrolls || len(wide) > 0 {
		b.t.Errorf("page %s does not fit the screen (it scrolls sideways: %t): %q", what, scrolls, wide)
	}
}

// TestPagesStandStill holds that a page moves nothing that is on the screen: neither when the script takes over, nor
// when it renews the page.
func TestPagesStandStill(t *testing.T) {
	base := serve(t, apitest.WithUnreadable())
	for _, l := range []look{desktop, phone} {
		b := openTab(t, base, l)
		for name, path := range stillPages() {
			b.visitStill(path)
			b.awaitRenewed()
			b.checkStill(name + ", " + l.String())
		}
	}
}

// awaitRenewed waits until the script has renewed the page.
func (b *tab) awaitRenewed() {
	b.t.Helper()
	asked := b.asked()
	b.awaitUntil("the script renews the page", func() bool { return b.asked() > asked })
}

// maxShift is the sum of layout shifts below which web.dev calls a page good.
const maxShift = 0.1

// checkStill fails the test if something on the page has moved by itself.
func (b *tab) checkStill(what string) {
	b.t.Helper()
	var noted struct {
		Shift  float64
		Shifts []string
	}
	b.eval("hmTest", &noted)
	if noted.Shift >= maxShift {
		b.t.Errorf("%s: the layout shifts by %.3f: %s", what, noted.Shift, strings.Join(noted.Shifts, "; "))
	}
}

// TestPagesNeedNoScript holds that a page without JavaScript says everything that it says with it.
func TestPagesNeedNoScript(t *testing.T) {
	base := serve(t, apitest.WithUnreadable())
	with, without := openTab(t, base, desktop), openTab(t, base, desktop.withoutScript())
	for name, path := range stillPages() {
		with.visitStill(path)
		without.visitStill(path)
		got, want := without.words(), with.words()
		if len(got) < 5 {
			t.Errorf("page %s without script says only %v", name, got)
		}
		for w := range want {
			if !got[w] {
				t.Errorf("page %s without script lacks %q", name, w)
			}
		}
		var dead []string
		without.eval(`[...document.querySelectorAll("button[type=button]")].filter(e => e.checkVisibility()).map(e => e.outerHTML)`, &dead)
		if len(dead) > 0 {
			t.Errorf("page %s without script has buttons that do nothing: %q", name, dead)
		}
	}
}

// TestFormsNeedNoScript pauses and resumes hm in a browser without JavaScript.
func TestFormsNeedNoScript(t *testing.T) {
	b := openTab(t, serve(t, apitest.Fleet()), desktop.withoutScript())
	b.visit("/cluster")
	b.pauseByForm("switches are being replaced", "pat")
	b.await("the outcome and the closed gate",
		`document.querySelector("[role=alert]") && document.querySelector("#gate").dataset.state === "closed"`)
	b.resumeByForm()
	b.await("the outcome and the open gate",
		`document.querySelector("[role=alert]") && document.querySelector("#gate").dataset.state === "open"`)
}

// words gives the words that a person reads on the page, without numbers and what only a script can do.
func (b *tab) words() map[string]bool {
	b.t.Helper()
	var text string
	b.eval(`["#gate", "main"].map(part => {
		const e = document.querySelector(part).cloneNode(true);
		e.querySelectorAll(".needs-script").forEach(n => n.remove());
		return e.textContent;
	}).join(" ")`, &text)
	all := map[string]bool{}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '-') }) {
		all[w] = true
	}
	return all
}
