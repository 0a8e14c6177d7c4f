package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"hm/internal/boltfile"
)

// A flipped bit anywhere in a raft.db is found, or lies where nothing is read.
func TestFlippedBitIsFoundOrHarmless(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, nil)
	whole := c.storeOf(150)
	o, err := c.opts[0].complete()
	if err != nil {
		t.Fatal(err)
	}
	log := newSampledLog(o.Logger)
	open := func(t *testing.T, db []byte) (*stores, error) {
		o.DataDir = t.TempDir()
		if err := os.MkdirAll(filepath.Join(o.DataDir, "raft"), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(o.DataDir, "raft", "raft.db"), db, 0o600); err != nil {
			t.Fatal(err)
		}
		return openUndamaged(o, log, false)
	}
	s, err := open(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	want := s.contentOf(t)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	seeds, found := 100, 0
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		db := bytes.Clone(whole)
		at, bit := r.IntN(len(db)), r.IntN(8)
		if seed%3 == 0 { // where the structure is: in the first bytes of a page
			at = at/4096*4096 + r.IntN(128)
		}
		db[at] ^= 1 << bit
		s, err := open(t, db)
		switch {
		case errors.Is(err, errDamaged):
			found++
			continue
		case err != nil:
			t.Fatalf("seed %d: bit %d of byte %d: %v", seed, bit, at, err)
		}
		if got := s.contentOf(t); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("seed %d: bit %d of byte %d: the content differs", seed, bit, at)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	if found < seeds/4 {
		t.Errorf("%d flipped bits: %d were found, want at least a quarter", seeds, found)
	}
	t.Logf("%d flipped bits: %d were found, the others lie where nothing is read", seeds, found)
}

// An entry is stored as fields with names. If a name is damaged, the field must not keep the value of the entry that
// was read before.
func TestDamagedFieldNameIsFound(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, nil)
	for i := range 10 {
		c.propose(dea(i))
	}
	c.close(0)
	o, err := c.opts[0].complete()
	if err != nil {
		t.Fatal(err)
	}
	path := c.file(0, "raft.db")
	db, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openUndamaged(o, newSampledLog(o.Logger), false)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(s.contentOf(t), "\n")
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Index", "Term", "Type", "Data", "Extensions"} {
		found := 0
		for at := 0; ; at++ {
			n := bytes.Index(db[at:], []byte(name))
			if n < 0 {
				break
			}
			at += n
			flip(t, path, int64(at)+1, 1)
			s, err := openUndamaged(o, newSampledLog(o.Logger), false)
			switch {
			case errors.Is(err, errDamaged):
				found++
			case err != nil:
				t.Fatal(err)
			default: // an old copy of the page, which is not read
				if got := strings.Join(s.contentOf(t), "\n"); got != want {
					t.Errorf("%s at byte %d: the content differs", name, at)
				}
				if err := s.close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(path, db, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if found == 0 {
			t.Errorf("%s: no damage was found", name)
		}
	}
}

// If the newer meta page is damaged, bbolt would use the older one and lose the last transaction.
func TestDamagedMetaPageIsFound(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, nil)
	c.propose(wide(1))
	c.close(0)
	path := c.file(0, "raft.db")
	for at := int64(boltfile.PageHeader); at < boltfile.PageHeader+boltfile.MetaSize; at++ {
		for _, page := range []int64{0, 4096} {
			flip(t, path, page+at, int(at%8))
			if _, err := checkBoltFile(path); !errors.Is(err, errDamaged) {
				t.Errorf("byte %d of page %d: %v", at, page, err)
			}
			flip(t, path, page+at, int(at%8))
		}
	}
	if _, err := checkBoltFile(path); err != nil {
		t.Error(err)
	}
}

// A file that is incomplete, or something else, is reported as damaged and causes no panic.
func TestIncompleteStoreIsDamaged(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, nil)
	whole := c.storeOf(50)
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, len(whole))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	zeroed := func(from, to int) []byte {
		b := bytes.Clone(whole)
		clear(b[from:to])
		return b
	}
	for name, db := range map[string][]byte{
		"cut off":          whole[:len(whole)/2],
		"only its head":    whole[:4096],
		"less than a head": whole[:100],
		"zeroes":           make([]byte, len(whole)),
		"random bytes":     random,
		"no head":          zeroed(0, 8192),
		"half a head":      zeroed(0, 4096),
		"the other half":   zeroed(4096, 8192),
		"no middle":        zeroed(8192, len(whole)),
	} {
		path := filepath.Join(t.TempDir(), "raft.db")
		if err := os.WriteFile(path, db, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := checkBoltFile(path); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever raft does to its log, a copy of the file at any time is undamaged, as after a crash.
func TestUndamagedStoreIsAccepted(t *testing.T) {
	t.Parallel()
	o, err := Options{ID: "hm-0", DataDir: t.TempDir(), Listen: "127.0.0.1:1"}.complete()
	if err != nil {
		t.Fatal(err)
	}
	log := newSampledLog(o.Logger)
	open := func(aside bool) *stores {
		if err := os.MkdirAll(filepath.Join(o.DataDir, "raft"), 0o750); err != nil {
			t.Fatal(err)
		}
		s, err := openUndamaged(o, log, aside)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(false)
	if err := s.values.SetUint64([]byte(valueTerm), 1); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	first, last := uint64(1), uint64(0)
	copied := filepath.Join(t.TempDir(), "raft.db")
	for step := range 300 {
		switch what := r.IntN(10); {
		case what < 6:
			var logs []*raft.Log
			for range 1 + r.IntN(40) {
				last++
				logs = append(logs, &raft.Log{Index: last, Term: 1, Data: make([]byte, r.IntN(1<<r.IntN(15)))})
			}
			if err := s.log.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
		case what < 7 && last > first:
			to := first + uint64(r.IntN(int(last-first)))
			if err := s.log.DeleteRange(first, to); err != nil {
				t.Fatal(err)
			}
			first = to + 1
		case what < 8 && last > first:
			from := last - uint64(r.IntN(int(last-first)))
			if err := s.log.DeleteRange(from, last); err != nil {
				t.Fatal(err)
			}
			last = from - 1
		default:
			if err := s.values.SetUint64([]byte(valueVoteTerm), uint64(step)); err != nil {
				t.Fatal(err)
			}
		}
		if last >= first && (s.log.last != last || s.log.first != first) {
			t.Fatalf("step %d: the log has the entries %d to %d, the checked log says %d to %d", step, first, last, s.log.first, s.log.last)
		}
		if step%5 == 0 {
			b, err := os.ReadFile(filepath.Join(o.DataDir, "raft", "raft.db"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(copied, b, 0o600); err != nil {
				t.Fatal(err)
			}
			content, err := checkBoltFile(copied)
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			if n := len(content.entries); n != int(last-first+1) {
				t.Fatalf("step %d: %d entries are found, %d were stored", step, n, last-first+1)
			}
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// contentOf is everything that raft reads from a store.
func (s *stores) contentOf(t testing.TB) (all []string) {
	t.Helper()
	first, err := s.log.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err := s.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := s.log.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(l.Index, l.Term, l.Type, l.Data))
	}
	for _, name := range []string{valueTerm, valueVoteTerm, valueVoteFor} {
		v, err := s.values.Get([]byte(name))
		all = append(all, fmt.Sprint(v, err))
	}
	return all
}
