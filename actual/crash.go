package actual

import (
	"time"

	"hm/internal/app"
)

// Crash is the recorded crash series of one index of an app (R07, R08). It holds facts; diff decides what follows from
// them.
type Crash struct {
	Index    uint32
	Count    uint32   // crash restarts scheduled in this series
	First    app.Time // when the series began
	Last     app.Time // when the newest restart was scheduled
	Instance app.GUID // the crashed instance that was counted last: no crash counts twice
	// Exited is an instance that exited before any heartbeat showed it: the newest one that a droplet.exited named
	// while no instance was live at the index and none with that guid was recorded (R33, R34, R37). Zero if there is
	// none.
	Exited     app.GUID
	ExitedAt   app.Time   // when that exit was recorded; 0 while Exited is zero
	ExitReason ExitReason // ExitCrashed, ExitShutdown or ExitEvacuation; 0 while Exited is zero
	// Answered says that an instance other than Instance has been live at the index since that crash was counted.
	Answered bool
	// Tries counts the starts that were sent and had no effect since the index was last heard of.
	Tries   uint32
	TriedAt app.Time // when the newest of them was sent; 0 while Tries is 0
	// RunningSince is when an instance at the index became RUNNING; 0 while none is. Ran is the running time since Last
	// that has ended. Together they say how healthy the index has been (W20).
	RunningSince app.Time
	Ran          time.Duration
}

// CrashMark says what has been done about a crashed instance. A DEA may list a crash for any time; hm tells a new crash
// from an old one by the guid, never by the clock of the DEA.
type CrashMark uint8

// The marks. Their numbers are recorded and never change.
const (
	CrashNew      CrashMark = 0 // nothing has been done about it yet
	CrashCounted  CrashMark = 1 // a restart was scheduled for it, or for another crash at its index
	CrashAnswered CrashMark = 2 // another instance has been live at the index since: nothing is to be done about it
)

// Located is an instance with the DEA that it is recorded on.
type Located struct {
	Instance
	DEA   string
	Mark  CrashMark // of a crashed instance; 0 of others
	Heard app.Time  // when the instance was recorded in its present state on DEA
	// Quiet says that the instance may be gone: the node that decides has not heard the DEA for more than one and a
	// half heartbeat periods, or the newest heartbeat of the DEA has unreadable entries and lacks the instance. No
	// other instance is stopped because this one runs.
	Quiet bool
}
