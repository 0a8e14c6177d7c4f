package reconcile

import (
	"slices"
	"testing"

	"hm/commands"
	"hm/raftfsm"
)

func TestEndedCommandsKeepTheNewest(t *testing.T) {
	e := NewEndedCommands(3)
	for i := range uint32(5) {
		e.Add([]raftfsm.EndedCommand{{Command: commands.Command{Index: i}}})
	}
	var got []uint32
	for _, cmd := range e.Newest(10) {
		got = append(got, cmd.Index)
	}
	if !slices.Equal(got, []uint32{4, 3, 2}) || len(e.Newest(2)) != 2 {
		t.Errorf("the newest are %v, want 4 3 2", got)
	}
}
