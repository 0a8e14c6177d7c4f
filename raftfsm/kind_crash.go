package raftfsm

import "hm/internal/app"

// CrashRef names one crash record.
type CrashRef struct {
	App   app.Key
	Index uint32
}

// CrashesForgotten drops crash records. One that does not exist is ignored.
type CrashesForgotten struct{ Crashes []CrashRef }

// Kind is KindCrashesForgotten.
func (CrashesForgotten) Kind() Kind { return KindCrashesForgotten }
