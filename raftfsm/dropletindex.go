package raftfsm

import (
	"github.com/zeebo/xxh3"

	"hm/actual"
	"hm/internal/app"
)

const indexShards = 256

// dropletIndex finds the handles of a droplet's versions. It is a hash table with open addressing that has handles
// only: the keys are in the app records. After a freeze a shard is copied before it is changed.
type dropletIndex struct {
	shards [indexShards]*indexShard
	epoch  uint64
}

type indexShard struct {
	epoch uint64
	used  int
	slots []Handle // handle+1; 0 is free; the length is a power of two
}

// hashGUID has no seed, so all replicas have the same table. No result of a State depends on it.
func hashGUID(g app.GUID) uint64 {
	b, form := g.Binary()
	if form == 0 {
		return xxh3.HashString(g.String())
	}
	return xxh3.Hash(b[:])
}

// each calls fn with the handles of droplet until fn returns false.
func (x *dropletIndex) each(apps *appTable, droplet app.GUID, fn func(Handle) bool) {
	hash := hashGUID(droplet)
	sh := x.shards[hash>>56]
	if sh == nil {
		return
	}
	mask := uint64(len(sh.slots) - 1)
	for i := hash & mask; sh.slots[i] != 0; i = (i + 1) & mask {
		h := sh.slots[i] - 1
		if apps.droplet(h) == droplet && !fn(h) {
			return
		}
	}
}

// find returns the handle of a key.
func (x *dropletIndex) find(apps *appTable, k app.Key) (Handle, bool) {
	hash := hashGUID(k.Droplet)
	sh := x.shards[hash>>56]
	if sh == nil {
		return 0, false
	}
	mask := uint64(len(sh.slots) - 1)
	for i := hash & mask; sh.slots[i] != 0; i = (i + 1) & mask {
		if h := sh.slots[i] - 1; apps.is(h, &k) {
			return h, true
		}
	}
	return 0, false
}

// findAll is find for the apps of many instances: found[i] is one more than the handle of list[i]'s app, or 0. Each of
// its loops does little, so that the processor waits for the memory of many apps at once.
func (x *dropletIndex) findAll(apps *appTable, list []actual.Instance, found []Handle, hashes []uint64) ([]Handle, []uint64) {
	found, hashes = found[:0], hashes[:0]
	for i := range list {
		hashes = append(hashes, hashGUID(list[i].App.Droplet))
	}
	for _, hash := range hashes {
		h := Handle(0)
		if sh := x.shards[hash>>56]; sh != nil && len(sh.slots) > 0 {
			h = sh.slots[hash&uint64(len(sh.slots)-1)]
		}
		found = append(found, h)
	}
	for i, h := range found {
		if h == 0 || apps.is(h-1, &list[i].App) {
			continue
		}
		found[i] = 0 // its place is taken by another app
		if h, ok := x.find(apps, list[i].App); ok {
			found[i] = h + 1
		}
	}
	return found, hashes
}

// add adds h. Its key must be in apps already.
func (x *dropletIndex) add(apps *appTable, h Handle) {
	hash := hashGUID(apps.droplet(h))
	sh := x.shard(hash)
	if (sh.used+1)*4 > len(sh.slots)*3 {
		old := sh.slots
		sh.slots = make([]Handle, max(8, 2*len(old)))
		for _, v := range old {
			if v != 0 {
				sh.put(hashGUID(apps.droplet(v-1)), v)
			}
		}
	}
	sh.put(hash, h+1)
	sh.used++
}

// remove removes h. Its key must still be in apps.
func (x *dropletIndex) remove(apps *appTable, h Handle) {
	hash := hashGUID(apps.droplet(h))
	sh := x.shard(hash)
	if len(sh.slots) == 0 {
		return
	}
	mask := uint64(len(sh.slots) - 1)
	i := hash & mask
	for sh.slots[i] != h+1 {
		if sh.slots[i] == 0 {
			return
		}
		i = (i + 1) & mask
	}
	sh.used--
	// Close the gap: a following handle moves into it, unless it would then be before its first possible slot.
	for j := (i + 1) & mask; sh.slots[j] != 0; j = (j + 1) & mask {
		home := hashGUID(apps.droplet(sh.slots[j]-1)) & mask
		if (j-home)&mask >= (j-i)&mask {
			sh.slots[i] = sh.slots[j]
			i = j
		}
	}
	sh.slots[i] = 0
}

// shard returns the shard of a hash for writing.
func (x *dropletIndex) shard(hash uint64) *indexShard {
	p := &x.shards[hash>>56]
	switch sh := *p; {
	case sh == nil:
		*p = &indexShard{epoch: x.epoch, slots: make([]Handle, 8)}
	case sh.epoch != x.epoch:
		*p = &indexShard{epoch: x.epoch, used: sh.used, slots: append([]Handle(nil), sh.slots...)}
	}
	return *p
}

func (sh *indexShard) put(hash uint64, v Handle) {
	mask := uint64(len(sh.slots) - 1)
	i := hash & mask
	for sh.slots[i] != 0 {
		i = (i + 1) & mask
	}
	sh.slots[i] = v
}

// freeze returns a copy that later changes to x do not alter.
func (x *dropletIndex) freeze() dropletIndex {
	c := *x
	x.epoch++
	return c
}
