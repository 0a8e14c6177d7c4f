package dashboard

import (
	"net/url"
	"strconv"
)

// pathSegment escapes an id for one segment of a path. It also escapes "." and "..": browsers and servers would read them as
// steps in the path.
func pathSegment(id string) string {
	switch id {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(id)
}

// appPath is the path of an app's page.
func appPath(guid string) string { return "/apps/" + pathSegment(guid) }

// indexPath is the path of one index on an app's page.
func indexPath(guid string, index uint32) string {
	return appPath(guid) + "?index=" + strconv.FormatUint(uint64(index), 10)
}

// deaPath is the path of a DEA's page.
func deaPath(id string) string { return "/deas/" + pathSegment(id) }
