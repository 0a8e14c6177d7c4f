package raftfsm

import (
	"iter"
	"slices"
)

const (
	pageLen  = 32  // elements in a page
	chunkLen = 128 // pages in a chunk
)

// pages is a growing array that can be frozen in constant time. After a freeze the first change to a page copies the
// page, its chunk and the list of chunks, a few KiB in all; the frozen copy keeps the old ones. The zero value is
// empty.
type pages[T any] struct {
	chunks []*chunk[T]
	n      int
	epoch  uint64 // a frozen copy shares the pages and chunks of older epochs
	shared bool   // a frozen copy shares chunks
}

type chunk[T any] struct {
	epoch uint64
	pages [chunkLen]*page[T]
}

type page[T any] struct {
	epoch uint64
	at    [pageLen]T
}

func (p *pages[T]) len() int { return p.n }

// get returns element i for reading. The pointer is valid until the next mut.
func (p *pages[T]) get(i uint32) *T {
	return &p.chunks[i/(pageLen*chunkLen)].pages[i/pageLen%chunkLen].at[i%pageLen]
}

// mut returns element i for writing.
func (p *pages[T]) mut(i uint32) *T {
	ch := p.chunk(i / (pageLen * chunkLen))
	pg := ch.pages[i/pageLen%chunkLen]
	if pg.epoch != p.epoch {
		c := *pg
		c.epoch = p.epoch
		pg = &c
		ch.pages[i/pageLen%chunkLen] = pg
	}
	return &pg.at[i%pageLen]
}

// chunk returns chunk i for writing.
func (p *pages[T]) chunk(i uint32) *chunk[T] {
	ch := p.chunks[i]
	if ch.epoch != p.epoch {
		if p.shared {
			p.chunks, p.shared = slices.Clone(p.chunks), false
		}
		c := *ch
		c.epoch = p.epoch
		ch = &c
		p.chunks[i] = ch
	}
	return ch
}

// all yields every element, for reading.
func (p *pages[T]) all() iter.Seq2[uint32, *T] {
	return func(yield func(uint32, *T) bool) {
		for i := 0; i < p.n; i += pageLen {
			pg := p.chunks[i/(pageLen*chunkLen)].pages[i/pageLen%chunkLen]
			for j := range pg.at[:min(p.n-i, pageLen)] {
				if !yield(uint32(i+j), &pg.at[j]) {
					return
				}
			}
		}
	}
}

// push adds an element and returns its position.
func (p *pages[T]) push(v T) uint32 {
	i := uint32(p.n)
	if i%(pageLen*chunkLen) == 0 {
		p.chunks = append(p.chunks, &chunk[T]{epoch: p.epoch}) // a frozen copy does not see beyond its own length
	}
	if i%pageLen == 0 {
		p.chunk(i / (pageLen * chunkLen)).pages[i/pageLen%chunkLen] = &page[T]{epoch: p.epoch}
	}
	p.n++
	*p.mut(i) = v
	return i
}

// freeze returns a copy that later changes to p do not alter.
func (p *pages[T]) freeze() pages[T] {
	c := *p
	p.epoch++
	p.shared = true
	return c
}
