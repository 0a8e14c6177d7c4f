package cc

import (
	"hm/desired"
	"hm/internal/app"
)

// The names of the Cloud Controller's checks, in their order for a start (N26) and for a stop (N27). The first check
// that applies refuses a start, and accepts a stop.
const (
	CheckUnknownApp  = "app-unknown"
	CheckDiego       = "on-diego"
	CheckVersion     = "version-differs"
	CheckIndex       = "index-out-of-range"
	CheckNoDroplet   = "no-droplet"
	CheckNotStaged   = "not-staged"
	CheckNotStarted  = "not-started"
	CheckStageFailed = "staging-failed"
	CheckDuplicate   = "is-duplicate"
	CheckStopped     = "app-stopped"
	CheckNone        = ""          // no check applies: a start is accepted, a stop refused
	CheckMalformed   = "malformed" // a message that cannot be read or lacks a key: there is no decision (N25)
)

// decideStart is the Cloud Controller's decision on a start. row is the app's, if it is known. What runs does not matter:
// a start for an index that runs already is accepted, and makes a duplicate.
func decideStart(row Row, known bool, version app.GUID, index int) (accept bool, check string) {
	switch {
	case !known:
		return false, CheckUnknownApp
	case row.Diego:
		return false, CheckDiego
	case version != row.Version:
		return false, CheckVersion
	case index >= row.Instances:
		return false, CheckIndex
	case !row.Droplet:
		return false, CheckNoDroplet
	case row.Package != desired.Staged:
		return false, CheckNotStaged
	case row.State != desired.Started:
		return false, CheckNotStarted
	}
	return true, CheckNone
}

// decideStop is the Cloud Controller's decision on a stop. A stop of a duplicate is accepted whatever its index (N27), so
// a health manager that sends too many of them takes an app down.
func decideStop(row Row, known bool, version app.GUID, index int, duplicate bool) (accept bool, check string) {
	switch {
	case !known:
		return true, CheckUnknownApp
	case row.Diego:
		return true, CheckDiego
	case row.Package == desired.Failed:
		return true, CheckStageFailed
	case duplicate:
		return true, CheckDuplicate
	case version != row.Version:
		return true, CheckVersion
	case index >= row.Instances:
		return true, CheckIndex
	case row.State == desired.Stopped:
		return true, CheckStopped
	}
	return false, CheckNone
}
