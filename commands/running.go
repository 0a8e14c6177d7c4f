package commands

import "hm/internal/app"

// Running is what a message of HealthManager 2.0 says of a command's app besides the command itself (N17, N19). The
// Cloud Controller decides by these counts (N18, N20). The zero value says that nothing runs.
type Running struct {
	Desired  app.GUID // the version in which the app is desired; zero if it is not
	Counts   []VersionCount
	Flapping bool // of a start: it follows a crash, and was put off because the index has crashed often
}

// VersionCount is how many instances of one version of an app run.
type VersionCount struct {
	Version    app.GUID
	LetterCase app.LetterCase // how the Cloud Controller writes Version, if it is the desired one
	Instances  int
}
