package raftfsm

import (
	"hm/desired"
	"hm/internal/app"
)

// Basis is what a decision about one index of an app rested on. Two equal ones mean that nothing relevant changed
// between.
type Basis struct {
	Desired uint64 // revision of the desired row in this version: the Raft index of its last change; 0 if there is none
	Index   uint64 // fingerprint of the instances (guid, state, DEA) and the claimed or sent commands at the index
}

// App is what is recorded of one app, instances aside.
type App struct {
	Key        app.Key
	Desired    desired.App // zero unless HasDesired
	HasDesired bool
	Rev        uint64   // Basis.Desired
	GrewAt     app.Time // when an instance was last added, 0 if never
	Instances  int      // records of instances; a guid that is recorded on two DEAs counts twice (W10)
}

// DEA is what is recorded of one DEA, instances aside.
type DEA struct {
	ID        string
	Rev       uint64 // Raft index of its last change
	FirstSeen app.Time
	ChangedAt app.Time
	GoneAt    app.Time // when it was recorded as gone, 0 while it is not
	Len       int      // instances
}

// DesiredMeta is what is recorded of the newest committed read of the desired state.
type DesiredMeta struct {
	Generation  uint64
	CommittedAt app.Time
	Source      string
	Complete    bool // any read was ever committed
	Apps        int  // wanted ones
	Instances   int  // of the wanted apps
}

// Counts sums up the state. It is kept as entries are applied.
type Counts struct {
	DEAs, GoneDEAs                                    int // DEAs: those that are not gone
	Apps, DesiredInstances                            int // wanted ones
	Instances, Starting, Running, Crashed, Evacuating int
	PendingStarts, PendingStops                       int    // in state Pending
	SentStarts, SentStops                             uint64 // ever marked Sent
}

// Handle addresses an app's record within one State and the views frozen from it. It means nothing to another
// State, and it may come to name another app once its own has left the record.
type Handle uint32
