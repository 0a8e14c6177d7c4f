//go:build hm_future

// With the build tag hm_future hm is a version from the future, for the tests of rolling upgrades: it has two more kinds
// of record, one more section in a snapshot, and so a further format of snapshots. It shows how a later version adds
// these. No release is built with the tag.

package raftfsm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"hm/raftfsm/internal/wire"
)

const (
	futureKinds   = 2
	futureFormats = 1

	// KindFutureNoted is a kind that nodes which do not know it skip.
	KindFutureNoted = MaxKind - 1
	// KindFutureCounted is a kind that every voter must know.
	KindFutureCounted = MaxKind

	sectionFuture Section = 1000
)

// FutureNoted records nothing.
type FutureNoted struct{ Text string }

// Kind is KindFutureNoted.
func (FutureNoted) Kind() Kind { return KindFutureNoted }

// FutureCounted adds to a number that only a version from the future records.
type FutureCounted struct{ N uint64 }

// Kind is KindFutureCounted.
func (FutureCounted) Kind() Kind { return KindFutureCounted }

func init() {
	kinds[KindFutureNoted] = ignorable(define(KindFutureNoted, "a note from the future",
		func(r FutureNoted) ([]byte, error) { return []byte(r.Text), nil },
		func(b []byte) (FutureNoted, error) { return FutureNoted{string(b)}, nil },
		func(*applier, FutureNoted) error { return nil }))
	kinds[KindFutureCounted] = define(KindFutureCounted, "a number from the future",
		func(r FutureCounted) ([]byte, error) { return binary.AppendUvarint(nil, r.N), nil },
		func(b []byte) (FutureCounted, error) {
			n, size := binary.Uvarint(b)
			if size != len(b) || size <= 0 {
				return FutureCounted{}, errors.New("the number is malformed")
			}
			return FutureCounted{n}, nil
		},
		func(a *applier, r FutureCounted) error { a.future.total += r.N; return nil })
}

// futureState is what a version from the future adds to the state.
type futureState struct{ total uint64 }

// hash adds nothing while the state has nothing of it: so the hashes of both versions agree.
func (f futureState) hash(e *encoding) {
	if f.total != 0 {
		e.text("future")
		e.u64(f.total)
	}
}

func (f futureState) formats() byte {
	if f.total != 0 {
		return 1
	}
	return 0
}

// FutureTotal is the number that the records of KindFutureCounted add up to.
func (s *State) FutureTotal() uint64 { return s.future.total }

var futureSections = []section{{sectionFuture, persistFuture, restoreFuture}}

func persistFuture(s *State, w *snapshotWriter) error {
	if s.future.total == 0 {
		return nil
	}
	return w.record(sectionFuture, &wire.SnapshotMeta{Revision: s.future.total}) // a message that has a number
}

func restoreFuture(r *restorer, body []byte) error {
	var m wire.SnapshotMeta
	if err := unmarshal(body, &m); err != nil {
		return err
	}
	if m.Revision == 0 || r.s.future.total != 0 {
		return fmt.Errorf("the number is 0, or comes twice")
	}
	r.s.future.total = m.Revision
	return nil
}
