package raftfsm

import "slices"

// fewDEAs is how many DEAs an app's record lists without a slice of its own. Most apps have no more, and 400,000
// small slices are what a collector would spend its time on.
const fewDEAs = 4

// holders lists the slots of the DEAs that hold instances of an app, in any order.
type holders struct {
	few  [fewDEAs]uint32
	more *[]uint32 // all of them, if few does not suffice; frozen states share it: never shortened or overwritten in place
}

// list gives the slots; n says how many there are while few suffices.
func (l *holders) list(n uint8) []uint32 {
	if l.more != nil {
		return *l.more
	}
	return l.few[:n]
}

// add lists a slot that is not listed. It gives the new n.
func (l *holders) add(n uint8, v uint32) uint8 {
	switch {
	case l.more != nil:
		grown := append(*l.more, v) // behind the end that a frozen state sees
		l.more = &grown
	case n < fewDEAs:
		l.few[n] = v
		n++
	default:
		grown := append(l.few[:n:n], v)
		*l, n = holders{more: &grown}, 0
	}
	return n
}

// remove takes a slot off the list. It gives the new n.
func (l *holders) remove(n uint8, v uint32) uint8 {
	rest := slices.DeleteFunc(slices.Clone(l.list(n)), func(x uint32) bool { return x == v })
	if len(rest) > fewDEAs {
		l.more = &rest
		return 0
	}
	*l = holders{}
	return uint8(copy(l.few[:], rest))
}
