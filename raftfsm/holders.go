package raftfsm

import "slices"

// fewDEAs is how many DEAs an app's record lists without a slice. Most apps have no more, and the garbage collector
// would spend its time on 400,000 small slices.
const fewDEAs = 4

// holders lists the slots of the DEAs that hold instances of an app, in any order.
type holders struct {
	few  [fewDEAs]uint32
	more *[]uint32 // all slots, if they do not fit into few; frozen states share it, so it never changes in place
}

// list returns the slots. n is the number of slots in few.
func (l *holders) list(n uint8) []uint32 {
	if l.more != nil {
		return *l.more
	}
	return l.few[:n]
}

// add adds a slot that is not listed and returns the new n.
func (l *holders) add(n uint8, v uint32) uint8 {
	switch {
	case l.more != nil:
		grown := append(*l.more, v) // a frozen state does not see beyond its own length
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

// remove removes a slot and returns the new n.
func (l *holders) remove(n uint8, v uint32) uint8 {
	rest := slices.DeleteFunc(slices.Clone(l.list(n)), func(x uint32) bool { return x == v })
	if len(rest) > fewDEAs {
		l.more = &rest
		return 0
	}
	*l = holders{}
	return uint8(copy(l.few[:], rest))
}
