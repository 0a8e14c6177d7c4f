package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/zeebo/xxh3"
)

// BenchmarkCheckStore looks at a whole raft.db, as every start does, against the hash of the same bytes in memory. The
// file is in the page cache: a disk that is slower than this is the limit then.
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

// BenchmarkSealAndVerify is what a checksum costs a leader for each entry, and a follower about twice the second half.
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

// BenchmarkStateWatch is what the comparison of states costs for each entry that is applied, without the hash itself.
func BenchmarkStateWatch(b *testing.B) {
	w := &stateComparison{}
	i := uint64(0)
	for b.Loop() {
		i++
		w.applied(i, xxh3.Hash128([]byte{byte(i)}).Bytes())
	}
}
