package api

import (
	"net/http"
	"net/url"
	"strings"
)

// segment escapes an id for one segment of a path. It also escapes "." and "..": url.PathEscape does not, and clients
// and servers would read them as steps in the path.
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

// slashID serves the id "/", which http.ServeMux reads as the end of a path and finds in no segment. endpoints has an
// endpoint for each rest of a path after the id; the path value named value becomes the id.
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
