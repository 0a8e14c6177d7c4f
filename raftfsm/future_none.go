//go:build !hm_future

package raftfsm

// What a version from the future adds: see future.go. This version adds nothing.
const (
	futureKinds   = 0
	futureFormats = 0
)

var futureSections []section

type futureState struct{}

func (futureState) hash(*encoding) {}

func (futureState) formats() byte { return 0 }
