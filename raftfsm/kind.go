// Package raftfsm is hm's replicated state: the kinds of record in the Raft log, their encoding, the State that they
// build, and its snapshots. Apply is deterministic: it records what an entry says, or refuses it, and decides nothing.
// Only fsm.go uses hashicorp/raft; replay and tests use a State without it.
package raftfsm

import "fmt"

// Kind is the number of a kind of record. A number is never reused, not even when its kind is retired.
type Kind uint32

// The kinds of record.
const (
	KindDesiredChanges    Kind = 1
	KindDesiredCommit     Kind = 2
	KindDEAChanges        Kind = 3
	KindDEAsGone          Kind = 4
	KindDEAsForgotten     Kind = 5
	KindInstanceExited    Kind = 6
	KindCommandsScheduled Kind = 7
	KindCommandsClaimed   Kind = 8
	KindCommandsResolved  Kind = 9
	KindHoldSet           Kind = 10
	KindHoldReleased      Kind = 11
	KindCrashesForgotten  Kind = 12
	KindNoted             Kind = 13
	KindClusterNamed      Kind = 14
)

// MaxKind is the highest kind that this version knows. Each node sends it to its peers: a kind is proposed only when
// every voter knows it.
const MaxKind = KindClusterNamed + futureKinds

// Record is one fact in an entry. The record types of this package are its only implementations.
type Record interface{ Kind() Kind }

// Unknown replaces a record of a kind that this version does not know and that is marked as ignorable. Applying it
// changes nothing.
type Unknown struct{ Number Kind }

// Kind is the number that the record came with.
func (u Unknown) Kind() Kind { return u.Number }

// kind describes one kind of record. Each file kind_*.go has the kinds of one subject.
type kind struct {
	number    Kind
	name      string
	ignorable bool // nodes that do not know the kind may skip it
	encode    func(Record) ([]byte, error)
	decode    func([]byte) (Record, error)

	// An error of apply refuses the record. Then apply has changed nothing, unless the record's type says otherwise.
	apply func(*applier, Record) error
}

// kinds has every kind at its number. A retired kind keeps its row.
var kinds = [MaxKind + 1]kind{
	KindDesiredChanges: define(KindDesiredChanges, "desired changes",
		encodeDesiredChanges, decodeDesiredChanges, applyDesiredChanges),
	KindDesiredCommit: define(KindDesiredCommit, "desired commit",
		encodeDesiredCommit, decodeDesiredCommit, applyDesiredCommit),
	KindDEAChanges: define(KindDEAChanges, "DEA changes",
		encodeDEAChanges, decodeDEAChanges, applyDEAChanges),
	KindDEAsGone: define(KindDEAsGone, "DEAs gone",
		encodeDEAsGone, decodeDEAsGone, applyDEAsGone),
	KindDEAsForgotten: define(KindDEAsForgotten, "DEAs forgotten",
		encodeDEAsForgotten, decodeDEAsForgotten, applyDEAsForgotten),
	KindInstanceExited: define(KindInstanceExited, "instance exited",
		encodeInstanceExited, decodeInstanceExited, applyInstanceExited),
	KindCommandsScheduled: define(KindCommandsScheduled, "commands scheduled",
		encodeCommandsScheduled, decodeCommandsScheduled, applyCommandsScheduled),
	KindCommandsClaimed: define(KindCommandsClaimed, "commands claimed",
		encodeCommandsClaimed, decodeCommandsClaimed, applyCommandsClaimed),
	KindCommandsResolved: define(KindCommandsResolved, "commands resolved",
		encodeCommandsResolved, decodeCommandsResolved, applyCommandsResolved),
	KindHoldSet: define(KindHoldSet, "hold set",
		encodeHoldSet, decodeHoldSet, applyHoldSet),
	KindHoldReleased: define(KindHoldReleased, "hold released",
		encodeHoldReleased, decodeHoldReleased, applyHoldReleased),
	KindCrashesForgotten: define(KindCrashesForgotten, "crashes forgotten",
		encodeCrashesForgotten, decodeCrashesForgotten, applyCrashesForgotten),
	KindNoted: ignorable(define(KindNoted, "notes",
		encodeNoted, decodeNoted, applyNoted)),
	KindClusterNamed: define(KindClusterNamed, "cluster named",
		encodeClusterNamed, decodeClusterNamed, applyClusterNamed),
}

// define makes the kind of a record type from the functions for that type.
func define[R Record](number Kind, name string, encode func(R) ([]byte, error), decode func([]byte) (R, error),
	apply func(*applier, R) error) kind {
	return kind{
		number: number,
		name:   name,
		encode: func(r Record) ([]byte, error) {
			v, ok := r.(R)
			if !ok {
				return nil, fmt.Errorf("%w: a record of kind %d is a %T", ErrInvalid, number, r)
			}
			return encode(v)
		},
		decode: func(b []byte) (Record, error) {
			v, err := decode(b)
			if err != nil {
				return nil, err
			}
			return v, nil
		},
		apply: func(a *applier, r Record) error {
			v, ok := r.(R)
			if !ok {
				return fmt.Errorf("%w: a record of kind %d is a %T", ErrInvalid, number, r)
			}
			return apply(a, v)
		},
	}
}

// ignorable marks a kind that nodes which do not know it may skip.
func ignorable(k kind) kind {
	k.ignorable = true
	return k
}

// Ignorable reports whether nodes that do not know the kind may skip it.
func (k Kind) Ignorable() bool { return k > 0 && k <= MaxKind && kinds[k].ignorable }

// String returns the name of the kind.
func (k Kind) String() string {
	if k > 0 && k <= MaxKind {
		return kinds[k].name
	}
	return fmt.Sprintf("kind %d", uint32(k))
}
