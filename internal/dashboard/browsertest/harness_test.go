//go:build !race

package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWrongPagesAreNoticed holds that the harness notices each kind of mistake of a page.
func TestWrongPagesAreNoticed(t *testing.T) {
	bodies := map[string]string{
		"error":     `<script>console.error("it broke", 7)</script>`,
		"exception": `<script>setTimeout(() => { throw new Error("nobody catches this") })</script>`,
		"rejection": `<script>Promise.reject(new Error("nobody awaits this"))</script>`,
		"missing":   `<img src="/nothing" alt="">`,
		"host":      `<img src="http://127.0.0.2:9/other" alt="">`,
		"policy":    `<p style="color: red">styled</p>`,
		"fine":      `<p>nothing is wrong</p>`,
	}
	wants := map[string]string{
		"error": "it broke", "exception": "nobody catches this", "rejection": "nobody awaits this",
		"missing": "answers 404", "host": "another host", "policy": "Content Security Policy",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := bodies[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.URL.Path == "/policy" {
			w.Header().Set("Content-Security-Policy", "default-src 'self'")
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><html lang=en><title>%s</title><link rel=icon href=data:,>%s", r.URL.Path, body)
	}))
	defer server.Close()
	b := openTab(t, server.URL, desktop)
	for name := range bodies {
		b.visit("/" + name)
		if wants[name] == "" {
			if found := b.take(); len(found) > 0 {
				t.Errorf("page %s: %q", name, found)
			}
			continue
		}
		var found []string
		b.awaitUntil("a complaint about page "+name, func() bool {
			found = append(found, b.take()...)
			return strings.Contains(strings.Join(found, "\n"), wants[name])
		})
	}
}
