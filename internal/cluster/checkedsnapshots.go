package cluster

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/zeebo/xxh3"
)

// checkedSnapshots is raft's snapshot store. What is in a snapshot has checksums already. Beside it raft writes
// meta.json: which index and term the snapshot is of, and who the members are. That gets a checksum here, in a file of
// its own, after everything else is on disk: a snapshot without it is none.
type checkedSnapshots struct {
	raft.SnapshotStore
	dir string // of the snapshots
	log *sampledLog

	newest atomic.Uint64 // the entry that the newest snapshot ends with that was seen, or written
	lost   chan struct{} // that one is not there any more, or is damaged
}

// look notes the newest snapshot there is. If it is not the newest that there was, that one is lost.
func (s *checkedSnapshots) look(newest uint64) {
	for {
		known := s.newest.Load()
		if newest < known {
			poke(s.lost)
			return
		}
		if s.newest.CompareAndSwap(known, newest) {
			return
		}
	}
}

const (
	snapshotMeta  = "meta.json"
	snapshotState = "state.bin"
	snapshotSum   = "meta.sum"

	maxSnapshotMeta = 1 << 20
)

// List gives the snapshots, the newest first, without those whose description is damaged.
func (s *checkedSnapshots) List() ([]*raft.SnapshotMeta, error) {
	all, err := s.SnapshotStore.List()
	if err != nil {
		return nil, err
	}
	var sound []*raft.SnapshotMeta
	for _, m := range all {
		if _, err := readSnapshotMeta(filepath.Join(s.dir, m.ID)); err != nil {
			s.log.log(slog.LevelError, m.ID, "a snapshot is not used", "snapshot", m.ID, "error", err)
			continue
		}
		sound = append(sound, m)
	}
	if len(sound) > 0 {
		s.look(sound[0].Index)
	} else {
		s.look(0)
	}
	return sound, nil
}

// Open opens a snapshot. One that is damaged is set aside: raft would try to send it to a peer for ever.
func (s *checkedSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if _, err := readSnapshotMeta(filepath.Join(s.dir, id)); err != nil {
		return nil, nil, err
	}
	meta, r, err := s.SnapshotStore.Open(id)
	if err == nil {
		return meta, r, nil
	}
	if _, damage := checkSnapshot(filepath.Join(s.dir, id)); errors.Is(damage, errDamaged) {
		kept, failed := setAside(filepath.Join(s.dir, id), filepath.Join(filepath.Dir(s.dir), "snapshot"))
		s.log.log(slog.LevelError, id, "a snapshot is damaged and was set aside", "snapshot", id, "damage", damage, "kept_as", kept, "error", failed)
		poke(s.lost)
		return nil, nil, damage
	}
	return nil, nil, err
}

// Create begins a snapshot.
func (s *checkedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, c, at, trans)
	if err != nil {
		return nil, err
	}
	return &checkedSink{SnapshotSink: sink, dir: filepath.Join(s.dir, sink.ID()), written: func() { s.look(index) }}, nil
}

type checkedSink struct {
	raft.SnapshotSink
	dir  string
	done bool

	written func()
}

// Cancel drops the snapshot.
func (s *checkedSink) Cancel() error {
	s.done = true
	return s.SnapshotSink.Cancel()
}

// Close ends the snapshot, and makes it count.
func (s *checkedSink) Close() error {
	if s.done {
		return s.SnapshotSink.Close()
	}
	s.done = true
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	if err := sealSnapshot(s.dir); err != nil {
		return errors.Join(fmt.Errorf("writing the checksum of a snapshot: %w", err), os.RemoveAll(s.dir))
	}
	s.written()
	return nil
}

func sealSnapshot(dir string) error {
	meta, err := readSmall(filepath.Join(dir, snapshotMeta), maxSnapshotMeta)
	if err != nil {
		return err
	}
	return writeSynced(filepath.Join(dir, snapshotSum), metaSum(meta))
}

func metaSum(meta []byte) string {
	sum := xxh3.Hash128(meta).Bytes()
	return "hms1 " + hex.EncodeToString(sum[:]) + "\n"
}

// snapshotFacts are what a snapshot's description says of it.
type snapshotFacts struct {
	Index, Term uint64
	Size        int64
	CRC         []byte
}

func readSnapshotMeta(dir string) (facts snapshotFacts, err error) {
	meta, err := readSmall(filepath.Join(dir, snapshotMeta), maxSnapshotMeta)
	if errors.Is(err, os.ErrNotExist) {
		return facts, damagef("the snapshot %s has no %s", filepath.Base(dir), snapshotMeta)
	}
	if err != nil {
		return facts, err
	}
	sum, err := readSmall(filepath.Join(dir, snapshotSum), 1<<10)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return facts, damagef("the snapshot %s has no checksum of its %s", filepath.Base(dir), snapshotMeta)
	case err != nil:
		return facts, err
	case string(sum) != metaSum(meta):
		return facts, damagef("%s of the snapshot %s does not have its checksum", snapshotMeta, filepath.Base(dir))
	}
	if err := json.Unmarshal(meta, &facts); err != nil {
		return facts, damagef("%s of the snapshot %s: %v", snapshotMeta, filepath.Base(dir), err)
	}
	return facts, nil
}

// readSmall reads a file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// checkSnapshot reads a snapshot to its end, and fails with errDamaged if it is not what was written.
func checkSnapshot(dir string) (snapshotFacts, error) {
	facts, err := readSnapshotMeta(dir)
	if err != nil {
		return facts, err
	}
	f, err := os.Open(filepath.Join(dir, snapshotState))
	if errors.Is(err, os.ErrNotExist) {
		return facts, damagef("the snapshot %s has no %s", filepath.Base(dir), snapshotState)
	}
	if err != nil {
		return facts, err
	}
	defer f.Close()
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	size, err := io.Copy(sum, f)
	if err != nil {
		return facts, err
	}
	if size != facts.Size || string(sum.Sum(nil)) != string(facts.CRC) {
		return facts, damagef("%s of the snapshot %s does not have its checksum", snapshotState, filepath.Base(dir))
	}
	return facts, nil
}

// foundSnapshots is what is in the directory of the snapshots.
type foundSnapshots struct {
	newest  *snapshotFacts // of those that can be used; nil: there is none
	damaged []string       // directories; older ones than newest are not looked at
	why     error          // the damage of the first of them
}

// findSnapshots looks for the newest snapshot that can be used.
func findSnapshots(dir string) (found foundSnapshots, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return found, err
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") { // of a snapshot that was not finished
			continue
		}
		path := filepath.Join(dir, e.Name())
		facts, err := readSnapshotMeta(path)
		if err == nil && found.newest != nil && facts.Index <= found.newest.Index {
			continue
		}
		if err == nil {
			facts, err = checkSnapshot(path)
		}
		switch {
		case err == nil:
			found.newest = &facts
		case errors.Is(err, errDamaged):
			found.damaged = append(found.damaged, path)
			if found.why == nil {
				found.why = err
			}
		default:
			return found, fmt.Errorf("reading the snapshot %s: %w", path, err)
		}
	}
	return found, nil
}
