//go:build !race

package browsertest

import (
	_ "embed"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// axe is axe-core 4.14.1 (https://github.com/dequelabs/axe-core), under the licence in testdata/axe.
//
//go:embed testdata/axe/axe.min.js
var axe string

// The rules of axe-core to check.
const (
	// allRules are those of WCAG 2.2, levels A and AA, and axe's own rules of good practice.
	allRules = `["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]`
	// lookRules are those that depend on colours and sizes.
	lookRules = `{type: "rule", values: ["color-contrast", "target-size", "link-in-text-block", "scrollable-region-focusable"]}`
)

// runAxe checks rules once nothing moves any more: a colour on its way to another one may lack contrast.
const runAxe = `Promise.all(document.getAnimations()
  .filter(a => a.effect.getComputedTiming().endTime !== Infinity).map(a => a.finished.catch(() => {})))
.then(() => axe.run(document, {runOnly: %s, resultTypes: ["violations"]}))
.then(r => r.violations.flatMap(v => v.nodes.map(n =>
  v.id + " (" + v.help + "): " + n.target.join(" ") + ": " + n.failureSummary.replaceAll("\n", " "))))`

// violations checks rules of axe-core in the page.
func (b *tab) violations(rules string) (found []string) {
	b.t.Helper()
	if !b.has("window.axe") {
		b.eval(axe+"; undefined", nil)
	}
	b.eval(fmt.Sprintf(runAxe, rules), &found)
	return found
}

// checkAccess fails the test for every violation in the page.
func (b *tab) checkAccess(what, rules string) {
	b.t.Helper()
	for _, v := range b.violations(rules) {
		b.t.Errorf("%s: %s", what, v)
	}
}

// TestAxeFindsViolations holds that axe-core runs as it should in a page with a strict policy.
func TestAxeFindsViolations(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'self'")
		if r.URL.Path == "/style.css" {
			h.Set("Content-Type", "text/css")
			fmt.Fprint(w, "p { color: #999; background: #fff }")
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html><title>bad</title><link rel=icon href=data:,><link rel=stylesheet href=/style.css>
			<main><h1>Bad</h1><p>grey</p><input></main>`)
	}))
	defer server.Close()
	b := openTab(t, server.URL, desktop)
	b.visit("/")
	found := strings.Join(b.violations(allRules), "\n")
	for _, rule := range []string{"color-contrast", "html-has-lang", "label"} {
		if !strings.Contains(found, rule+" (") {
			t.Errorf("axe-core does not find a violation of %s:\n%s", rule, found)
		}
	}
}
