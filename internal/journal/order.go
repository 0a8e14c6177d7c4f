package journal

import "cmp"

// Compare gives -1, 0 or 1: whether id is before, at or after o in the history of one node. Own events of different nodes
// have no order between them beyond their position.
func (id ID) Compare(o ID) int {
	return cmp.Or(id.Position.compare(o.Position), cmp.Compare(id.Own, o.Own))
}
