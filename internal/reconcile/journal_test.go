package reconcile

import (
	"slices"
	"testing"

	"hm/commands"
	"hm/raftfsm"
)

func TestJournalKeepsTheNewest(t *testing.T) {
	j := NewJournal(3)
	for i := range uint32(5) {
		j.Add([]raftfsm.EndedCommand{{Command: commands.Command{Index: i}}})
	}
	var got []uint32
	for _, e := range j.Newest(10) {
		got = append(got, e.Index)
	}
	if !slices.Equal(got, []uint32{4, 3, 2}) || len(j.Newest(2)) != 2 {
		t.Errorf("the newest are %v, want 4 3 2", got)
	}
}
