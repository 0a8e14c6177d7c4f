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
	// Exited is the newest instance that a droplet.exited named while no instance at the index was live and none with
	// that guid was recorded: it went away before any heartbeat showed it (R33, R34, R37). Zero if none.
	Exited     app.GUID
	ExitedAt   app.Time   // when that exit was recorded; 0 while Exited is zero
	ExitReason ExitReason // ExitCrashed, ExitShutdown or ExitEvacuation; 0 while Exited is zero
	// Answered says that an instance other than Instance has been live at the index since that crash was counted.
	Answered bool
	// Tries counts the starts at the index that were sent and had no effect, since anything was heard of the index.
	Tries   uint32
	TriedAt app.Time // when the newest of them was sent; 0 while Tries is 0
	// RunningSince is since when an instance at the index has been recorded RUNNING, 0 while none is. Ran is
	// the running time that ended since Last. Together they say how healthy the index has been (W20).
	RunningSince app.Time
	Ran          time.Duration
}

// CrashMark is what is known of a crashed instance beyond its being listed. A DEA lists a crash for as long as it likes,
// so a crash is told from an older one by the guid, and never by a DEA's clock.
type CrashMark uint8

// The marks. Their numbers are recorded and never change.
const (
	CrashNew      CrashMark = 0 // nothing has come of it yet
	CrashCounted  CrashMark = 1 // it was counted: a restart was scheduled for it, or for one beside it
	CrashAnswered CrashMark = 2 // another instance has been live at the index since: it means nothing any more
)

// Located is an instance with the DEA that it is recorded on.
type Located struct {
	Instance
	DEA   string
	Mark  CrashMark // of a crashed instance; 0 of others
	Heard app.Time  // when the instance was recorded in its present state on this DEA
	// Quiet: the deciding node has not heard the DEA for more than one and a half heartbeat periods, or the DEA did not
	// list the instance in its newest heartbeat beside entries that cannot be read. It may be on its way out, so nothing
	// else is stopped on its account.
	Quiet bool
}
