package raftfsm

import "slices"

const pageLen = 64

// pages is a growing array that can be frozen in constant time: afterwards the first change to a page copies that
// page, and the frozen copy keeps the old one. The zero value is empty.
type pages[T any] struct {
	list   []*page[T]
	n      int
	epoch  uint64 // pages of an older epoch are shared with a frozen copy
	shared bool   // list itself is shared with one
}

type page[T any] struct {
	epoch uint64
	at    [pageLen]T
}

func (p *pages[T]) len() int { return p.n }

// get gives element i for reading. The pointer is good until the next mut.
func (p *pages[T]) get(i uint32) *T { return &p.list[i/pageLen].at[i%pageLen] }

// mut gives element i for writing.
func (p *pages[T]) mut(i uint32) *T {
	pg := p.list[i/pageLen]
	if pg.epoch != p.epoch {
		c := *pg
		c.epoch = p.epoch
		if p.shared {
			p.list, p.shared = slices.Clone(p.list), false
		}
		pg = &c
		p.list[i/pageLen] = pg
	}
	return &pg.at[i%pageLen]
}

// push adds an element and returns its place.
func (p *pages[T]) push(v T) uint32 {
	i := uint32(p.n)
	if p.n%pageLen == 0 {
		p.list = append(p.list, &page[T]{epoch: p.epoch}) // beyond the length that a frozen copy sees
	}
	p.n++
	*p.mut(i) = v
	return i
}

// freeze gives a copy that no later change to p alters.
func (p *pages[T]) freeze() pages[T] {
	c := *p
	p.epoch++
	p.shared = true
	return c
}
