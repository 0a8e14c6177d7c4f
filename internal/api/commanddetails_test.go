package api

import (
	"encoding/binary"
	"testing"

	"hm/commands"
	"hm/raftfsm"
)

// TestNotesOfEndedCommandsPushOutNone: what is noted of a command after it has ended is never asked for, and nobody
// forgets it. It must not keep later commands from having a detail.
func TestNotesOfEndedCommandsPushOutNone(t *testing.T) {
	var d CommandDetails
	id := func(n int) (id commands.ID) {
		binary.BigEndian.PutUint64(id[:], uint64(n+1))
		return id
	}
	note := func(n int) {
		d.Applied(raftfsm.Applied{Result: raftfsm.Result{Facts: []raftfsm.Fact{raftfsm.NoteFact{Note: raftfsm.Note{Detail: "503", Commands: []commands.ID{id(n)}}}}}})
	}
	const many = 3 * maxCommandDetails
	for n := range many {
		note(n)
		note(n) // again: the same command
		if d.of(id(n)) == "" {
			t.Fatalf("command %d has no detail", n)
		}
	}
	if len(d.by) > maxCommandDetails || len(d.order) > maxCommandDetails {
		t.Errorf("%d details and %d commands are kept, want at most %d", len(d.by), len(d.order), maxCommandDetails)
	}
	d.Applied(raftfsm.Applied{Result: raftfsm.Result{Ended: []raftfsm.EndedCommand{{Command: commands.Command{ID: id(many - 1)}}}}})
	if d.of(id(many-1)) != "" || d.of(id(many-2)) == "" {
		t.Error("a command that ended has a detail, or another one has lost its")
	}
}
