package raftfsm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/zeebo/xxh3"

	"hm/actual"
	"hm/internal/app"
)

// Place is an index of an app.
type Place struct {
	App   app.Key
	Index uint32
}

// Places is an immutable set of up to MaxPlaces places. It is comparable.
type Places string

// MaxPlaces is the most places that Places holds. Of more places it holds a sample, large enough to estimate which
// share of them has changed.
const MaxPlaces = 512

// NewPlaces makes Places of list. If there are too many it keeps the ones with the smallest hashes. So the sample is
// random but reproducible, and the sample of two joined lists is the sample of their two samples.
func NewPlaces(list []Place) Places {
	kept := make([]hashedPlace, 0, min(len(list), 2*MaxPlaces))
	most := uint64(math.MaxUint64) // places with larger hashes are not in the sample
	for _, p := range list {
		hash := p.hash()
		if hash > most {
			continue
		}
		if kept = append(kept, hashedPlace{p, hash}); len(kept) == 2*MaxPlaces {
			if kept = smallest(kept); len(kept) == MaxPlaces {
				most = kept[MaxPlaces-1].hash
			}
		}
	}
	var b []byte
	for _, p := range smallest(kept) {
		b = p.append(b)
	}
	return Places(b)
}

type hashedPlace struct {
	Place
	hash uint64
}

// smallest returns the MaxPlaces places with the smallest hashes, sorted and without duplicates.
func smallest(list []hashedPlace) []hashedPlace {
	slices.SortFunc(list, func(a, b hashedPlace) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		return cmp.Or(a.App.Compare(b.App), cmp.Compare(a.Index, b.Index))
	})
	list = slices.Compact(list)
	return list[:min(len(list), MaxPlaces)]
}

// All yields the places.
func (p Places) All() iter.Seq[Place] {
	return func(yield func(Place) bool) {
		for b := []byte(p); len(b) > 0; {
			place, rest, err := cutPlace(b)
			if err != nil || !yield(place) {
				return
			}
			b = rest
		}
	}
}

// Len returns the number of places.
func (p Places) Len() int {
	n := 0
	for range p.All() {
		n++
	}
	return n
}

// With returns the places of p and q together.
func (p Places) With(q Places) Places {
	return NewPlaces(slices.AppendSeq(slices.Collect(p.All()), q.All()))
}

// check returns why NewPlaces cannot have made p.
func (p Places) check() error {
	var before []byte
	n := 0
	for b := []byte(p); len(b) > 0; n++ {
		place, rest, err := cutPlace(b)
		switch {
		case err != nil:
			return fmt.Errorf("%w: place %d: %w", ErrInvalid, n, err)
		case n == MaxPlaces:
			return fmt.Errorf("%w: more than %d places", ErrInvalid, MaxPlaces)
		case !validKey(place.App) || place.Index > actual.MaxIndex:
			return fmt.Errorf("%w: place %d has no droplet, no version, or index %d, the largest allowed is %d",
				ErrInvalid, n, place.Index, actual.MaxIndex)
		}
		if whole := place.append(nil); !bytes.Equal(whole, b[:len(b)-len(rest)]) {
			return fmt.Errorf("%w: place %d is not encoded as this version encodes it", ErrInvalid, n)
		}
		order := place.order()
		if n > 0 && bytes.Compare(before, order) >= 0 {
			return fmt.Errorf("%w: place %d is out of order", ErrInvalid, n)
		}
		b, before = rest, order
	}
	return nil
}

func (p Place) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(appendKey(dst, p.App), p.Index)
}

func (p Place) hash() uint64 {
	var buf [512]byte
	return xxh3.Hash(p.append(buf[:0]))
}

// order returns the sort key of Places.
func (p Place) order() []byte {
	b := binary.BigEndian.AppendUint64(nil, p.hash())
	b = p.App.Droplet.AppendTo(b)
	b = append(p.App.Version.AppendTo(append(b, 0)), 0)
	return binary.BigEndian.AppendUint32(b, p.Index)
}

func cutPlace(b []byte) (p Place, rest []byte, err error) {
	if p.App.Droplet, b, err = app.CutWire(b); err != nil {
		return p, nil, err
	}
	if p.App.Version, b, err = app.CutWire(b); err != nil {
		return p, nil, err
	}
	if len(b) < 4 {
		return p, nil, fmt.Errorf("the index is cut short")
	}
	p.Index = binary.BigEndian.Uint32(b)
	return p, b[4:], nil
}
