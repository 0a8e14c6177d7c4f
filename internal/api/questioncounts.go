package api

import (
	"slices"
	"sync/atomic"
)

// questionSubjects are the subjects on which a Cloud Controller asks.
var questionSubjects = [...]string{subjectAppState, subjectAppStateBulk, subjectStatus, subjectHealth, subjectDroplet}

// questionCounts counts the questions on each of the questionSubjects.
type questionCounts [len(questionSubjects)]questionCount

type questionCount struct {
	received   atomic.Uint64
	answered   atomic.Uint64 // with at least one reply
	unreadable atomic.Uint64 // at least in part
	leftOut    atomic.Uint64 // apps left out of answers because of their size
}

// of gives the counts of one of the questionSubjects.
func (c *questionCounts) of(subject string) *questionCount {
	return &c[slices.Index(questionSubjects[:], subject)]
}
