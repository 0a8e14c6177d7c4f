package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// boltContent is what checkBoltFile finds in a raft.db.
type boltContent struct {
	entries []uint64 // indices of the log entries, ascending
	values  []string // names of the stored values
	bytes   int64    // number of bytes read
}

// checkBoltFile reads all pages of a raft.db and fails with errDamaged if one is damaged. Bbolt itself trusts every
// page: a damaged page makes it panic, even on a goroutine of its own, recurse without end, or skip stored data. This
// check does not decode the entries. A file that does not exist or is empty has no content.
func checkBoltFile(path string) (content boltContent, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return boltContent{}, nil
	}
	if err != nil {
		return boltContent{}, err
	}
	// This takes the file's lock, so that no other process writes. A read-only bbolt reads nothing but the first two
	// pages.
	var lock *bbolt.DB
	err = guarded(func() (err error) {
		lock, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true})
		return err
	})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return boltContent{}, err
	}
	openErr := err // the check below may find the cause and give a better error
	if lock != nil {
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	f, err := os.Open(path)
	if err != nil {
		return boltContent{}, err
	}
	defer f.Close()
	b := boltFile{file: f, size: info.Size()}
	if err := b.check(); err != nil {
		return boltContent{}, err
	}
	return b.content, openErr
}

// The format of bbolt's files. It has not changed since 2014.
const (
	boltPageHeader = 16 // id uint64, flags uint16, count uint16, overflow uint32
	boltElement    = 16
	boltMetaSize   = 64
	boltMagic      = 0xED0CDAED
	boltVersion    = 2

	boltBranch = 0x01
	boltLeaf   = 0x02

	boltMaxPage  = 64 << 10 // bytes of a page; usual are 4 KiB
	boltMaxDepth = 32
	boltMaxSpan  = 64 << 20 // bytes of a page with its overflow pages; 32 full entries have 16 MiB
)

var boltOrder = binary.NativeEndian

type boltFile struct {
	file    *os.File
	size    int64
	page    int64    // bytes of a page
	pages   uint64   // number of pages, in use or free
	seen    []uint64 // one bit for each page that was read
	content boltContent
}

// boltMeta is one of the two meta pages. Each transaction writes one of them, in turn, as its last step.
type boltMeta struct {
	pageSize        uint32
	root, pages, tx uint64
}

func (b *boltFile) check() error {
	// Bbolt uses the newer of its two meta pages, or the older if the newer is damaged. Then it would lose the last
	// transaction, which was acknowledged. A crash damages neither: a meta page is smaller than a sector.
	first, err := b.meta(0)
	if err != nil {
		return err
	}
	b.page = int64(first.pageSize)
	if b.page < 1<<10 || b.page > boltMaxPage || b.page&(b.page-1) != 0 {
		return damagef("raft.db has pages of %d bytes", b.page)
	}
	second, err := b.meta(b.page)
	if err != nil {
		return err
	}
	newest := first
	if second.tx > first.tx {
		newest = second
	}
	if first.tx != second.tx+1 && second.tx != first.tx+1 || second.pageSize != first.pageSize {
		return damagef("the two meta pages of raft.db are not of consecutive transactions")
	}
	if newest.pages < 2 || newest.pages > uint64(b.size/b.page) {
		return damagef("raft.db has %d bytes, but should have %d pages", b.size, newest.pages)
	}
	b.pages = newest.pages
	b.seen = make([]uint64, b.pages/64+1)
	return b.buckets(newest.root)
}

// meta reads the meta page at a byte of the file.
func (b *boltFile) meta(at int64) (boltMeta, error) {
	buf := make([]byte, boltPageHeader+boltMetaSize)
	if _, err := b.file.ReadAt(buf, at); err != nil {
		return boltMeta{}, readError(err)
	}
	m := buf[boltPageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(m[:56]) // a hash takes everything
	if boltOrder.Uint32(m) != boltMagic || boltOrder.Uint32(m[4:]) != boltVersion || boltOrder.Uint64(m[56:]) != sum.Sum64() {
		return boltMeta{}, damagef("the meta page of raft.db at byte %d does not match its checksum", at)
	}
	return boltMeta{pageSize: boltOrder.Uint32(m[8:]), root: boltOrder.Uint64(m[16:]), pages: boltOrder.Uint64(m[40:]), tx: boltOrder.Uint64(m[48:])}, nil
}

func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damagef("raft.db ends early")
	}
	return fmt.Errorf("reading raft.db: %w", err)
}

