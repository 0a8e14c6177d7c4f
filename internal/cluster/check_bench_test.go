package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/zeebo/xxh3"
)

// BenchmarkCheckStore checks a whole raft.db, as every start does, and compares that with a hash of the same bytes in
// memory. The file is in the page cache.
func BenchmarkCheckStore(b *testing.B) {
	for _, size := range []int{200, 10 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("entry=%d", size), func(b *testing.B) {
			o, err := Options{ID: "hm-0", DataDir: b.TempDir(), Listen: "127.0.0.1:1"}.complete()
			if err != nil {
				b.Fatal(err)
			}
			log := newSampledLog(o.Logger)
			if err := os.MkdirAll(filepath.Join(o.DataDir, "raft"), 0o750); err != nil {
				b.Fatal(err)
			}
			s, err := openUndamaged(o, log, false)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.values.SetUint64([]byte(valueTerm), 1); err != nil {
				b.Fatal(err)
			}
			const total = 64 << 20
			for i, batch := 1, 0; i <= min(total/size, 50_000); i += batch {
				var logs []*raft.Log
				batch = max(1, min(1000, (1<<20)/size))
				for j := range batch {
					data := make([]byte, size)
					data[0], data[1] = byte(j), byte(i)
					logs = append(logs, &raft.Log{Index: uint64(i + j), Term: 1, Data: data})
				}
				if err := s.log.StoreLogs(logs); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.close(); err != nil {
				b.Fatal(err)
			}
			info, err := os.Stat(filepath.Join(o.DataDir, "raft", "raft.db"))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(info.Size())
			for b.Loop() {
				s, err := openUndamaged(o, log, false)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSealAndVerify is the cost of a checksum for each entry: both parts on the leader, about twice the second
// part on a follower.
func BenchmarkSealAndVerify(b *testing.B) {
	for _, size := range []int{200, 10 << 10, 512 << 10} {
		b.Run(fmt.Sprintf("entry=%d", size), func(b *testing.B) {
			l := raft.Log{Index: 1, Term: 1, Data: make([]byte, size)}
			b.SetBytes(int64(size))
			for b.Loop() {
				sealEntry(&l)
				if err := verifyEntry(1, &l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStateComparison is the cost of the comparison of states for each applied entry, without the hash.
func BenchmarkStateComparison(b *testing.B) {
	w := &stateComparison{}
	i := uint64(0)
	for b.Loop() {
		i++
		w.applied(i, xxh3.Hash128([]byte{byte(i)}).Bytes())
	}
}
