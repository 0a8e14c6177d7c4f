package boltfile

import (
	"cmp"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// Use says how much of a file is needed. Bbolt uses free pages again, but never makes a file smaller.
type Use struct {
	Size int64 // of the file
	Free int64 // bytes of the pages that are free, will be after the next write, or were never used
}

// UseOf gives the use of a file that is open and may be written meanwhile.
func UseOf(path string, s bbolt.Stats) (Use, error) {
	f, err := os.Open(path)
	if err != nil {
		return Use{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Use{}, err
	}
	b := boltFile{file: f, name: filepath.Base(path), size: info.Size()}
	page := int64(os.Getpagesize())
	newest, err := b.meta(0)
	if second, errSecond := b.meta(page); errSecond == nil && (err != nil || second.tx > newest.tx) {
		newest, err = second, nil // the other one is just being written, or is older
	}
	if err != nil {
		return Use{}, err
	}
	used := int64(newest.pages)*page - int64(s.FreePageN+s.PendingPageN)*page
	return Use{Size: b.size, Free: min(max(b.size-used, 0), b.size)}, nil
}

// A copy of a file pays if so much of it is free, in bytes and as a part of it, and was for so long. A log that is cut at
// each snapshot has half of its pages free again and again, and needs them again.
const (
	freeAtLeast = 32 << 20
	freePart    = 3 // at most one page of freePart is used
	// CalmFor is how long a file must have been mostly free before a copy is made.
	CalmFor = 10 * time.Minute
)

// Slack finds out when a copy of a file pays. The zero value has seen nothing yet.
type Slack struct {
	AtLeast int64 // so many bytes must be free; 0: 32 MiB

	since time.Time // the file has been mostly free from then on; zero: it is not
}

// Pays takes how much of the file is free now, and reports whether it has been mostly free for calm. It must be asked
// again and again, more often than calm.
func (s *Slack) Pays(now time.Time, u Use, calm time.Duration) bool {
	if u.Free < cmp.Or(s.AtLeast, freeAtLeast) || u.Size-u.Free > u.Size/freePart {
		s.since = time.Time{}
		return false
	}
	if s.since.IsZero() {
		s.since = now
	}
	return now.Sub(s.since) >= calm
}
