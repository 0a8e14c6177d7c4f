package raftfsm

import (
	"hm/desired"
	"hm/internal/app"
)

// DesiredChanges is one part of what a complete read of the desired state changes. It is only staged: it shows in
// no answer and counts for nothing until its commit (I6). A part of a newer generation discards what is staged of
// older ones; a part of an older generation than the staged or the committed one is refused.
type DesiredChanges struct {
	Generation uint64 // from 1
	Upserts    []desired.App
	Removes    []app.Key // taken before Upserts: a key in both stays
}

// Kind is KindDesiredChanges.
func (DesiredChanges) Kind() Kind { return KindDesiredChanges }

// DesiredCommit makes the staged parts of one generation count, all at once. It is refused unless exactly Parts
// parts of the generation are staged. A droplet is desired in one version: a row of another version takes its
// place.
type DesiredCommit struct {
	Generation uint64
	Parts      int
	Source     string // what was read, for people
}

// Kind is KindDesiredCommit.
func (DesiredCommit) Kind() Kind { return KindDesiredCommit }
