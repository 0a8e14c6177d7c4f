// Package boltfile checks the pages of a bbolt file, and finds out when a copy without free pages pays. Bbolt itself trusts
// every page: a damaged one makes it panic, even on a goroutine of its own, recurse without end, or skip stored data. And
// it never makes a file smaller.
package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
)

// ErrDamaged says that a page is not what was written.
var ErrDamaged = errors.New("damaged")

// damage is an ErrDamaged that says what is damaged.
type damage struct{ what string }

func (d *damage) Error() string { return d.what }

func (d *damage) Is(err error) bool { return err == ErrDamaged }

func damagef(format string, args ...any) error { return &damage{fmt.Sprintf(format, args...)} }

// Visit is called once for each bucket, without a key, and then for each of its keys in order. It must not keep the key
// and the value. An error of it ends the check.
type Visit func(bucket string, key, value []byte) error

// Check reads all pages of the file that are in use, and gives how many bytes these are. An error wraps ErrDamaged if a
// page is damaged. The caller makes sure that nobody writes meanwhile.
func Check(f *os.File, visit Visit) (read int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	b := boltFile{file: f, name: filepath.Base(f.Name()), size: info.Size()}
	err = b.check(visit)
	return b.read, err
}

// The format of bbolt's files. It has not changed since 2014.
const (
	PageHeader  = 16 // id uint64, flags uint16, count uint16, overflow uint32
	boltElement = 16
	MetaSize    = 64
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	boltBranch = 0x01
	boltLeaf   = 0x02

	boltMaxPage  = 64 << 10 // bytes of a page; usual are 4 KiB
	boltMaxDepth = 32
	boltMaxSpan  = 64 << 20 // bytes of a page with its overflow pages; 32 full entries have 16 MiB
)

var boltOrder = binary.NativeEndian

const maxBuckets = 64

type boltFile struct {
	file  *os.File
	name  string // for errors
	size  int64
	page  int64    // bytes of a page
	pages uint64   // number of pages, in use or free
	seen  []uint64 // one bit for each page that was read
	read  int64    // number of bytes read
}

// boltMeta is one of the two meta pages. Each transaction writes one of them, in turn, as its last step.
type boltMeta struct {
	pageSize        uint32
	root, pages, tx uint64
}

func (b *boltFile) check(visit Visit) error {
	// Bbolt uses the newer of its two meta pages, or the older if the newer is damaged. Then it would lose the last
	// transaction, which was acknowledged. A crash damages neither: a meta page is smaller than a sector.
	first, err := b.meta(0)
	if err != nil {
		return err
	}
	b.page = int64(first.pageSize)
	if b.page < 1<<10 || b.page > boltMaxPage || b.page&(b.page-1) != 0 {
		return damagef("%s has pages of %d bytes", b.name, b.page)
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
		return damagef("the two meta pages of %s are not of consecutive transactions", b.name)
	}
	if newest.pages < 2 || newest.pages > uint64(b.size/b.page) {
		return damagef("%s has %d bytes, but should have %d pages", b.name, b.size, newest.pages)
	}
	b.pages = newest.pages
	b.seen = make([]uint64, b.pages/64+1)
	return b.buckets(newest.root, visit)
}

// meta reads the meta page at a byte of the file.
func (b *boltFile) meta(at int64) (boltMeta, error) {
	buf := make([]byte, PageHeader+MetaSize)
	if _, err := b.file.ReadAt(buf, at); err != nil {
		return boltMeta{}, b.readError(err)
	}
	m := buf[PageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(m[:56]) // a hash takes everything
	if boltOrder.Uint32(m) != boltMagic || boltOrder.Uint32(m[4:]) != boltVersion || boltOrder.Uint64(m[56:]) != sum.Sum64() {
		return boltMeta{}, damagef("the meta page of %s at byte %d does not match its checksum", b.name, at)
	}
	return boltMeta{pageSize: boltOrder.Uint32(m[8:]), root: boltOrder.Uint64(m[16:]), pages: boltOrder.Uint64(m[40:]), tx: boltOrder.Uint64(m[48:])}, nil
}

func (b *boltFile) readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damagef("%s ends early", b.name)
	}
	return fmt.Errorf("reading %s: %w", b.name, err)
}

