package api

import (
	"fmt"
	"html"
	"net"
	"net/http"
	"strings"
)

// wantsPage reports whether a person's browser asks for something to look at, rather than a program for data.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html") && !strings.HasPrefix(r.URL.Path, "/v1/")
}

// refuse answers with a problem before any page can be made: as a plain page if a browser asks, or else as a document.
func refuse(w http.ResponseWriter, r *http.Request, p *Problem) {
	if !wantsPage(r) {
		writeProblem(w, p)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>hm: %[1]s</title></head><body><h1>%[1]s</h1><p>%[2]s</p><p>%[3]s</p></body></html>\n",
		html.EscapeString(p.Title), html.EscapeString(p.Detail), html.EscapeString(p.Hint)) // an error means that the browser is gone
}

// foreignName reports whether a browser asks for a change under a name that is not certainly that of this machine.
//
// A page of another site can let its own name point to a loopback address once it is loaded. To the browser its requests
// then come from their own origin, so no header says that the page is foreign, and an API that listens on loopback may
// have no password. Only an address and localhost cannot be given to others.
func foreignName(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	if r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" { // no browser
		return false
	}
	name := r.Host
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		name = host
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	return net.ParseIP(name) == nil && name != "localhost" && !strings.HasSuffix(name, ".localhost")
}

// refuseForeignNames stands in front of an API without a password.
func refuseForeignNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if foreignName(r) {
			refuse(w, r, problem(http.StatusForbidden, "foreign-name", "without api.username a browser may ask for a change only under an address or localhost, not under the name "+clipHost(r.Host),
				"use the address, or set api.username and api.password"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func clipHost(host string) string { return strings.ToValidUTF8(host[:min(len(host), 100)], "") }
