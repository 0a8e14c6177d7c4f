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
	rows   raftfsm.RowsName // with which it was compared
}

// has reports whether a read is this one again, and the desired rows of view are still those that it was compared with.
// While parts of a read are staged that a leader did not finish, each read is compared.
func (r *recordedRead) has(read desired.Read, view *raftfsm.State) bool {
	return read.Digest != [16]byte{} && read.Digest == r.digest && read.Source == r.source &&
		view.RowsName() == r.rows && view.NextGeneration() == r.rows.Generation+1
}
