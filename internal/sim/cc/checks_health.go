package cc

import (
	"hm/desired"
	"hm/internal/app"
)

// The names of the checks that only the commands of HealthManager 2.0 meet. The first check that applies refuses a start
// (N18) and a stop (N20); only CheckUnknownApp accepts a stop.
const (
	CheckEnoughRun = "enough-running" // as many instances run as the app wants
	CheckTooFew    = "too-few-left"   // fewer instances would be left than the app wants
	CheckNoneRuns  = "none-running"   // no instance of the app's version runs, so another version stays
)

// decideHealthStart is the Cloud Controller's decision on a health.start. running is that of the message. The index does
// not matter: one beyond the wanted number is started, too.
func decideHealthStart(row Row, known bool, version app.GUID, running map[string]int) (accept bool, check string) {
	switch {
	case !known:
		return false, CheckUnknownApp
	case row.State != desired.Started:
		return false, CheckNotStarted
	case version != row.Version:
		return false, CheckVersion
	case !row.Droplet && row.Package != desired.Failed:
		return false, CheckNoDroplet
	case running[version.String()] >= row.Instances:
		return false, CheckEnoughRun
	}
	return true, CheckNone
}

// decideHealthStop is the Cloud Controller's decision on a health.stop that asks to stop so many instances of each version.
// An empty message is accepted, and stops every instance (W35).
func decideHealthStop(row Row, known bool, asked map[app.GUID]int, running map[string]int) (accept bool, check string) {
	if !known {
		return true, CheckUnknownApp
	}
	for version := range asked {
		if version != row.Version && running[row.Version.String()] <= 0 {
			return false, CheckNoneRuns
		}
	}
	if n := asked[row.Version]; n > 0 && row.State == desired.Started && running[row.Version.String()]-n < row.Instances {
		return false, CheckTooFew
	}
	return true, CheckNone
}
