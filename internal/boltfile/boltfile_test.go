package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
)

// content is what a file has: bucket by bucket the keys with their values.
type content map[string]map[string]string

// write makes a file with bbolt, in several transactions, so that it has free pages and pages that are used again.
func write(t testing.TB, path string, c content) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		for range 2 { // the second time everything is written anew
			err := db.Update(func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists([]byte(name))
				if err != nil {
					return err
				}
				for _, k := range slices.Sorted(maps.Keys(c[name])) {
					if err := b.Put([]byte(k), []byte(c[name][k])); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// read gives what Check finds in a file. It requires that the keys come in order.
func read(t testing.TB, path string) (content, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found, last := content{}, map[string][]byte{}
	_, err = Check(f, func(bucket string, key, value []byte) error {
		if key == nil {
			found[bucket] = map[string]string{}
			return nil
		}
		if before, any := last[bucket]; any && bytes.Compare(before, key) >= 0 {
			t.Errorf("in %s %q comes after %q", bucket, key, before)
		}
		last[bucket] = bytes.Clone(key)
		found[bucket][string(key)] = string(value)
		return nil
	})
	return found, err
}

func same(a, b content) bool {
	return maps.EqualFunc(a, b, func(a, b map[string]string) bool { return maps.Equal(a, b) })
}

// sample has a bucket of each size: empty, within its parent's page, one page, many pages, and values larger than a page.
func sample() content {
	rnd := rand.New(rand.NewPCG(1, 1))
	c := content{"empty": {}, "few": {}, "page": {}, "many": {}, "large": {}}
	for n, name := range map[int]string{3: "few", 40: "page", 1_000: "many", 6: "large"} {
		for i := range n {
			size := 1 + rnd.IntN(60)
			if name == "large" {
				size = 2_000 + rnd.IntN(10_000)
			}
			c[name][fmt.Sprintf("key-%06d", i)] = string(bytes.Repeat([]byte{byte('a' + i%26)}, size))
		}
	}
	return c
}

func sampleFile(t testing.TB) (path string, c content, whole []byte) {
	t.Helper()
	path, c = filepath.Join(t.TempDir(), "sample.db"), sample()
	write(t, path, c)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, c, whole
}

func TestCheckVisitsEverything(t *testing.T) {
	path, want, whole := sampleFile(t)
	got, err := read(t, path)
	if err != nil || !same(got, want) {
		t.Errorf("read %d buckets: %v; they are the same: %v", len(got), err, same(got, want))
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := Check(f, func(string, []byte, []byte) error { return nil }); err != nil || n < 50_000 || n > int64(len(whole)) {
		t.Errorf("%d bytes of %d were read: %v", n, len(whole), err)
	}
}

func TestAnErrorOfVisitEndsTheCheck(t *testing.T) {
	path, _, _ := sampleFile(t)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stop, visited := errors.New("stop"), 0
	_, err = Check(f, func(string, []byte, []byte) error {
		if visited++; visited == 10 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || errors.Is(err, ErrDamaged) || visited != 10 {
		t.Errorf("after %d visits: %v", visited, err)
	}
}

// TestAFlippedBitIsFoundOrHarmless: with any bit of the structure flipped, the check finds it, or bbolt's own content is
// read with at most one key or value of another text. Nothing is left out, and nothing panics.
func TestAFlippedBitIsFoundOrHarmless(t *testing.T) {
	path, want, whole := sampleFile(t)
	found := 0
	const seeds = 600
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		b := bytes.Clone(whole)
		at := rnd.IntN(len(b))
		if seed%2 == 0 {
			at = at/4096*4096 + rnd.IntN(64) // the structure is in the first bytes of a page
		}
		b[at] ^= 1 << rnd.IntN(8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := read(t, path)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d: %v", at, err)
			}
			found++
			continue
		}
		differ := 0
		for name := range want {
			if len(got[name]) != len(want[name]) {
				t.Errorf("byte %d: %s has %d keys, want %d, and no damage is found", at, name, len(got[name]), len(want[name]))
			}
			for k, v := range want[name] {
				if got[name][k] != v {
					differ++
				}
			}
		}
		if differ > 1 {
			t.Errorf("byte %d: %d keys or values differ, and no damage is found", at, differ)
		}
	}
	if found < seeds/10 {
		t.Errorf("%d of %d flipped bits were found", found, seeds)
	}
	t.Logf("%d of %d flipped bits were found", found, seeds)
}

// TestAFlippedBitOfAMetaPageIsFound: bbolt would use the other one, and lose the last transaction.
func TestAFlippedBitOfAMetaPageIsFound(t *testing.T) {
	path, _, whole := sampleFile(t)
	for _, page := range []int{0, 4096} {
		for at := page + PageHeader; at < page+PageHeader+MetaSize; at++ {
			b := bytes.Clone(whole)
			b[at] ^= 1 << (at % 8)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := read(t, path); !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d: %v", at, err)
			}
		}
	}
}

func TestWhatIsNoWholeFileIsDamaged(t *testing.T) {
	path, _, whole := sampleFile(t)
	zeroed := func(from, to int) []byte {
		b := bytes.Clone(whole)
		clear(b[from:to])
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":             {},
		"less than a head":    whole[:100],
		"only the meta pages": whole[:8192],
		"half":                whole[:len(whole)/2],
		"zeros":               make([]byte, len(whole)),
		"no meta pages":       zeroed(0, 8192),
		"one meta page":       zeroed(0, 4096),
		"the other one":       zeroed(4096, 8192),
		"no other pages":      zeroed(8192, len(whole)),
		"another file":        bytes.Repeat([]byte("hm "), 10_000),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(t, path); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestACycleOfPagesIsDamaged: a branch page that points to itself would make bbolt recurse without end.
func TestACycleOfPagesIsDamaged(t *testing.T) {
	path, _, whole := sampleFile(t)
	made := 0
	for at := 8192; at+4096 <= len(whole); at += 4096 {
		if boltOrder.Uint16(whole[at+8:]) != boltBranch {
			continue
		}
		for part := range int(boltOrder.Uint16(whole[at+10:])) {
			b := bytes.Clone(whole)
			e := b[at+PageHeader+part*boltElement:]
			copy(e[8:16], whole[at:at+8])
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := read(t, path); err == nil {
				made-- // a page that is free
			} else if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			made++
		}
	}
	if made == 0 {
		t.Error("the file has no branch page that is in use")
	}
}

// FuzzCheck: whatever the file has, Check ends without a panic, and calls it damaged or gives keys in order.
func FuzzCheck(f *testing.F) {
	path, _, whole := sampleFile(f)
	small := filepath.Join(f.TempDir(), "small.db")
	write(f, small, content{"a": {"k": "v"}, "b": {}})
	b, err := os.ReadFile(small)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, 0, []byte{})
	f.Add(b, 8192+8, []byte{1, 0, 255, 255})
	f.Add(b, 3*4096+20, []byte{255, 255, 255, 255})
	f.Add(whole[:64<<10], 16, []byte{0})
	f.Fuzz(func(t *testing.T, b []byte, at int, patch []byte) {
		if len(b) > 1<<20 {
			return
		}
		b = bytes.Clone(b)
		if at >= 0 && at < len(b) {
			copy(b[at:], patch)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(t, path); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}
