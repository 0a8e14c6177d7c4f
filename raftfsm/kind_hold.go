package raftfsm

import "hm/internal/app"

// Hold is a reason to send nothing.
type Hold struct {
	Name   string // 1 to 64 printable ASCII bytes without spaces
	Reason string
	By     string
	SetAt  app.Time // 0 in a HoldSet: the entry's time
	Until  app.Time // 0 until it is released
}

// HoldSet sets a hold, or replaces the one of that name.
type HoldSet struct{ Hold Hold }

// Kind is KindHoldSet.
func (HoldSet) Kind() Kind { return KindHoldSet }

// HoldReleased removes a hold. It is refused if there is none of that name.
type HoldReleased struct{ Name string }

// Kind is KindHoldReleased.
func (HoldReleased) Kind() Kind { return KindHoldReleased }