// buckets walks the root, whose leaves are the buckets, and the buckets.
func (b *boltFile) buckets(root uint64, visit Visit) error {
	type bucket struct {
		name  string
		value []byte
	}
	var found []bucket
	err := b.walk(root, nil, nil, 0, func(flags uint32, key, value []byte) error {
		if flags != 1 || len(value) < 16 {
			return damagef("%s has %.40q where a bucket should be", b.name, key)
		}
		if len(found) == maxBuckets {
			return damagef("%s has more than %d buckets", b.name, maxBuckets)
		}
		found = append(found, bucket{string(key), bytes.Clone(value)})
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := visit(f.name, nil, nil); err != nil {
			return err
		}
		err := b.bucket(f.value, func(flags uint32, key, value []byte) error {
			if flags != 0 {
				return damagef("%s has a bucket %.40q in the bucket %.40q", b.name, key, f.name)
			}
			return visit(f.name, key, value)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket walks a bucket. Its value in the root has the number of its first page, or, if that is 0, the page itself.
func (b *boltFile) bucket(value []byte, leaf func(uint32, []byte, []byte) error) error {
	if root := boltOrder.Uint64(value); root != 0 {
		return b.walk(root, nil, nil, 0, leaf)
	}
	page := value[16:]
	if len(page) < PageHeader || boltOrder.Uint16(page[8:]) != boltLeaf {
		return damagef("%s has a bucket without a page", b.name)
	}
	return b.elements(page, nil, nil, 0, leaf)
}

// walk reads a page and the pages below it. Its keys must be at least from and, unless to is nil, less than to.
func (b *boltFile) walk(id uint64, from, to []byte, depth int, leaf func(uint32, []byte, []byte) error) error {
	if id < 2 || id >= b.pages || depth > boltMaxDepth {
		return damagef("%s points to page %d of %d", b.name, id, b.pages)
	}
	var head [PageHeader]byte
	if _, err := b.file.ReadAt(head[:], int64(id)*b.page); err != nil {
		return b.readError(err)
	}
	more := uint64(boltOrder.Uint32(head[12:]))
	if boltOrder.Uint64(head[:]) != id || more >= b.pages-id || int64(more+1)*b.page > boltMaxSpan {
		return damagef("page %d of %s has a wrong head", id, b.name)
	}
	for p := id; p <= id+more; p++ {
		if b.seen[p/64]&(1<<(p%64)) != 0 {
			return damagef("page %d of %s is used twice", p, b.name)
		}
		b.seen[p/64] |= 1 << (p % 64)
	}
	page := make([]byte, int64(more+1)*b.page)
	if _, err := b.file.ReadAt(page, int64(id)*b.page); err != nil {
		return b.readError(err)
	}
	b.read += int64(len(page))
	if kind := boltOrder.Uint16(page[8:]); kind != boltBranch && kind != boltLeaf {
		return damagef("page %d of %s has the invalid kind %#x", id, b.name, kind)
	}
	return b.elements(page, from, to, depth, leaf)
}

// elements checks the parts of a page: that they lie in the page, and that the keys are in order.
func (b *boltFile) elements(page, from, to []byte, depth int, leaf func(uint32, []byte, []byte) error) error {
	id, branch, count := boltOrder.Uint64(page), boltOrder.Uint16(page[8:]) == boltBranch, int(boltOrder.Uint16(page[10:]))
	if PageHeader+count*boltElement > len(page) || branch && count == 0 {
		return damagef("page %d of %s has the invalid number of parts %d", id, b.name, count)
	}
	part := func(i int) (e, key, value []byte, err error) {
		at := PageHeader + i*boltElement
		e = page[at : at+boltElement]
		var pos, keySize, valueSize uint64
		if branch {
			pos, keySize = uint64(boltOrder.Uint32(e)), uint64(boltOrder.Uint32(e[4:]))
		} else {
			pos, keySize, valueSize = uint64(boltOrder.Uint32(e[4:])), uint64(boltOrder.Uint32(e[8:])), uint64(boltOrder.Uint32(e[12:]))
		}
		start := uint64(at) + pos
		if start < uint64(PageHeader+count*boltElement) || start+keySize+valueSize > uint64(len(page)) {
			return nil, nil, nil, damagef("part %d of page %d of %s lies outside the page", i, id, b.name)
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
			return damagef("the keys of page %d of %s are out of order", id, b.name)
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
