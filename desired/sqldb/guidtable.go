package sqldb

import "hash/maphash"

// ownerList is a list of owners that grows without being copied.
type ownerList struct {
	chunks [][]owner
	n      int
}

const ownersInChunk = 1 << 12

func (l *ownerList) at(i int) *owner { return &l.chunks[i/ownersInChunk][i%ownersInChunk] }

// add adds an owner and returns its index.
func (l *ownerList) add(o owner) int {
	i := l.n
	if l.n++; i == len(l.chunks)*ownersInChunk {
		l.chunks = append(l.chunks, make([]owner, ownersInChunk))
	}
	*l.at(i) = o
	return i
}

// guidTable finds the index of an owner by the UUID of its app. A scan looks up every row in it, so it is smaller than
// a map: the UUIDs are those of the owners.
type guidTable struct {
	seed  maphash.Seed
	slots []uint32 // index in owners plus 1; 0: empty. At most half of them are used.
	used  int
}

// find returns the index of an owner.
func (t *guidTable) find(owners *ownerList, uuid textID) (int, bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	i := t.slots[t.slot(owners, uuid)]
	return int(i) - 1, i != 0
}

// slot returns the slot of a UUID, or the empty one where it belongs.
func (t *guidTable) slot(owners *ownerList, uuid textID) int {
	mask := len(t.slots) - 1
	at := int(maphash.Comparable(t.seed, uuid)) & mask
	for t.slots[at] != 0 && owners.at(int(t.slots[at]-1)).uuid != uuid {
		at = (at + 1) & mask
	}
	return at
}

// add adds the owner at an index. It must not be there yet.
func (t *guidTable) add(owners *ownerList, index int) {
	if 2*t.used >= len(t.slots) {
		old := t.slots
		t.seed = maphash.MakeSeed()
		t.slots = make([]uint32, max(16, 2*len(old)))
		for _, i := range old {
			if i != 0 {
				t.slots[t.slot(owners, owners.at(int(i-1)).uuid)] = i
			}
		}
	}
	t.slots[t.slot(owners, owners.at(index).uuid)] = uint32(index) + 1
	t.used++
}

// clear removes all owners.
func (t *guidTable) clear() {
	clear(t.slots)
	t.used = 0
}
