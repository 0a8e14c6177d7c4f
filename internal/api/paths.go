package api

import (
	"net/http"
	"net/url"
	"strings"
)

// segment escapes an id for one segment of a path. What url.PathEscape leaves alone, and every client and server takes
// for a step in the path, is escaped as well.
func segment(id string) string {
	switch id {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(id)
}

// slashSuffix ends the patterns of slashID.
const slashSuffix = "{rest...}"

// slashID serves the one id that http.ServeMux finds in no segment, because it takes it for the end of a path: a slash
// and nothing else. endpoints are by what follows the id in a path, and take the id as the path value that is named.
func slashID(mux *http.ServeMux, base, value string, endpoints map[string]endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		rest := strings.TrimPrefix(r.URL.EscapedPath(), base)
		if len(rest) < len("%2F") || !strings.EqualFold(rest[:len("%2F")], "%2F") {
			return noRoute(mux, r)
		}
		e, ok := endpoints[rest[len("%2F"):]]
		if !ok {
			return noRoute(mux, r)
		}
		r.SetPathValue(value, "/")
		return e(w, r)
	}
}
