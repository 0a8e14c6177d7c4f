package actual

import (
	"time"

	"hm/internal/app"
)

// Crash is the recorded crash history of one index of one app (R07, R08). The state machine keeps the facts;
// what they mean for the next restart is diff's to say.
type Crash struct {
	Index    uint32
	Count    uint32   // crash restarts scheduled in this series
	First    app.Time // when the series began
	Last     app.Time // when the newest restart was scheduled
	Instance app.GUID // the crashed instance that was counted last, so that no crash is counted twice
	// Exited is the newest instance that a droplet.exited CRASHED named while no instance at the index was live
	// and none with that guid was recorded: it crashed before any heartbeat showed it (R34, R37). Zero if none.
	Exited   app.GUID
	ExitedAt app.Time // when that exit was recorded; 0 while Exited is zero
	// RunningSince is since when an instance at the index has been recorded RUNNING, 0 while none is. Ran is
	// the running time that ended since Last. Together they say how healthy the index has been (W20).
	RunningSince app.Time
	Ran          time.Duration
}

// Located is an instance with the DEA that it is recorded on.
type Located struct {
	Instance
	DEA   string
	Heard app.Time // when the instance was recorded in its present state on this DEA
	// Quiet: the deciding node has not heard the DEA for more than one and a half heartbeat periods, or the DEA did not
	// list the instance in its newest heartbeat beside entries that cannot be read. It may be on its way out, so nothing
	// else is stopped on its account.
	Quiet bool
}
