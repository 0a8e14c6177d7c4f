package dashboard

import "strconv"

// appPath is the path of an app's page.
func appPath(guid string) string { return "/apps/" + segment(guid) }

// indexPath is the path of one index on an app's page.
func indexPath(guid string, index uint32) string {
	return appPath(guid) + "?index=" + strconv.FormatUint(uint64(index), 10)
}

// deaPath is the path of a DEA's page.
func deaPath(id string) string { return "/deas/" + segment(id) }
