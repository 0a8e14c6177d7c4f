package raftfsm

import (
	"hm/actual"
	"hm/internal/app"
)

// MaxSince is the largest actual.Instance.Since that is recorded. What lies outside 0 to MaxSince is recorded as
// the nearer bound.
const MaxSince = 1<<48 - 1

// DEAChanges is how one DEA's heartbeat differs from what is recorded of the DEA. An unknown DEA, or one that was
// gone, is recorded anew. Upserts replace by instance guid; of two with one guid the later counts.
type DEAChanges struct {
	DEA     string
	Upserts []actual.Instance
	Removes []app.GUID // taken before Upserts: a guid in both stays
}

// Kind is KindDEAChanges.
func (DEAChanges) Kind() Kind { return KindDEAChanges }

// DEAsGone says that DEAs fell silent: their instances are removed, the DEAs stay known with GoneAt.
type DEAsGone struct{ DEAs []string }

// Kind is KindDEAsGone.
func (DEAsGone) Kind() Kind { return KindDEAsGone }

// DEAsForgotten drops gone DEAs from the record. One that is not gone is refused.
type DEAsForgotten struct{ DEAs []string }

// Kind is KindDEAsForgotten.
func (DEAsForgotten) Kind() Kind { return KindDEAsForgotten }
