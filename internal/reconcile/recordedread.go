package reconcile

import (
	"hm/desired"
	"hm/raftfsm"
)

// recordedRead is a complete read in which a comparison with the record found nothing to record. While neither the read
// nor the record changes, the next comparison would find nothing either, and is left out.
type recordedRead struct {
	digest [16]byte // desired.Read.Digest; zero: there is no such read
	source string
	rows   recordedRows // with which it was compared
}

// recordedRows names the desired rows of a record. Two views of a node's record with the same name have the same rows:
// only the commit of a new generation changes one, and only a restored snapshot can make a generation come again.
type recordedRows struct{ restores, generation uint64 }

func rowsOf(view *raftfsm.State) recordedRows {
	return recordedRows{restores: view.Restores(), generation: view.DesiredMeta().Generation}
}

// has reports whether a read is this one again, and the desired rows of view are still those that it was compared with.
// While parts of a read are staged that a leader did not finish, each read is compared.
func (r *recordedRead) has(read desired.Read, view *raftfsm.State) bool {
	return read.Digest != [16]byte{} && read.Digest == r.digest && read.Source == r.source &&
		rowsOf(view) == r.rows && view.NextGeneration() == r.rows.generation+1
}
