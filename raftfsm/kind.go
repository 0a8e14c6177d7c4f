// Package raftfsm is hm's replicated record: the kinds of entry that the Raft log carries, their codec, the State
// that they build, and its snapshots. Apply is deterministic and dumb: it records what entries say, refuses what no
// longer holds, and decides nothing. Only the shim in fsm.go knows hashicorp/raft; replay and tests drive a State
// without it.
package raftfsm

import "fmt"

// Kind numbers a kind of record. Numbers are given once and never reused, not even when a kind is retired.
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
)

// MaxKind is the highest kind that this program knows. A node tells it to its peers: a kind is proposed only when
// every voter knows it.
const MaxKind = KindCrashesForgotten

// Record is one fact in an entry. The record types of this package are its only implementations.
type Record interface{ Kind() Kind }

// String names the kind.
func (k Kind) String() string {
	if int(k) < len(kinds) && kinds[k].name != "" {
		return kinds[k].name
	}
	return fmt.Sprintf("kind %d", uint32(k))
}