// buckets walks the root, which has the two buckets as leaves, and the buckets.
func (b *boltFile) buckets(root uint64) error {
	found := map[string][]byte{}
	err := b.walk(root, nil, nil, 0, func(flags uint32, key, value []byte) error {
		if flags != 1 || len(value) < 16 {
			return damagef("raft.db has %.40q where a bucket should be", key)
		}
		found[string(key)] = bytes.Clone(value)
		return nil
	})
	if err != nil {
		return err
	}
	logs, values := found["logs"], found["conf"]
	if len(found) == 0 {
		return nil // it was created, and nothing was stored
	}
	if len(found) != 2 || logs == nil || values == nil {
		return damagef("raft.db does not have the buckets of a Raft store")
	}
	err = b.bucket(logs, func(flags uint32, key, _ []byte) error {
		if flags != 0 || len(key) != 8 {
			return damagef("raft.db has a log entry with the invalid key %.40q", key)
		}
		b.content.entries = append(b.content.entries, binary.BigEndian.Uint64(key))
		return nil
	})
	if err != nil {
		return err
	}
	return b.bucket(values, func(flags uint32, key, _ []byte) error {
		if flags != 0 || !slices.Contains([]string{valueTerm, valueVoteTerm, valueVoteFor}, string(key)) {
			return damagef("raft.db has a value %.40q, which is not one of raft's", key)
		}
		b.content.values = append(b.content.values, string(key))
		return nil
	})
}

// bucket walks a bucket. Its value in the root has the number of its first page, or, if that is 0, the page itself.
func (b *boltFile) bucket(value []byte, leaf func(uint32, []byte, []byte) error) error {
	if root := boltOrder.Uint64(value); root != 0 {
		return b.walk(root, nil, nil, 0, leaf)
	}
	page := value[16:]
	if len(page) < boltPageHeader || boltOrder.Uint16(page[8:]) != boltLeaf {
		return damagef("raft.db has a bucket without a page")
	}
	return b.elements(page, nil, nil, 0, leaf)
}

// walk reads a page and the pages below it. Its keys must be at least from and, unless to is nil, less than to.
func (b *boltFile) walk(id uint64, from, to []byte, depth int, leaf func(uint32, []byte, []byte) error) error {
	if id < 2 || id >= b.pages || depth > boltMaxDepth {
		return damagef("raft.db points to page %d of %d", id, b.pages)
	}
	var head [boltPageHeader]byte
	if _, err := b.file.ReadAt(head[:], int64(id)*b.page); err != nil {
		return readError(err)
	}
	more := uint64(boltOrder.Uint32(head[12:]))
	if boltOrder.Uint64(head[:]) != id || more >= b.pages-id || int64(more+1)*b.page > boltMaxSpan {
		return damagef("page %d of raft.db has a wrong head", id)
	}
	for p := id; p <= id+more; p++ {
		if b.seen[p/64]&(1<<(p%64)) != 0 {
			return damagef("page %d of raft.db is used twice", p)
		}
		b.seen[p/64] |= 1 << (p % 64)
	}
	page := make([]byte, int64(more+1)*b.page)
	if _, err := b.file.ReadAt(page, int64(id)*b.page); err != nil {
		return readError(err)
	}
	b.content.bytes += int64(len(page))
	if kind := boltOrder.Uint16(page[8:]); kind != boltBranch && kind != boltLeaf {
		return damagef("page %d of raft.db has the invalid kind %#x", id, kind)
	}
	return b.elements(page, from, to, depth, leaf)
}

// elements checks the parts of a page: that they lie in the page, and that the keys are in order.
func (b *boltFile) elements(page, from, to []byte, depth int, leaf func(uint32, []byte, []byte) error) error {
	id, branch, count := boltOrder.Uint64(page), boltOrder.Uint16(page[8:]) == boltBranch, int(boltOrder.Uint16(page[10:]))
	if boltPageHeader+count*boltElement > len(page) || branch && count == 0 {
		return damagef("page %d of raft.db has the invalid number of parts %d", id, count)
	}
	part := func(i int) (e, key, value []byte, err error) {
		at := boltPageHeader + i*boltElement
		e = page[at : at+boltElement]
		var pos, keySize, valueSize uint64
		if branch {
			pos, keySize = uint64(boltOrder.Uint32(e)), uint64(boltOrder.Uint32(e[4:]))
		} else {
			pos, keySize, valueSize = uint64(boltOrder.Uint32(e[4:])), uint64(boltOrder.Uint32(e[8:])), uint64(boltOrder.Uint32(e[12:]))
		}
		start := uint64(at) + pos
		if start < uint64(boltPageHeader+count*boltElement) || start+keySize+valueSize > uint64(len(page)) {
			return nil, nil, nil, damagef("part %d of page %d of raft.db lies outside the page", i, id)
		}
		return e, page[start : start+keySize], page[start+keySize : start+keySize+valueSize], nil
	}
	var before []byte
	for i := range count {
		e, key, value, err := part(i)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(before, key) >= 0 || bytes.Compare(key, from) < 0 || to != nil && bytes.Compare(key, to) >= 0 {
			return damagef("the keys of page %d of raft.db are out of order", id)
		}
		before = key
		if !branch {
			if err := leaf(boltOrder.Uint32(e), key, value); err != nil {
				return err
			}
			continue
		}
		next := to
		if i+1 < count {
			if _, next, _, err = part(i + 1); err != nil {
				return err
			}
		}
		if err := b.walk(boltOrder.Uint64(e[8:]), key, next, depth+1, leaf); err != nil {
			return err
		}
	}
	return nil
}
